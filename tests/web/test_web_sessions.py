"""What a session keeps and forgets; its crews are replaced, so no process is started."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3im_web.choices import ChoiceError
from s3im_web.crew import JobError
from s3im_web.files import FileError
from s3im_web.sessions import ServerSettings, Session, Source
from s3im_web.worker import export

ABOUT = {"modality": "mr", "modalityGiven": None, "isDicom": True}
MOVEMENT = [[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -2.0], [0.0, 0.0, 0.0, 1.0]]


class FakeCrew:
    """Answers each command with a function of its arguments."""

    def __init__(self, **commands: Callable[[dict[str, Any]], Any]) -> None:
        self.commands = commands

    async def run(self, command: str, arguments: dict[str, Any], *_: Any) -> dict[str, Any]:
        answer = self.commands[command](arguments)
        return await answer if isinstance(answer, Awaitable) else answer


def write_result(arguments: dict[str, Any]) -> dict[str, Any]:
    folder = Path(arguments["output"])
    folder.mkdir()
    (folder / "fused.nrrd").write_text("fused")
    record = {"sources": {"image_a": {}, "image_b": {}}, "warnings": []}
    (folder / "fused.json").write_text(json.dumps(record), encoding="utf-8")
    return {"warnings": []}


def fail(_: dict[str, Any]) -> None:
    raise JobError("the job failed")


def session_of(folder: Path, **commands: Callable[[dict[str, Any]], Any]) -> Session:
    """A session with A and B."""
    crew = FakeCrew(**commands)
    session = Session(folder, ServerSettings(None, 2**20, "cpu"), crew, crew)
    session._sources = {
        side: Source(f"{side}.nii", f"{side}.nii", folder / side, dict(ABOUT), side) for side in ("a", "b")
    }
    return session


async def done(session: Session) -> None:
    await asyncio.wait([session._job.task])


async def cancelled(session: Session) -> None:
    await asyncio.sleep(0)  # the job begins
    session.cancel()
    await done(session)


@pytest.mark.parametrize(("interrupt", "second"), [(cancelled, lambda _: asyncio.sleep(60)), (done, fail)])
def test_a_fusion_that_does_not_finish_leaves_the_former_result(
    tmp_path: Path, interrupt: Callable[[Session], Awaitable[None]], second: Callable[[dict[str, Any]], Any]
) -> None:
    async def live() -> None:
        session = session_of(tmp_path, fuse=write_result)
        session.fuse({})
        await done(session)
        former = session.state()["result"]
        session._fusers.commands["fuse"] = second
        session.fuse({})
        await interrupt(session)
        assert session.state()["result"] == former
        path, _ = await session.download("nrrd")
        assert path.read_text() == "fused"

    asyncio.run(live())


def test_a_new_result_replaces_the_files_of_the_former_one(tmp_path: Path) -> None:
    async def live() -> None:
        session = session_of(tmp_path, fuse=write_result)
        for _ in range(2):
            session.fuse({})
            await done(session)
        assert len(list(tmp_path.iterdir())) == 1

    asyncio.run(live())


def test_swapped_sources_keep_the_accepted_movement_the_other_way_round(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    session.accept(MOVEMENT)
    session.swap()
    np.testing.assert_allclose(np.array(session.state()["movement"]) @ MOVEMENT, np.eye(4), atol=1e-12)
    session.swap()
    np.testing.assert_allclose(session.state()["movement"], MOVEMENT, atol=1e-12)


def test_an_open_registration_is_decided_before_a_fusion(tmp_path: Path) -> None:
    async def live() -> None:
        found = {"matrix": MOVEMENT, "information": 1.0, "faults": []}
        session = session_of(tmp_path, register=lambda _: found, fuse=write_result)
        session.register("rigid")
        await done(session)
        with pytest.raises(ChoiceError, match="accept or discard it"):
            session.fuse({})
        session.accept(None)
        session.fuse({})
        await done(session)
        assert session.state()["result"]

    asyncio.run(live())


def test_a_series_that_cannot_be_written_is_explained_on_the_page(tmp_path: Path) -> None:
    async def live() -> None:
        session = session_of(tmp_path, fuse=write_result, export=fail)
        session.fuse({})
        await done(session)
        with pytest.raises(FileError, match="the job failed"):
            await session.download("dicom.zip")
        assert session.state()["message"] == "the job failed"

    asyncio.run(live())


def test_an_incomplete_archive_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "fused.dicom.zip"

    def write_series(a: str, b: str, series: Path, *_: Any) -> None:
        series.mkdir()
        (series / "0001.dcm").touch()

    def interrupt(*_: Any) -> None:
        assert not target.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("s3im_web.worker.Fuser", lambda *_, **__: write_series)
    monkeypatch.setattr("s3im_web.worker.zipfile.ZipFile.write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(print, str(tmp_path / "fused.nii.gz"), str(target), str(tmp_path), ["a", "b"], [None, None], {})
    assert not target.exists()


@pytest.mark.parametrize(
    ("complete", "note"),
    [(0, "Cancelled; nothing was changed"), (1, "Cancelled; sample_t1.nii.gz stays loaded")],
)
def test_a_cancelled_reading_says_what_stays_loaded(tmp_path: Path, complete: int, note: str) -> None:
    async def run() -> None:
        opened = 0

        def read(_: dict[str, Any]) -> Any:
            nonlocal opened
            opened += 1
            return {**ABOUT, "remarks": []} if opened <= complete else asyncio.sleep(60)

        session = session_of(tmp_path, sample=lambda _: {}, open=read)
        session.take_sample()
        while opened <= complete:
            await asyncio.sleep(0)
        session.cancel()
        await done(session)
        assert session.state()["notes"] == [note]

    asyncio.run(run())
