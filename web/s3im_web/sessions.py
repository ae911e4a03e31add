"""Sessions: each has a private folder, two sources, a result and at most one job."""

import asyncio
import contextlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .choices import ChoiceError, chosen_movement, chosen_settings
from .crew import Crew, JobError
from .files import FileError, list_volumes, plain_name, upload_folder, volume_inside, without_upload

SIDES = ("a", "b")
LONGEST_READ = 300.0  # seconds


class FullError(RuntimeError):
    """The server is full; the message is one sentence."""


@dataclass(frozen=True)
class ServerSettings:
    """The options that the server was started with.

    Attributes:
        data: folder on the server with volumes to choose from; None: uploads only.
        max_bytes: limit of an upload, and of its unpacked size.
        device: where fusions run: ``"auto"``, ``"cpu"``, ``"cuda:1"``.
    """

    data: Path | None
    max_bytes: int
    device: str


@dataclass
class Source:
    """Source A or B.

    Attributes:
        path: what the library reads; ``FOLDER#SERIES`` for a DICOM series.
        name: the name that the user knows.
        shown: the file that the page displays.
        about: the result of :func:`s3im_web.worker.open_volume`.
        identifier: key of this volume among the offers of the session.
    """

    path: str
    name: str
    shown: Path
    about: dict[str, Any]
    identifier: str

    @property
    def recorded(self) -> str:
        """Its name in a record: the file name, or the number of a series; never text from its headers."""
        return f"DICOM series {self.path.partition('#')[2]}".rstrip() if self.about["isDicom"] else self.name

    @property
    def plain(self) -> str:
        """Its part of an output's file name."""
        return str(self.about["modality"]) if self.about["isDicom"] else plain_stem(self.name)


@dataclass
class Job:
    """The task that a session is running."""

    title: str
    task: "asyncio.Task[Any] | None" = None
    place: int = 0
    stage: str = "Starting"
    done: int = 0
    total: int = 0
    since: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)

    def as_json(self) -> dict[str, Any]:
        """What the page shows of it; ``elapsed`` and ``left`` are in seconds, ``left`` None if unknown."""
        elapsed = time.monotonic() - self.since
        left = elapsed * (self.total - self.done) / self.done if self.total and self.done else None
        return {
            "title": self.title,
            "place": self.place,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "elapsed": time.monotonic() - self.began,
            "left": left,
        }


