"""One process for each session: its own scene, its own private folder, ended together."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 120
STOP_SECONDS = 5
BUSY_FILE = "busy"  # touched by the session while it waits for a fusion or runs one


class FullError(RuntimeError):
    """All places are taken; the message is one sentence."""


class StartError(RuntimeError):
    """The process of a session did not start; the message is one sentence."""


@dataclass
class Session:
    """A process that serves one browser on a loopback port, to who knows its secret."""

    folder: Path
    process: asyncio.subprocess.Process
    port: int
    secret: str
    last_message: float = field(default_factory=time.time)

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.returncode is None

    @property
    def last_activity(self) -> float:
        """When the browser last said something or the session last computed, in seconds since the epoch."""
        with contextlib.suppress(OSError):
            return max(self.last_message, (self.folder / BUSY_FILE).stat().st_mtime)
        return self.last_message


class Sessions:
    """Opens, finds and ends the sessions.

    Args:
        settings: what every session gets: see :class:`s3im_web.session_settings.SessionSettings`.
        max_sessions: sessions at a time.
        idle_minutes: a session without a message from its browser and without a running fusion ends after them.
    """

    def __init__(self, settings: dict[str, Any], max_sessions: int, idle_minutes: float) -> None:
        self._settings = settings
        self._max_sessions = max_sessions
        self._idle_seconds = 60 * idle_minutes
        self.check_seconds = max(1.0, min(10.0, self._idle_seconds / 4))
        self._sessions: dict[str, Session] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="s3im-web-"))  # mode 0700
        (self.folder / "turns").mkdir()

    def find(self, identifier: str | None) -> Session | None:
        """The living session of a cookie."""
        session = self._sessions.get(identifier or "")
        return session if session is not None and session.is_alive else None

    async def check_places(self) -> None:
        """See whether there is a place for one more.

        Raises:
            FullError: if all places are taken.
        """
        await self.end_idle()
        if len(self._sessions) + len(self._starting) >= self._max_sessions:
            raise FullError("All places on this server are taken: try again later, or ask who runs it for more.")

    async def open(self, identifier: str) -> None:
        """Start the session of a cookie; where two requests ask for it at once, one session for both.

        Raises:
            FullError: if all places are taken.
            StartError: if its process does not start.
        """
        if identifier not in self._starting:
            await self.check_places()
            if self.find(identifier) is not None:
                return
            if identifier not in self._starting:
                self._starting[identifier] = asyncio.create_task(self._keep_started(identifier))
        await asyncio.shield(self._starting[identifier])  # goes on if this request is broken off

    async def _keep_started(self, identifier: str) -> None:
        try:
            self._sessions[identifier] = await self._start()
        finally:
            del self._starting[identifier]

    async def _start(self) -> Session:
        folder = Path(tempfile.mkdtemp(prefix="session-", dir=self.folder))
        secret = secrets.token_urlsafe(32)
        settings = {**self._settings, "folder": str(folder), "turns": str(self.folder / "turns"), "secret": secret}
        with (folder / "log.txt").open("wb") as log:  # libraries may name files there: it goes with the session
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "s3im_web.app",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        process.stdin.write(json.dumps(settings).encode() + b"\n")  # its end shows the session that the server is gone
        try:
            async with asyncio.timeout(START_SECONDS):
                while line := await process.stdout.readline():
                    if line.startswith(b"s3im-web port "):
                        return Session(folder, process, int(line.split()[-1]), secret)
        except TimeoutError:
            pass
        reason = (folder / "log.txt").read_text(errors="replace").strip().splitlines()[-1:]
        await _stop(process)
        shutil.rmtree(folder, ignore_errors=True)
        raise StartError(f"The session did not start: {reason[0] if reason else 'no reason was given'}")

    async def end(self, identifier: str) -> None:
        """End a session: its processes, its volumes, its folder."""
        session = self._sessions.pop(identifier, None)
        if session is not None:
            await _stop(session.process)
            await asyncio.to_thread(shutil.rmtree, session.folder, ignore_errors=True)

    async def end_idle(self) -> None:
        """End the sessions that nobody uses and those whose process is gone."""
        now = time.time()
        for identifier, session in list(self._sessions.items()):
            if not session.is_alive or now - session.last_activity > self._idle_seconds:
                await self.end(identifier)

    async def end_all(self) -> None:
        """End every session and remove the folder of all."""
        await asyncio.gather(*(self.end(identifier) for identifier in list(self._sessions)))
        shutil.rmtree(self.folder, ignore_errors=True)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a process and those that it started: asked first, then killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
