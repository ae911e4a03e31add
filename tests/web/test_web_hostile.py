"""The page accepts and refuses damaged files of the fuzzer as the command does, with the same messages."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from fuzz.damage_dicom import dicom
from fuzz.damage_pictures import png
from fuzz.damage_volumes import metaimage, nifti, nifti_gz, nrrd, nrrd_detached
from fuzz.fuzz_cases import Case
from s3im_web.access import Access
from s3im_web.gateway import Gateway
from s3im_web.sessions import ServerSettings, Sessions

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image
from monai_s3im.transforms import NormalizeModality

pytestmark = pytest.mark.long

LIMIT = 2**26
OF_THE_PAGE = ("allowed here", "in another file", "no volume among these files", "The upload holds no DICOM images")
"""Messages that only the page has: limits of the server, references to other files, unsupported kinds."""

EVERY_NTH = {nifti: 7, nifti_gz: 5, nrrd: 7, nrrd_detached: 9, metaimage: 40, png: 40}


def cases() -> list[Case]:
    return [case for kind, step in EVERY_NTH.items() for case in islice(kind(), 0, None, step)]


def series_cases() -> list[Case]:
    """Every eighth series with a damaged tag, and all with other damage."""
    cases = list(dicom())
    return [*cases[:-30:8], *cases[-30:]]


@asynccontextmanager
async def page(data: Path | None = None) -> AsyncIterator[tuple[TestClient, Sessions]]:
    settings = ServerSettings(data, LIMIT, "cpu")
    sessions = Sessions(settings, jobs=1, max_sessions=2, idle_minutes=5)
    sessions.warm = lambda: asyncio.sleep(0)
    async with TestClient(TestServer(Gateway(Access(None), sessions, LIMIT).application())) as client:
        await sessions.open("one")
        client.session.cookie_jar.update_cookies({"s3im_session": "one"}, client.make_url("/"))
        yield client, sessions


async def upload(client: TestClient, files: dict[str, bytes]) -> dict:
    """The state of the page after an upload."""
    form = aiohttp.FormData(quote_fields=False)  # folders stay folders, as browsers send them
    for name, content in files.items():
        form.add_field("file", content if isinstance(content, str) else bytearray(content), filename=name)
    async with client.post("/api/upload", data=form) as answer:
        if answer.status == 422:
            return {"message": await answer.text(), "sources": {}}
    while True:
        state = await (await client.get("/api/state")).json()
        if state["job"] is None:
            return state
        await asyncio.sleep(0.05)


def sentence_of_command(path: Path) -> str | None:
    """The message with which reading or scaling refuses a source; None if accepted."""
    try:
        NormalizeModality(None)(read_image(path, 0.25))
    except InputError as error:
        return str(error).replace(f"{path.parent}{os.sep}", "")
    return None


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_damaged_files_are_refused_with_the_messages_of_the_command(tmp_path: Path) -> None:
    found: dict[str, tuple[str, str | None]] = {}

    async def live() -> None:
        async with page() as (client, sessions):
            for number, case in enumerate(cases()):
                folder = tmp_path / f"{number}"
                path = case.write(folder)
                state = await upload(client, {name: (folder / name).read_bytes() for name in case.files})
                said = state["message"]
                expected = await asyncio.to_thread(sentence_of_command, path)
                found[f"{case.format}: {case.damage}"] = (said, expected)
                session = sessions.find("one")
                assert str(session.folder) not in said
                if said and not state["sources"]:
                    assert list(session.folder.iterdir()) == []
                if "a" in state["sources"]:
                    await client.post("/api/end")
                    await sessions.open("one")

    asyncio.run(live())
    assert len(found) > 25
    wrong = {
        damage: both
        for damage, both in found.items()
        if not any(text in both[0] for text in OF_THE_PAGE)
        and (not both[0].startswith(both[1]) if both[1] else bool(both[0]))
    }
    assert wrong == {}
    assert sum(bool(said) for said, _ in found.values()) > 15


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_page_refuses_the_damaged_series_that_the_command_refuses(tmp_path: Path) -> None:
    wrong: dict[str, tuple[str, str | None]] = {}
    refused = 0

    async def live() -> None:
        nonlocal refused
        async with page() as (client, sessions):
            for number, case in enumerate(series_cases()):
                folder = tmp_path / f"{number}"
                path = case.write(folder)
                state = await upload(client, {name: (folder / name).read_bytes() for name in case.files})
                said, notes = state["message"], " ".join(state.get("notes", ()))
                expected = await asyncio.to_thread(sentence_of_command, path)
                if state["sources"]:
                    is_right = not expected or "is left out" in notes or len(state["offers"]) > 1
                else:
                    refused += 1
                    of_command = (expected or "(none)").removeprefix("series ")  # the page names it by its number
                    is_right = of_command in said or any(text in said for text in OF_THE_PAGE)
                if not is_right or re.search("s3im-web|in-[0-9a-f]{6}|Unexpected", said + notes):
                    wrong[case.damage] = (f"{said} {notes}", expected)
                await client.post("/api/end")
                await sessions.open("one")

    asyncio.run(live())
    assert wrong == {}
    assert refused > 20


def test_a_zip_bomb_is_refused_and_the_next_upload_is_accepted(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.nii", bytes(2 * LIMIT))

    async def live() -> None:
        async with page() as (client, sessions):
            state = await upload(client, {"bomb.zip": (tmp_path / "bomb.zip").read_bytes()})
            assert "bomb.zip unpacks to more than the 64 MB that are allowed here" in state["message"]
            assert [path.name for path in sessions.find("one").folder.iterdir()] == []
            (content,) = next(iter(islice(nifti_gz(), 40, 41))).files.values()
            state = await upload(client, {"x.nii.gz": content})
            assert state["job"] is None

    asyncio.run(live())
