"""The one door to the sessions: every request is checked here, then handed to the session's own process."""

import asyncio
import contextlib
import html
import time
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from .access import COOKIE, ELSEWHERE, HEADERS, Access, is_from_elsewhere, set_cookie
from .sessions import FullError, Session, Sessions, StartError

SECRET_HEADER = "X-S3IM-Session"  # noqa: S105 - the header's name
MAX_MESSAGE = 8 * 2**20
WRONG_TOKEN_SECONDS = 1.0
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "cookie"}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>S3IMFusion</title>
<meta name="viewport" content="width=device-width, initial-scale=1">{head}
<body style="font-family:sans-serif;background:#121212;color:#fff;max-width:32em;margin:4em auto;padding:0 1em">
<main><h1>S3IMFusion</h1><p role="alert">{text}</p>{form}<p>Research use only.</p></main></body></html>"""
ASK_FORM = """<form method="post" action="/login"><label>Token <input name="token" type="password" required autofocus
autocomplete="off"></label> <button>Open</button></form>"""
ASK = "Enter the token that the server printed when it was started."
NO_COOKIE = "This browser did not keep the cookie of its session: allow cookies for this server, then open it again."


class Gateway:
    """Checks a request's token, cookie and origin; opens the session; passes HTTP and websocket on to it."""

    def __init__(self, access: Access, sessions: Sessions) -> None:
        self._access = access
        self._sessions = sessions

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/login", self._login)
        app.router.add_get("/", self._enter, allow_head=False)
        app.router.add_get("/enter", self._enter_from_here, allow_head=False)
        app.router.add_get("/opened", self._opened, allow_head=False)
        app.router.add_get("/index.html", self._reload)
        app.router.add_get("/ws", self._websocket)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        app.cleanup_ctx.append(self._run)
        return app

    async def _run(self, _: web.Application) -> AsyncIterator[None]:
        self._client = aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None)
        )
        watch = asyncio.create_task(self._end_idle_sessions())
        yield
        watch.cancel()
        await self._sessions.end_all()
        await self._client.close()

    async def _end_idle_sessions(self) -> None:
        while True:
            await asyncio.sleep(self._sessions.check_seconds)
            await self._sessions.end_idle()

    @web.middleware
    async def _guard(self, request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:
        refusal = self._access.refusal(request)
        if refusal is not None:
            return _page(403, refusal)
        return await handler(request)

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        """The page: of the session that the browser has, else of a new one where no token is needed or it is given."""
        if is_from_elsewhere(request):  # without the cookie that the browser may have, which comes when our page asks
            return _go_on(f"/enter?{request.rel_url.raw_query_string}")
        if "token" not in request.query and self._has_session(request):
            return await self._pass_on(request)
        return await self._admit(request)

    async def _enter_from_here(self, request: web.Request) -> web.StreamResponse:
        """Where a link of another site goes on: by a page of ours alone."""
        if is_from_elsewhere(request):
            return _page(403, ELSEWHERE)
        if "token" not in request.query and self._has_session(request):
            raise web.HTTPSeeOther("/", headers=HEADERS)
        return await self._admit(request)

    async def _opened(self, request: web.Request) -> web.StreamResponse:
        """Where a new session starts: for a browser that brings its cookie back, so that no other takes a place."""
        identifier = request.cookies.get(COOKIE)
        if self._sessions.find(identifier) is None:
            if identifier is None or not self._access.accepts_ticket(identifier):
                return _page(400, NO_COOKIE)
            try:
                await self._sessions.open(identifier)
            except (FullError, StartError) as error:
                return _page(503, str(error))
        raise web.HTTPSeeOther("/", headers=HEADERS)

    async def _reload(self, request: web.Request) -> web.StreamResponse:
        """The page where it is after it was opened; reloaded after its session has ended, it enters anew."""
        if not self._has_session(request):
            raise web.HTTPSeeOther("/", headers=HEADERS)
        return await self._pass_on(request)

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
            return _page(401, "This is not the token of this server.", ASK_FORM)
        identifier = request.cookies.get(COOKIE, "")
        if self._sessions.find(identifier) is None:
            try:
                await self._sessions.check_places()
            except FullError as error:
                return _page(503, str(error))
            identifier = self._access.new_ticket()
        response = _go_on("/opened")  # no redirect: one that a link of another site began would lack the cookie
        set_cookie(response, request, identifier)
        return response

    def _has_session(self, request: web.Request) -> bool:
        return self._sessions.find(request.cookies.get(COOKIE)) is not None

    def _session(self, request: web.Request) -> Session:
        session = self._sessions.find(request.cookies.get(COOKIE))
        if session is None:
            raise web.HTTPUnauthorized(text="This session has ended: open the page again.", headers=HEADERS)
        session.last_message = time.time()
        return session

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP)
        headers[SECRET_HEADER] = session.secret
        body = _noted(session, request.content) if request.can_read_body else None
        url = f"http://127.0.0.1:{session.port}{request.rel_url.raw_path or '/'}"
        try:
            async with self._client.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
                response = web.StreamResponse(status=answer.status, headers={**kept, **HEADERS})
                await response.prepare(request)
                async for chunk in _noted(session, answer.content):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientConnectionError:
            return _page(502, "The session does not answer: open the page again.")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        browser = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, heartbeat=30)
        headers = {SECRET_HEADER: session.secret}
        async with self._client.ws_connect(
            f"http://127.0.0.1:{session.port}/ws", headers=headers, max_msg_size=0
        ) as server:
            await browser.prepare(request)

            async def to_server() -> None:
                async for message in browser:
                    session.last_message = time.time()
                    await _send(server, message)

            async def to_browser() -> None:
                async for message in server:
                    await _send(browser, message)

            tasks = [asyncio.create_task(to_server()), asyncio.create_task(to_browser())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await browser.close()
        return browser


async def _noted(session: Session, stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """A stream's bytes; the session is in use as long as they come."""
    async for chunk in stream.iter_any():
        session.last_message = time.time()
        yield chunk


async def _send(to: web.WebSocketResponse | aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> None:
    if message.type == aiohttp.WSMsgType.TEXT:
        await to.send_str(message.data)
    elif message.type == aiohttp.WSMsgType.BINARY:
        await to.send_bytes(message.data)


def _go_on(address: str) -> web.Response:
    """A page that goes on by itself, and leaves no token in the address."""
    address = html.escape(address)
    head = f'<meta http-equiv="refresh" content="0;url={address}">'
    return _page(200, "The page is being opened.", f'<p><a style="color:#90caf9" href="{address}">Go on</a></p>', head)


def _page(status: int, text: str, form: str = "", head: str = "") -> web.Response:
    body = PAGE.format(text=html.escape(text), form=form, head=head)
    return web.Response(status=status, text=body, content_type="text/html", headers=HEADERS)