class Session:
    """The state of one browser.

    Args:
        folder: the private folder of the session.
        settings: options of the server.
        readers: processes that read files.
        fusers: processes that register and fuse.
    """

    def __init__(self, folder: Path, settings: ServerSettings, readers: Crew, fusers: Crew) -> None:
        self.folder = folder
        self.last_message = time.time()
        self.is_receiving = False
        self._settings = settings
        self._readers = readers
        self._fusers = fusers
        self._sources: dict[str, Source] = {}
        self._offers: dict[str, dict[str, Any]] = {}
        self._movement: list[list[float]] | None = None
        self._estimate: dict[str, Any] | None = None
        self._result: dict[str, Any] | None = None
        self._job: Job | None = None
        self._message = ""
        self._notes: list[str] = []
        self._revision = 0

    @property
    def is_busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None

    def state(self) -> dict[str, Any]:
        """The state that the page shows."""
        sources = {
            side: {"name": source.name, "id": source.identifier, "key": source.shown.name, **source.about}
            for side, source in self._sources.items()
        }
        offers = [
            {"id": key, **{k: offer[k] for k in ("name", "kind", "detail")}} for key, offer in self._offers.items()
        ]
        result = None if self._result is None else {k: v for k, v in self._result.items() if k != "request"}
        return {
            "sources": sources,
            "offers": offers,
            "job": self._job.as_json() if self._job else None,
            "estimate": self._estimate,
            "movement": self._movement,
            "result": result,
            "message": self._message,
            "notes": self._notes,
            "canDicom": any(source.about["isDicom"] for source in self._sources.values()),
            "revision": self._revision,
        }

    def shown_file(self, side: str, key: str) -> Path | None:
        """The volume that the page shows; None if that key is unknown."""
        if side == "fused":
            return self._folder_of(key) / "shown.nii.gz" if self._result and self._result["key"] == key else None
        source = self._sources.get(side)
        return source.shown if source is not None and source.shown.name == key else None

    # Actions of the user

    def new_folder(self) -> Path:
        """A new folder for an upload."""
        return upload_folder(self.folder)

    def take(self, folder: Path, side: str | None) -> None:
        """Inspect an upload, and load its volumes if there is nothing to choose."""

        async def work(job: Job) -> None:
            job.stage = "Inspecting the files"
            try:
                found = await self._read("find", {"folder": str(folder), "max_bytes": self._settings.max_bytes})
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                raise
            self._notes = [*found["problems"]]
            new = {secrets.token_hex(8): {**each, "folder": str(folder)} for each in found["found"]}
            self._offers = {**self._offers, **new}
            try:
                if len(new) == 1:
                    target = side or next((each for each in SIDES if each not in self._sources), "b")
                    await self._open(job, target, next(iter(new)), None)
                elif len(new) == 2 and not self._sources and side is None:
                    for target, key in zip(SIDES, new, strict=True):
                        await self._open(job, target, key, None)
            except BaseException:
                if len(new) == 1:  # nothing else was offered
                    self._offers = {key: offer for key, offer in self._offers.items() if key not in new}
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                raise
            await self._forget_unused()

        self._start("Reading", work)

    def choose(self, side: str, identifier: str, modality: str | None) -> None:
        """Load an offered volume as A or B."""

        async def work(job: Job) -> None:
            await self._open(job, side, identifier, modality)
            await self._forget_unused()

        self._start("Reading", work)

    def choose_from_server(self, side: str, relative: str) -> None:
        """Load a volume from the server's folder as A or B."""
        path = volume_inside(self._settings.data, relative)

        async def work(job: Job) -> None:
            key = secrets.token_hex(8)
            self._offers[key] = {
                "path": str(path),
                "name": path.name,
                "kind": "server",
                "detail": relative,
                "folder": None,
            }
            try:
                await self._open(job, side, key, None)
            finally:
                if all(source.identifier != key for source in self._sources.values()):
                    del self._offers[key]

        self._start("Reading", work)

    def take_sample(self) -> None:
        """Load T1 and PET of the head phantom as A and B."""

        async def work(job: Job) -> None:
            folder = self.new_folder()
            await self._read("sample", {"output": str(folder)}, job)
            for side, name in zip(SIDES, ("sample_t1.nii.gz", "sample_pet.nii.gz"), strict=True):
                key = secrets.token_hex(8)
                offer = {"path": str(folder / name), "name": name, "kind": "file", "detail": "head phantom"}
                self._offers[key] = {**offer, "folder": str(folder)}
                await self._open(job, side, key, None)
            await self._forget_unused()

        self._start("Making the sample pair", work)

    def swap(self) -> None:
        """Swap A and B; an accepted movement is kept, from the other side."""
        self._refuse_while_busy()
        self._movement = None if self._movement is None else np.linalg.inv(self._movement).tolist()
        self._estimate = None
        self._sources = {{"a": "b", "b": "a"}[side]: source for side, source in self._sources.items()}
        self._forget_result()

    def register(self, kind: str) -> None:
        """Estimate how B must be moved onto A."""
        if kind not in {"rigid", "affine"}:
            raise ChoiceError("There is no such registration: choose rigid or affine")
        arguments = {**self._pair(), "kind": kind}

        async def work(job: Job) -> None:
            found = await self._compute("register", arguments, job)
            self._estimate = {**found, "kind": kind, "key": secrets.token_hex(8)}

        self._start("Registering", work)

    def accept(self, matrix: object) -> None:
        """Use a 4 x 4 matrix from A's points to B's, RAS mm, when fusing; None: the position in B's file."""
        self._refuse_while_busy()
        self._movement = None if matrix is None else chosen_movement(matrix)
        self._estimate = None
        self._forget_result()

    def fuse(self, choices: object) -> None:
        """Fuse A and B."""
        settings = {**chosen_settings(choices), "device": self._settings.device}
        if self._estimate is not None:
            raise ChoiceError("The registration is still open: accept or discard it, then fuse")
        key = secrets.token_hex(8)
        output = self._folder_of(key)
        request = {**self._pair(), "settings": settings}

        async def work(job: Job) -> None:
            arguments = {**request, "movement": self._movement, "output": str(output)}
            try:
                found = await self._compute("fuse", arguments, job)
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, output, ignore_errors=True)
                raise
            name = f"{'_'.join(self._sources[side].plain for side in SIDES)}_fused"
            self._name_sources(output / "fused.json")
            self._forget_result()
            self._result = {**found, "name": name, "key": key, "request": request}

        self._start("Fusing", work)

    def cancel(self) -> None:
        """Cancel the job."""
        if self._job is not None and self._job.task is not None:
            self._job.task.cancel()

    async def download(self, kind: str) -> tuple[Path, str]:
        """The file to download, written on demand, and its name.

        Raises:
            FileError: if there is no fused volume, or it cannot be written in this format.
        """
        result = self._result
        if result is None:
            raise FileError("There is no fused volume to save: fuse first")
        folder = self._folder_of(result["key"])
        if kind in {"nii.gz", "nrrd"}:
            return folder / f"fused.{kind}", f"{result['name']}.{kind}"
        if kind == "json":
            return folder / "fused.json", f"{result['name']}.json"
        if kind == "tfm" and (folder / "registration.tfm").is_file():
            return folder / "registration.tfm", f"{result['name']}.tfm"
        if kind != "dicom.zip":
            raise FileError("There is no such file of this fused volume")
        target = folder / f"fused.{kind}"
        if not target.exists():
            self._refuse_while_busy()
            arguments = {**result["request"], "fused": str(folder / "fused.nii.gz")}
            job = self._job = Job("Preparing the file")
            job.task = asyncio.create_task(self._compute("export", {**arguments, "output": str(target)}, job))
            try:
                await job.task
            except JobError as error:
                self._message = str(error)  # the browser shows only that the download failed
                raise FileError(str(error)) from error
            except asyncio.CancelledError as error:
                raise FileError("Cancelled; nothing was saved") from error
            finally:
                self._job = None
                self._revision += 1
        return target, f"{result['name']}.{kind}"

    def listed(self) -> list[str]:
        """The volumes in the server's folder."""
        return list_volumes(self._settings.data)

    async def end(self) -> None:
        """Cancel the job and remove all files."""
        self.cancel()
        if self._job is not None and self._job.task is not None:
            await asyncio.wait([self._job.task], timeout=10)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    # Implementation

    def _start(self, title: str, work: Callable[[Job], Awaitable[None]]) -> None:
        self._refuse_while_busy()
        job = self._job = Job(title)
        self._message, self._notes = "", []
        before = dict(self._sources)

        async def run() -> None:
            try:
                await work(job)
            except asyncio.CancelledError:
                loaded = [source.name for side, source in self._sources.items() if source is not before.get(side)]
                stay = "stay" if len(loaded) > 1 else "stays"
                kept = f"{' and '.join(loaded)} {stay} loaded" if loaded else "nothing was changed"
                self._notes = [f"Cancelled; {kept}"]
            except (JobError, FileError) as error:
                self._message = str(error)
            finally:
                self._job = None
                self._revision += 1
                self.last_message = time.time()

        job.task = asyncio.create_task(run())

    def _refuse_while_busy(self) -> None:
        if self._job is not None:
            raise FileError("Another job is running: wait for it to end, or cancel it")

    async def _read(self, command: str, arguments: dict[str, Any], job: Job | None = None) -> dict[str, Any]:
        return await self._readers.run(command, arguments, None, self._on_place(job), LONGEST_READ)

    async def _compute(self, command: str, arguments: dict[str, Any], job: Job) -> dict[str, Any]:
        def progress(reply: dict[str, Any]) -> None:
            stage = str(reply["stage"]).capitalize()
            if stage != job.stage:
                job.since = time.monotonic()
            job.stage, job.done, job.total = stage, reply["done"], reply["total"]
            self.last_message = time.time()

        return await self._fusers.run(command, {**arguments, "root": str(self.folder)}, progress, self._on_place(job))

    def _on_place(self, job: Job | None) -> Callable[[int], None] | None:
        def on_place(place: int) -> None:
            job.place = place
            self.last_message = time.time()

        return None if job is None else on_place

    async def _open(self, job: Job, side: str, identifier: str, modality: str | None) -> None:
        offer = self._offers.get(identifier)
        if offer is None:
            raise FileError("This volume no longer exists: choose another")
        job.stage = f"Reading {offer['name']}"
        shown = self.folder / f"{secrets.token_hex(8)}.shown"
        other = next((source for each, source in self._sources.items() if each != side), None)
        try:
            about = await self._read(
                "open",
                {
                    "path": offer["path"],
                    "output": str(shown),
                    "max_bytes": self._settings.max_bytes,
                    "modality": modality,
                    "root": str(self._settings.data) if offer["kind"] == "server" else str(self.folder),
                    "partner": other.path if other else None,
                },
                job,
            )
        except BaseException:
            shown.unlink(missing_ok=True)
            raise
        former = self._sources.get(side)
        about["modalityGiven"] = modality
        self._sources[side] = Source(offer["path"], offer["name"], shown, about, identifier)
        self._notes = [*self._notes, *(f"{offer['name']}: {remark}" for remark in about["remarks"])]
        self._forget_result()
        self._movement = self._estimate = None
        if former is not None:
            former.shown.unlink(missing_ok=True)

    async def _forget_unused(self) -> None:
        """Remove unused uploads, except the last one."""
        used = {self._offers[source.identifier]["folder"] for source in self._sources.values()}
        last = next(reversed(self._offers.values()))["folder"] if self._offers else None
        kept = used | {last}
        gone = {offer["folder"] for offer in self._offers.values()} - kept
        self._offers = {key: offer for key, offer in self._offers.items() if offer["folder"] in kept}
        for folder in gone - {None}:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _pair(self) -> dict[str, Any]:
        self._refuse_while_busy()
        if any(side not in self._sources for side in SIDES):
            raise ChoiceError("Choose A and B first")
        sources = [self._sources[side] for side in SIDES]
        if sources[0].path == sources[1].path:
            raise ChoiceError("A and B are the same volume: choose another for one of them")
        return {
            "paths": [source.path for source in sources],
            "modalities": [source.about["modalityGiven"] for source in sources],
            "root": str(self.folder),
        }

    def _folder_of(self, result: str) -> Path:
        return self.folder / f"result-{result}"

    def _forget_result(self) -> None:
        if self._result is not None:
            shutil.rmtree(self._folder_of(self._result["key"]), ignore_errors=True)
        self._result = None
        self._revision += 1

    def _name_sources(self, path: Path) -> None:
        """Keep folders of this server and header texts out of the record."""
        record = json.loads(path.read_text(encoding="utf-8"))
        for side in SIDES:
            record["sources"][f"image_{side}"]["file"] = self._sources[side].recorded
        record["warnings"] = [without_upload(warning) for warning in record["warnings"]]
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def plain_stem(name: str) -> str:
    """A file name stem from the name of a source."""
    try:
        return plain_name(name)
    except FileError:
        return plain_name(f"{name}.nii")


