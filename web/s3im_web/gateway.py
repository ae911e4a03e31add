"""The entrance: every request is checked here before it reaches the browser's session."""

import asyncio
import contextlib
import gzip
import html
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from monai_s3im.viewer import LIBRARY, SCRIPT, STYLE

from .access import COOKIE, ELSEWHERE, HEADERS, Access, is_from_elsewhere, set_cookie
from .choices import ChoiceError, chosen_modality, offered
from .files import MAX_FILES, FileError, inner_path
from .sessions import SIDES, FullError, Session, Sessions

WRONG_TOKEN_SECONDS = 1.0
MAX_REQUEST = 2**16
_PAGE = Path(__file__).with_name("page")
_STATIC = {
    "page.js": (_PAGE / "page.js", "text/javascript"),
    "page.css": (_PAGE / "page.css", "text/css"),
    "viewer.js": (SCRIPT, "text/javascript"),
    "viewer.css": (STYLE, "text/css"),
    "niivue.js": (LIBRARY, "text/javascript"),
    "icon.svg": (_PAGE / "icon.svg", "image/svg+xml"),
}
MESSAGE_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>S3IMFusion</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/page.css">{head}</head>
<body class="message"><main><h1>S3IMFusion</h1><p role="alert">{text}</p>{form}
<p>Research use only.</p></main></body></html>"""
ASK_FORM = """<form method="post" action="/login"><label>Token <input name="token" type="password" required autofocus
autocomplete="off"></label> <button>Open</button></form>"""
ASK = "Enter the token that the server printed when it was started."
NO_COOKIE = "This browser did not keep the cookie of its session: allow cookies for this server, then open it again"
ENDED = "This session has ended: open the page again"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gateway:
    """Checks a request's token, cookie and origin; opens the session; handles the requests of the page.

    Args:
        access: who may come in.
        sessions: the open sessions.
        max_bytes: of an upload.
    """

    def __init__(self, access: Access, sessions: Sessions, max_bytes: int) -> None:
        self._access = access
        self._sessions = sessions
        self._max_bytes = max_bytes

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_REQUEST)
        add = app.router
        add.add_post("/login", self._login)
        add.add_get("/", self._enter, allow_head=False)
        add.add_get("/enter", self._enter_from_here, allow_head=False)
        add.add_get("/opened", self._opened, allow_head=False)
        add.add_get("/static/{name}", self._static)
        add.add_get("/api/state", self._state)
        add.add_get("/api/offered", self._offered)
        add.add_get("/api/volume/{side}/{key}", self._volume)
        add.add_get("/download/{kind}", self._download)
        add.add_post("/api/upload", self._upload)
        for name in ("choose", "sample", "swap", "register", "accept", "fuse", "cancel", "end"):
            add.add_post(f"/api/{name}", getattr(self, f"_{name}"))
        app.cleanup_ctx.append(self._run)
        return app

    async def _run(self, _: web.Application) -> AsyncIterator[None]:
        watch, warming = asyncio.create_task(self._end_idle_sessions()), asyncio.create_task(self._sessions.warm())
        yield
        watch.cancel()
        await warming  # a process interrupted during its start would not be ended
        await self._sessions.end_all()

    async def _end_idle_sessions(self) -> None:
        while True:
            await asyncio.sleep(self._sessions.check_seconds)
            await self._sessions.end_idle()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = self._access.refusal(request)
        if refusal is not None:
            return _page(403, refusal)
        try:
            return await handler(request)
        except (FileError, ChoiceError) as error:
            return web.Response(status=422, text=str(error), headers=HEADERS)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise

    # Who comes in

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        """The page of the browser's session, or of a new one if no token is needed or it is given."""
        if is_from_elsewhere(request):  # without the browser's cookie, which our own page would send
            return _go_on(f"/enter?{request.rel_url.raw_query_string}")
        if "token" not in request.query and self._has_session(request):
            return await self._main_page(request)
        return await self._admit(request)

    async def _enter_from_here(self, request: web.Request) -> web.StreamResponse:
        """Continue a link from another site through our own page only."""
        if is_from_elsewhere(request):
            return _page(403, ELSEWHERE)
        if "token" not in request.query and self._has_session(request):
            raise web.HTTPSeeOther("/", headers=HEADERS)
        return await self._admit(request)

    async def _opened(self, request: web.Request) -> web.StreamResponse:
        """Start a new session, only for a browser that returns its cookie, so others take no place."""
        identifier = request.cookies.get(COOKIE)
        if self._sessions.find(identifier) is None:
            if identifier is None or not self._access.accepts_ticket(identifier):
                return _page(400, NO_COOKIE)
            try:
                await self._sessions.open(identifier)
            except FullError as error:
                return _page(503, str(error))
        raise web.HTTPSeeOther("/", headers=HEADERS)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        return await self._open(request, str((await request.post()).get("token", "")))

    async def _admit(self, request: web.Request) -> web.StreamResponse:
        given = request.query.get("token")
        if given is None and self._access.needs_token:
            return _page(401, ASK, ASK_FORM)
        return await self._open(request, given or "")

    async def _open(self, request: web.Request, token: str) -> web.StreamResponse:
        if not self._access.accepts(token):
            await asyncio.sleep(WRONG_TOKEN_SECONDS)
            return _page(401, "This is not the token of this server", ASK_FORM)
        identifier = request.cookies.get(COOKIE, "")
        if self._sessions.find(identifier) is None:
            try:
                await self._sessions.check_places()
            except FullError as error:
                return _page(503, str(error))
            identifier = self._access.new_ticket()
        response = _go_on("/opened")  # no redirect: after a link from another site it would lack the cookie
        set_cookie(response, request, identifier)
        return response

    def _has_session(self, request: web.Request) -> bool:
        return self._sessions.find(request.cookies.get(COOKIE)) is not None

    def _session(self, request: web.Request) -> Session:
        session = self._sessions.find(request.cookies.get(COOKIE))
        if session is None:
            raise web.HTTPUnauthorized(text=ENDED, headers=HEADERS)
        session.last_message = time.time()
        return session

    # What the page asks

    async def _static(self, request: web.Request) -> web.StreamResponse:
        found = _STATIC.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        path, kind = found
        headers = {**HEADERS, "Content-Type": kind}
        if path != LIBRARY:
            return web.FileResponse(path, headers=headers)
        headers |= {"Cache-Control": "private, max-age=86400", "Vary": "Accept-Encoding"}  # without patient data
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.FileResponse(path, headers=headers)
        body = await asyncio.to_thread(_compressed_library)
        return web.Response(body=body, headers={**headers, "Content-Encoding": "gzip"})

    async def _main_page(self, request: web.Request) -> web.StreamResponse:
        self._session(request)
        return web.Response(body=(_PAGE / "page.html").read_bytes(), content_type="text/html", headers=HEADERS)

    async def _offered(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        files = await asyncio.to_thread(session.listed)
        return _json({**offered(), "serverFiles": files, "maxMegabytes": self._max_bytes // 2**20})

    async def _state(self, request: web.Request) -> web.StreamResponse:
        return _json(self._session(request).state())

    async def _volume(self, request: web.Request) -> web.StreamResponse:
        path = self._session(request).shown_file(request.match_info["side"], request.match_info["key"])
        if path is None:
            raise web.HTTPNotFound(text="This volume no longer exists")
        return web.FileResponse(path, headers={**HEADERS, "Content-Type": "application/octet-stream"})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        """Receive files into a separate folder, then inspect them."""
        session = self._session(request)
        if session.is_busy or session.is_receiving:
            raise FileError("Another job is running: wait for it to end, or cancel it")
        side = request.query.get("side") or None
        if side not in {None, *SIDES}:
            raise web.HTTPNotFound
        if not request.content_type.startswith("multipart/"):
            raise FileError("The request has no files: choose some on the page")
        folder = session.new_folder()
        session.is_receiving = True
        try:
            await self._receive(request, folder, session)
        except BaseException:
            await asyncio.to_thread(_remove, folder)
            raise
        finally:
            session.is_receiving = False
        session.take(folder, side)
        return _json(session.state())

    async def _receive(self, request: web.Request, folder: Path, session: Session) -> None:
        left = self._max_bytes
        refusal = FileError(f"The upload is larger than the {left / 2**20:.0f} MB that are allowed here")
        if (request.content_length or 0) > left + 2**20:
            raise refusal
        count = 0
        async for part in await request.multipart():
            if getattr(part, "filename", None) is None:
                raise FileError("The request has no files: choose some on the page")
            count += 1
            if count > MAX_FILES:
                raise FileError(f"More than {MAX_FILES} files were chosen: choose one study")
            path = folder / inner_path(part.filename)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    while chunk := await part.read_chunk(2**18):
                        left -= len(chunk)
                        if left < 0:
                            raise refusal
                        session.last_message = time.time()
                        file.write(chunk)
            except OSError as error:
                raise FileError("The files cannot be stored on the server: give each a different name") from error
        if not count:
            raise FileError("The upload has no files: choose some on the page")

    async def _choose(self, request: web.Request) -> web.StreamResponse:
        session, asked = self._session(request), await _asked(request)
        side = asked.get("side")
        if side not in SIDES:
            raise ChoiceError("Choose A or B")
        if "server" in asked:
            session.choose_from_server(side, str(asked["server"]))
        else:
            session.choose(side, str(asked.get("id")), chosen_modality(asked.get("modality")))
        return _json(session.state())

    async def _sample(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, lambda session, _: session.take_sample())

    async def _swap(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, lambda session, _: session.swap())

    async def _register(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, lambda session, asked: session.register(asked.get("kind")))

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, lambda session, asked: session.accept(asked.get("matrix")))

    async def _fuse(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, lambda session, asked: session.fuse(asked.get("settings", {})))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, lambda session, _: session.cancel())

    async def _end(self, request: web.Request) -> web.StreamResponse:
        self._session(request)
        await self._sessions.end(request.cookies.get(COOKIE, ""))
        return _json({})

    async def _do(self, request: web.Request, action: Callable[[Session, dict[str, Any]], None]) -> web.StreamResponse:
        session = self._session(request)
        action(session, await _asked(request))
        return _json(session.state())

    async def _download(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        try:
            path, name = await session.download(request.match_info["kind"])
        except FileError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        shown = "".join(
            letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name
        )
        headers = {**HEADERS, "Content-Type": "application/octet-stream"}
        return web.FileResponse(path, headers={**headers, "Content-Disposition": f'attachment; filename="{shown}"'})


async def _asked(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request; empty if missing."""
    text = await request.text()
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(text or "{}")
        if isinstance(content, dict):
            return content
    raise ChoiceError("This request cannot be read: open the page again")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@cache
def _compressed_library() -> bytes:
    """NiiVue in 0.8 instead of 2.3 MB."""
    return gzip.compress(LIBRARY.read_bytes(), mtime=0)


def _json(content: dict[str, Any]) -> web.Response:
    return web.json_response(content, headers=HEADERS)


def _go_on(address: str) -> web.Response:
    """A page that continues automatically, and leaves no token in the address."""
    address = html.escape(address)
    head = f'<meta http-equiv="refresh" content="0;url={address}">'
    return _page(200, "The page is being opened.", f'<p><a href="{address}">Continue</a></p>', head)


def _page(status: int, text: str, form: str = "", head: str = "") -> web.Response:
    body = MESSAGE_PAGE.format(text=html.escape(text), form=form, head=head)
    return web.Response(status=status, text=body, content_type="text/html", headers=HEADERS)
