"""Access to the server and the end of sessions; no browser is needed."""

import asyncio
import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from s3im_web.access import Access, AccessError, choose_token, is_loopback
from s3im_web.gateway import Gateway
from s3im_web.sessions import FullError, ServerSettings, Sessions

SETTINGS = ServerSettings(data=None, max_bytes=2**20, device="cpu")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_no_token_is_needed_on_loopback(host: str) -> None:
    assert is_loopback(host)
    assert choose_token(host, None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu.example.org", "localhost.example.org", ""])  # noqa: S104
def test_a_new_token_is_created_beyond_loopback(host: str) -> None:
    first, second = choose_token(host, None), choose_token(host, None)
    assert len(first) >= 32
    assert first != second


def test_a_given_token_applies_everywhere_and_must_not_be_short() -> None:
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
def test_other_sites_and_other_host_names_are_refused(
    token: str | None, headers: dict[str, str], is_refused: bool
) -> None:
    request = make_mocked_request("POST", "/upload/a", headers=headers)
    assert (Access(token).refusal(request) is not None) is is_refused


def test_only_a_complete_recent_ticket_of_this_server_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(None)
    ticket = access.new_ticket()
    assert access.accepts_ticket(ticket)
    assert not Access(None).accepts_ticket(ticket)
    assert not any(access.accepts_ticket(wrong) for wrong in (None, "", ".", "Ä.1.2", f"a{ticket}", ticket[:-1]))
    now = time.time()
    monkeypatch.setattr("s3im_web.access.time.time", lambda: now + 121)
    assert not access.accepts_ticket(ticket)


@asynccontextmanager
async def gateway_with(token: str | None = None, max_sessions: int = 4) -> AsyncIterator[tuple[TestClient, Sessions]]:
    """A client of a gateway, and the gateway's sessions; no process is started."""
    sessions = Sessions(SETTINGS, jobs=1, max_sessions=max_sessions, idle_minutes=1)
    sessions.warm = lambda: asyncio.sleep(0)
    async with TestClient(TestServer(Gateway(Access(token), sessions, SETTINGS.max_bytes).application())) as client:
        yield client, sessions
    assert not sessions.folder.exists()


def opened(sessions: Sessions) -> int:
    return len(sessions._sessions)


async def next_address(answer: aiohttp.ClientResponse) -> str:
    assert answer.status == 200
    return re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', await answer.text())[1]


TOKEN = "0123456789abcdef"  # noqa: S105


@pytest.mark.parametrize(("token", "query"), [(None, ""), (TOKEN, f"?token={TOKEN}")])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_opens_one_session_however_often_it_is_followed(site: str, token: str | None, query: str) -> None:
    async def live() -> None:
        async with gateway_with(token) as (client, sessions), aiohttp.ClientSession() as strict:
            for _ in range(3):
                answer = await strict.get(client.make_url(f"/{query}"), headers={"Sec-Fetch-Site": site})
                assert "Set-Cookie" not in answer.headers
                answer = await client.get(await next_address(answer))
                if answer.url.path != "/":
                    answer = await client.get(await next_address(answer))
                assert "Fuse two volumes" in await answer.text()
                assert opened(sessions) == 1

    asyncio.run(live())


def test_a_client_without_cookies_takes_no_place_and_gets_an_explanation() -> None:
    async def live() -> None:
        async with gateway_with() as (client, sessions):
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as without_cookies:
                address = await next_address(await without_cookies.get(client.make_url("/")))
                answer = await without_cookies.get(client.make_url(address))
                assert answer.status == 400
                assert "allow cookies" in await answer.text()
            assert opened(sessions) == 0

    asyncio.run(live())


def test_embedding_by_another_site_or_a_head_request_opens_no_session() -> None:
    async def live() -> None:
        async with gateway_with() as (client, sessions):
            for site in ("cross-site", "same-site"):
                for path in ("/", "/enter", "/api/state"):
                    await client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
            for path in ("/", "/enter", "/opened", "/api/state"):
                await client.head(path)
            assert opened(sessions) == 0

    asyncio.run(live())


@pytest.mark.parametrize("path", ["/?token=wrong", "/", "/enter", "/enter?token=wrong"])
def test_no_path_opens_a_session_without_the_token(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3im_web.gateway.WRONG_TOKEN_SECONDS", 0)

    async def live() -> None:
        async with gateway_with(TOKEN) as (client, sessions):
            assert (await client.get(path)).status == 401
            assert opened(sessions) == 0

    asyncio.run(live())


def test_a_link_cannot_inject_markup() -> None:
    async def live() -> None:
        async with gateway_with() as (client, _):
            link = {"params": {"token": '"><script>'}, "headers": {"Sec-Fetch-Site": "cross-site"}}
            text = await (await client.get("/", **link)).text()
            assert "<script>" not in text

    asyncio.run(live())


def form_of(*files: tuple[str, bytes]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, content in files:
        form.add_field("file", io.BytesIO(content), filename=name)
    return form


@asynccontextmanager
async def open_session() -> AsyncIterator[tuple[TestClient, Sessions]]:
    """A client with a session named ``one``."""
    async with gateway_with() as (client, sessions):
        await sessions.open("one")
        client.session.cookie_jar.update_cookies({"s3im_session": "one"}, client.make_url("/"))
        yield client, sessions


@pytest.mark.parametrize("path", ["/api/state", "/api/offered", "/api/volume/a/x", "/download/nrrd"])
def test_nothing_is_served_without_a_session(path: str) -> None:
    async def live() -> None:
        async with gateway_with() as (client, _):
            for headers in ({}, {"Cookie": "s3im_session=guessed"}):
                assert (await client.get(path, headers=headers)).status == 401
            assert (await client.post("/api/fuse", json={})).status == 401

    asyncio.run(live())


def test_every_response_forbids_foreign_content() -> None:
    async def live() -> None:
        async with open_session() as (client, _):
            for path in ("/", "/static/page.js", "/static/niivue.js", "/api/state", "/nothing", "/download/nrrd"):
                policy = (await client.get(path)).headers["Content-Security-Policy"]
                assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy, path
                assert "unsafe" not in policy

    asyncio.run(live())


def test_a_session_is_in_use_while_a_file_is_uploaded() -> None:
    async def live() -> None:
        async with open_session() as (client, sessions):
            session = sessions.find("one")
            session.take = lambda folder, side: taken.append([path.name for path in folder.rglob("*")])
            times = []

            async def parts() -> AsyncIterator[bytes]:
                yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n' + bytes(2**18)
                await asyncio.sleep(0.3)
                times.append(session.last_message)
                session.last_message = 0.0
                yield bytes(2**18)
                await asyncio.sleep(0.3)
                times.append(session.last_message)
                yield b"\r\n--b--\r\n"

            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            answer = await client.post("/api/upload", data=parts(), headers=headers)
            assert answer.status == 200, await answer.text()
            assert min(times) > 0

    taken: list[list[str]] = []
    asyncio.run(live())
    assert taken == [["a.nii"]]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "no file|not files"),
        ([("a.nii", bytes(2**20 + 1))], "larger than the 1 MB"),
        ([("a.nii", bytes(2**19)), ("b.nii", bytes(2**20))], "larger than the 1 MB"),
        ([("a.nii", b"1"), ("a.nii", b"2")], "different name"),
    ],
)
def test_a_refused_upload_leaves_nothing(files: list[tuple[str, bytes]], said: str) -> None:
    async def live() -> None:
        async with open_session() as (client, sessions):
            form = form_of(*files) if files else b""
            answer = await client.post("/api/upload", data=form)
            assert answer.status == 422
            assert re.search(said, await answer.text())
            assert list(sessions.find("one").folder.iterdir()) == []

    asyncio.run(live())