class Sessions:
    """Opens, finds and ends the sessions.

    Args:
        settings: options of the server.
        jobs: fusions at a time.
        max_sessions: sessions at a time.
        idle_minutes: a session ends after this time without a job or a message from its browser.
    """

    def __init__(self, settings: ServerSettings, jobs: int, max_sessions: int, idle_minutes: float) -> None:
        self._settings = settings
        self._max_sessions = max_sessions
        self._idle_seconds = 60 * idle_minutes
        self.check_seconds = max(1.0, min(10.0, self._idle_seconds / 4))
        self._sessions: dict[str, Session] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="s3im-web-"))  # mode 0700
        self.readers, self.fusers = Crew(1, self.folder), Crew(jobs, self.folder)

    def find(self, identifier: str | None) -> Session | None:
        """The session that belongs to a cookie."""
        return self._sessions.get(identifier or "")

    async def check_places(self) -> None:
        """Check that one more session fits.

        Raises:
            FullError: if the server is full.
        """
        await self.end_idle()
        if len(self._sessions) >= self._max_sessions:
            minutes = self._idle_seconds / 60
            raise FullError(
                "This server is full: try again later, since a session ends when it is idle for "
                f"{minutes:g} min, or ask its operator for more sessions"
            )

    async def open(self, identifier: str) -> None:
        """Open the session of a cookie unless it is open already.

        Raises:
            FullError: if the server is full.
        """
        if identifier in self._sessions:
            return
        await self.check_places()
        if identifier not in self._sessions:
            folder = Path(tempfile.mkdtemp(prefix="session-", dir=self.folder))
            self._sessions[identifier] = Session(folder, self._settings, self.readers, self.fusers)

    async def end(self, identifier: str) -> None:
        """End a session and its job, and remove its folder."""
        session = self._sessions.pop(identifier, None)
        if session is not None:
            await session.end()

    async def end_idle(self) -> None:
        """End idle sessions."""
        now = time.time()
        for identifier, session in list(self._sessions.items()):
            if not session.is_busy and now - session.last_message > self._idle_seconds:
                await self.end(identifier)

    async def warm(self) -> None:
        """Start the worker processes, so that the first user does not wait for their imports."""
        with contextlib.suppress(OSError):
            await asyncio.gather(self.readers.warm(), self.fusers.warm())

    async def end_all(self) -> None:
        """End all sessions and processes, and remove their folder."""
        await asyncio.gather(*(self.end(identifier) for identifier in list(self._sessions)))
        await asyncio.gather(self.readers.end(), self.fusers.end())
        shutil.rmtree(self.folder, ignore_errors=True)
