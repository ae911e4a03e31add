"""Access to the server: the token, the session's cookie, and the origin of requests according to the browser."""

import hmac
import ipaddress
import secrets
import time
from urllib.parse import urlsplit

from aiohttp import web

COOKIE = "s3im_session"
TOKEN_VARIABLE = "S3IM_WEB_TOKEN"  # noqa: S105 - the variable's name
MIN_TOKEN_LENGTH = 16
TICKET_SECONDS = 120
ELSEWHERE = "This request comes from another site: open the page itself"
HEADERS = {
    # No connection to another host, and no inline code.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with "no-referrer" a browser sends the forms of our own page with a null Origin
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class AccessError(ValueError):
    """The server must not be started this way; the message is one sentence with the remedy."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback."""
    name = host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.casefold() == "localhost"


def choose_token(host: str, given: str | None) -> str | None:
    """The token that a server bound to ``host`` asks for: the given one; a new one beyond loopback; None on loopback.

    Raises:
        AccessError: if the given token is too short.
    """
    if given:
        if len(given) < MIN_TOKEN_LENGTH:
            raise AccessError(f"{TOKEN_VARIABLE} must have {MIN_TOKEN_LENGTH} characters or more: use a longer one")
        return given
    return None if is_loopback(host) else secrets.token_urlsafe(32)


class Access:
    """The rules for every request: page, upload and download.

    Args:
        token: required for a new session; None: none, for a server on loopback.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._key = secrets.token_bytes(32)

    @property
    def needs_token(self) -> bool:
        """Whether a new session needs the token."""
        return self._token is not None

    def accepts(self, given: str) -> bool:
        """Whether ``given`` is the token, compared in constant time."""
        return self._token is None or hmac.compare_digest(self._token.encode(), given.encode())

    def new_ticket(self) -> str:
        """A ticket, which opens one session if the browser returns it as a cookie within :data:`TICKET_SECONDS`.

        The server stores nothing for it and reserves no place, so unused tickets keep nobody out.
        """
        content = f"{secrets.token_urlsafe(32)}.{int(time.time())}"
        return f"{content}.{self._signature(content)}"

    def accepts_ticket(self, cookie: str | None) -> bool:
        """Whether a cookie is a recent ticket of this server."""
        content, _, signature = (cookie or "").rpartition(".")
        if not hmac.compare_digest(self._signature(content).encode(), signature.encode(errors="replace")):
            return False
        return time.time() - int(content.rpartition(".")[2]) <= TICKET_SECONDS

    def _signature(self, content: str) -> str:
        return hmac.new(self._key, content.encode(errors="replace"), "sha256").hexdigest()

    def refusal(self, request: web.Request) -> str | None:
        """The reason to refuse a request regardless of its cookie, in one sentence; None to accept it.

        Without a token only loopback names are served. This refuses a foreign page whose name points here (DNS
        rebinding), and a proxy that others can reach.
        """
        origin = request.headers.get("Origin")
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
            site = None if origin is None else urlsplit(origin).netloc
        except ValueError:
            return "This request names no address that can be read: open the page itself"
        if self._token is None and not is_loopback(host):
            return f"This server answers on loopback only: to reach it by another name, start it with {TOKEN_VARIABLE}"
        if origin is not None and site != request.headers.get("Host"):
            return ELSEWHERE
        if is_from_elsewhere(request) and request.method != "GET":
            return ELSEWHERE
        return None


def is_from_elsewhere(request: web.Request) -> bool:
    """Whether the request comes from a page of another site, according to the browser; it may lack our cookie."""
    return request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}


def set_cookie(response: web.StreamResponse, request: web.Request, session: str) -> None:
    """Set the session cookie; no script and no other site can read or send it."""
    is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
    response.set_cookie(COOKIE, session, httponly=True, samesite="Strict", secure=is_secure, path="/")