@pytest.mark.parametrize(
    "name", ["../../x.nii", "/etc/x.nii", "C:\\x\\x.nii", "a/../../x.nii", "..", "\u202ex.nii", "." * 300]
)
def test_an_uploaded_name_cannot_leave_its_folder(name: str) -> None:
    async def live() -> None:
        async with open_session() as (client, sessions):
            session = sessions.find("one")
            before = set(session.folder.parent.rglob("*"))
            session.take = lambda folder, side: folders.append(folder)
            assert (await client.post("/api/upload", data=form_of((name, b"1")))).status == 200
            new = set(session.folder.parent.rglob("*")) - before - {folders[0]}
            assert all(path.is_relative_to(folders[0]) for path in new)

    folders: list[Path] = []
    asyncio.run(live())


@pytest.mark.parametrize("body", ["", "[]", "5", "{", "[" * 10_000, '{"side": "c"}', '{"side": "a", "id": "../.."}'])
def test_a_request_that_the_page_would_not_send_gets_an_error(body: str) -> None:
    async def live() -> None:
        async with open_session() as (client, sessions):
            for path in ("choose", "fuse", "register", "accept"):
                answer = await client.post(f"/api/{path}", data=body)
                assert answer.status in {200, 422}, path
            if job := sessions.find("one")._job:
                await asyncio.wait([job.task])
            assert (await client.get("/api/state")).status == 200

    asyncio.run(live())


def test_a_full_server_says_so_and_an_idle_session_ends_with_its_files() -> None:
    async def live() -> None:
        sessions = Sessions(SETTINGS, jobs=1, max_sessions=1, idle_minutes=1)
        try:
            await asyncio.gather(sessions.open("one"), sessions.open("one"))  # two tabs at once
            session = sessions.find("one")
            assert session.folder.stat().st_mode & 0o077 == 0
            with pytest.raises(FullError, match=r"full.*idle for 1 min"):
                await sessions.open("another")
            (session.new_folder() / "a.nii").touch()
            await sessions.end_idle()
            assert sessions.find("one") is session
            session.last_message -= 61
            session._job = SimpleNamespace(task=None)  # a job is running
            await sessions.end_idle()
            assert sessions.find("one") is session
            session._job = None
            await sessions.end_idle()
            assert sessions.find("one") is None
            assert not session.folder.exists()
        finally:
            await sessions.end_all()
        assert not sessions.folder.exists()

    asyncio.run(live())


def test_a_session_receives_one_upload_at_a_time() -> None:
    async def live() -> None:
        async with open_session() as (client, sessions):
            sessions.find("one").is_receiving = True
            answer = await client.post("/api/upload", data=form_of(("a.nii", b"1")))
            assert answer.status == 422
            assert "wait for it to end" in await answer.text()

    asyncio.run(live())
