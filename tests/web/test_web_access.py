"""Who may come in, and what ends a session; no browser is needed."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from s3im_web.access import Access, AccessError, choose_token, is_loopback
from s3im_web.gateway import SECRET_HEADER, Gateway
from s3im_web.sessions import FullError, Sessions
from s3im_web.turns import Turn

SETTINGS = {"data": None, "max_bytes": 2**20, "jobs": 1, "device": "cpu"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_no_token_is_needed_on_loopback(host: str) -> None:
    assert is_loopback(host)
    assert choose_token(host, None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu.example.org", "localhost.example.org", ""])  # noqa: S104
def test_a_new_token_is_made_beyond_loopback(host: str) -> None:
    first, second = choose_token(host, None), choose_token(host, None)
    assert len(first) >= 32
    assert first != second


def test_a_given_token_counts_everywhere_and_must_not_be_short() -> None:
    assert choose_token("127.0.0.1", "0123456789abcdef") == "0123456789abcdef"
    with pytest.raises(AccessError, match="16 characters"):
        choose_token("127.0.0.1", "0123456789abcde")


def test_only_the_token_itself_is_accepted() -> None:
    access = Access("0123456789abcdef")
    assert access.accepts("0123456789abcdef")
    assert not any(access.accepts(wrong) for wrong in ("", "0123456789abcdeg", "0123456789abcdef0", "Ä"))


@pytest.mark.parametrize(
    ("token", "headers", "is_refused"),
    [
        (None, {"Host": "127.0.0.1:8642"}, False),
        (None, {"Host": "[::1]:8642"}, False),
        (None, {"Host": "evil.example:8642"}, True),
        (None, {}, True),
        ("0123456789abcdef", {"Host": "fusion.hospital.example"}, False),
        ("0123456789abcdef", {"Host": "a.example", "Origin": "https://a.example"}, False),
        ("0123456789abcdef", {"Host": "a.example", "Origin": "https://b.example"}, True),
        (None, {"Host": "127.0.0.1:8642", "Origin": "http://127.0.0.1:9999"}, True),
        (None, {"Host": "127.0.0.1:8642", "Origin": "null"}, True),
        (None, {"Host": "[::1"}, True),
        ("0123456789abcdef", {"Host": "[::1"}, True),
        (None, {"Host": "127.0.0.1:8642", "Origin": "http://["}, True),
    ],
)
def test_other_sites_and_other_names_are_refused(token: str | None, headers: dict[str, str], is_refused: bool) -> None:
    request = make_mocked_request("POST", "/upload/a", headers=headers)
    assert (Access(token).refusal(request) is not None) is is_refused


def test_a_ticket_is_of_this_server_whole_and_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(None)
    ticket = access.new_ticket()
    assert access.accepts_ticket(ticket)
    assert not Access(None).accepts_ticket(ticket)
    assert not any(access.accepts_ticket(wrong) for wrong in (None, "", ".", "Ä.1.2", f"a{ticket}", ticket[:-1]))
    now = time.time()
    monkeypatch.setattr("s3im_web.access.time.time", lambda: now + 121)
    assert not access.accepts_ticket(ticket)


class OneProcess:
    """Sessions that all lead to one server, without a process of their own."""

    check_seconds = 60.0

    def __init__(self, port: int) -> None:
        self.port = port
        self.opened: dict[str, SimpleNamespace] = {}

    def find(self, identifier: str | None) -> SimpleNamespace | None:
        return self.opened.get(identifier or "")

    async def check_places(self) -> None:
        pass

    async def open(self, identifier: str) -> None:
        self.opened[identifier] = SimpleNamespace(port=self.port, secret="s", last_message=0.0)  # noqa: S106

    async def end_all(self) -> None:
        self.opened.clear()


@asynccontextmanager
async def gateway_before(
    session: web.Application, token: str | None = None
) -> AsyncIterator[tuple[TestClient, OneProcess]]:
    """A client of a gateway that hands on to ``session``, and the gateway's sessions."""
    async with TestServer(session) as server:
        sessions = OneProcess(server.port)
        async with TestClient(TestServer(Gateway(Access(token), sessions).application())) as client:
            yield client, sessions


def page_of_a_session() -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="the session's page")

    session = web.Application()
    session.router.add_get("/", answer)
    return session


async def next_address(answer: aiohttp.ClientResponse) -> str:
    assert answer.status == 200
    return re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', await answer.text())[1]


TOKEN = "0123456789abcdef"  # noqa: S105


@pytest.mark.parametrize(("token", "query"), [(None, ""), (TOKEN, f"?token={TOKEN}")])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_opens_one_session_however_often_it_is_followed(site: str, token: str | None, query: str) -> None:
    async def live() -> None:
        async with gateway_before(page_of_a_session(), token) as (client, sessions), aiohttp.ClientSession() as strict:
            for _ in range(3):
                answer = await strict.get(client.make_url(f"/{query}"), headers={"Sec-Fetch-Site": site})
                assert "Set-Cookie" not in answer.headers
                answer = await client.get(await next_address(answer))
                if answer.url.path != "/":
                    answer = await client.get(await next_address(answer))
                assert await answer.text() == "the session's page"
                assert len(sessions.opened) == 1

    asyncio.run(live())


def test_a_client_without_cookies_takes_no_place_and_is_told_so() -> None:
    async def live() -> None:
        async with gateway_before(page_of_a_session()) as (client, sessions):
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as without_cookies:
                address = await next_address(await without_cookies.get(client.make_url("/")))
                answer = await without_cookies.get(client.make_url(address))
                assert answer.status == 400
                assert "allow cookies" in await answer.text()
            assert sessions.opened == {}

    asyncio.run(live())


def test_what_another_site_embeds_and_a_head_request_open_no_session() -> None:
    async def live() -> None:
        async with gateway_before(page_of_a_session()) as (client, sessions):
            for site in ("cross-site", "same-site"):
                for path in ("/", "/enter", "/index.html"):
                    await client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
            for path in ("/", "/enter", "/opened", "/index.html"):
                await client.head(path)
            assert sessions.opened == {}

    asyncio.run(live())


@pytest.mark.parametrize("path", ["/?token=wrong", "/", "/enter", "/enter?token=wrong"])
def test_a_session_opens_nowhere_without_the_token(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3im_web.gateway.WRONG_TOKEN_SECONDS", 0)

    async def live() -> None:
        async with gateway_before(page_of_a_session(), TOKEN) as (client, sessions):
            assert (await client.get(path)).status == 401
            assert sessions.opened == {}

    asyncio.run(live())


def test_what_a_link_holds_is_no_markup_of_ours() -> None:
    async def live() -> None:
        async with gateway_before(page_of_a_session()) as (client, _):
            link = {"params": {"token": '"><script>'}, "headers": {"Sec-Fetch-Site": "cross-site"}}
            text = await (await client.get("/", **link)).text()
            assert "<script>" not in text

    asyncio.run(live())


def test_a_session_is_in_use_while_a_file_travels() -> None:
    async def take(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def give(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        await next_part.wait()
        await response.write(b"b")
        return response

    async def in_parts(session: SimpleNamespace) -> AsyncIterator[bytes]:
        for _ in range(2):
            await asyncio.sleep(0.2)  # the part before has arrived
            times.append(session.last_message)
            session.last_message = 0.0
            yield b"part"

    async def live() -> None:
        session = web.Application()
        session.router.add_post("/upload/a", take)
        session.router.add_get("/download/nrrd", give)
        async with gateway_before(session) as (client, sessions):
            await sessions.open("session-0")
            session = sessions.opened["session-0"]
            client.session.cookie_jar.update_cookies({"s3im_session": "session-0"}, client.make_url("/"))
            answer = await client.post("/upload/a", data=in_parts(session))
            assert await answer.text() == "8"
            assert session.last_message > 0
            assert times[1] > 0
            answer = await client.get("/download/nrrd")
            assert await answer.content.readany() == b"a"
            session.last_message = 0.0
            next_part.set()
            assert await answer.content.readany() == b"b"
            assert session.last_message > 0

    times: list[float] = []
    next_part = asyncio.Event()
    asyncio.run(live())


def test_turns_are_as_many_as_jobs(tmp_path: Path) -> None:
    first, second, third = (Turn(tmp_path, jobs=2) for _ in range(3))
    assert first.take()
    assert second.take()
    assert not third.take()
    second.give_back()
    assert third.take()
    first.give_back()
    third.give_back()


def test_a_session_answers_its_gateway_alone_and_leaves_nothing_behind() -> None:
    async def live() -> None:
        sessions = Sessions(SETTINGS, max_sessions=1, idle_minutes=1)
        try:
            identifier = "one"
            await asyncio.gather(sessions.open(identifier), sessions.open(identifier))  # two tabs at once
            session = sessions.find(identifier)
            assert session.folder.stat().st_mode & 0o077 == 0
            with pytest.raises(FullError, match="places"):
                await sessions.open("another")
            url = f"http://127.0.0.1:{session.port}"
            async with aiohttp.ClientSession() as client:
                for path in ("/index.html", "/ws", "/download/nrrd"):
                    for headers in ({}, {SECRET_HEADER: "guessed"}):
                        async with client.get(url + path, headers=headers) as answer:
                            assert answer.status == 403, path
                async with client.get(url + "/index.html", headers={SECRET_HEADER: session.secret}) as answer:
                    assert answer.status == 200
            await sessions.end_idle()
            assert sessions.find(identifier) is session
            session.last_message -= 61
            (session.folder / "busy").touch()  # a fusion runs
            await sessions.end_idle()
            assert sessions.find(identifier) is session
            (session.folder / "busy").unlink()
            await sessions.end_idle()
            assert sessions.find(identifier) is None
            assert not session.folder.exists()
            assert session.process.returncode is not None
        finally:
            await sessions.end_all()
        assert not sessions.folder.exists()

    asyncio.run(live())


def test_a_session_ends_with_its_server() -> None:
    async def live() -> None:
        sessions = Sessions(SETTINGS, max_sessions=1, idle_minutes=1)
        try:
            await sessions.open("one")
            session = sessions.find("one")
            session.process.stdin.close()  # as when the server is killed
            await asyncio.wait_for(session.process.wait(), 60)
            assert not session.folder.exists()
        finally:
            await sessions.end_all()

    asyncio.run(live())
