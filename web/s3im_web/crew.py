"""Processes that read images and compute: a hostile file or lack of memory ends one of them, not the server."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Progress = Callable[[dict[str, Any]], None]
OnPlace = Callable[[int], None]


class JobError(RuntimeError):
    """A job that failed; the message is one sentence for the page."""


class Worker:
    """A process that does one job at a time; it starts on demand, and again after it has ended.

    Args:
        folder: for its log and its temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._log: Path | None = None

    async def start(self) -> asyncio.subprocess.Process:
        """The running process."""
        if self._process is None or self._process.returncode is not None:
            descriptor, name = tempfile.mkstemp(prefix="worker-", suffix=".txt", dir=self._folder)
            self._forget_log()
            self._log = Path(name)
            with open(descriptor, "wb") as log:  # noqa: PTH123 - libraries may name files there: it goes with the process
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "s3im_web.worker",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                    limit=2**24, start_new_session=True, env={**os.environ, "TMPDIR": str(self._folder)},
                )  # fmt: skip
        return self._process

    async def run(self, command: str, arguments: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        """Do a job; if this is cancelled, the process ends.

        Raises:
            JobError: it failed.
        """
        process = await self.start()
        try:
            process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                reply = json.loads(line)
                if reply["event"] == "done":
                    return reply
                if reply["event"] == "error":
                    raise JobError(reply["message"])
                if progress is not None:
                    progress(reply)
        except asyncio.CancelledError:
            await self.end()
            raise
        except ConnectionError:
            pass
        await process.wait()
        raise JobError("The worker process ended before it finished its job, possibly for lack of memory: try again")

    async def end(self) -> None:
        """End the process and its children."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        self._forget_log()

    def _forget_log(self) -> None:
        if self._log is not None:
            self._log.unlink(missing_ok=True)
            self._log = None


class Crew:
    """Workers that take jobs in order, first come, first served.

    Args:
        size: jobs at a time.
        folder: for the logs and temporary files of its processes.
    """

    def __init__(self, size: int, folder: Path) -> None:
        self._idle = [Worker(folder) for _ in range(size)]
        self._all = list(self._idle)
        self._line: list[asyncio.Future[Worker]] = []

    @property
    def waiting(self) -> int:
        """The waiting jobs."""
        return len(self._line)

    def place(self, turn: "asyncio.Future[Worker]") -> int:
        """The place of a job in the queue: 1 for the next."""
        return self._line.index(turn) + 1 if turn in self._line else 0

    async def warm(self) -> None:
        """Let idle workers load torch."""
        for worker in self._all:
            await worker.start()

    async def run(
        self,
        command: str,
        arguments: dict[str, Any],
        progress: Progress | None = None,
        on_place: OnPlace | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Do a job when its turn comes.

        Args:
            command: of :mod:`s3im_web.worker`.
            arguments: its arguments.
            progress: called with each intermediate reply.
            on_place: called with the place in the queue, and with 0 when the job begins.
            seconds: time limit from then on; None: no limit.

        Raises:
            JobError: it failed, or took too long.
        """
        worker = await self._turn(on_place)
        try:
            async with asyncio.timeout(seconds):
                return await worker.run(command, arguments, progress)
        except TimeoutError as error:
            raise JobError("This took too long and was stopped: choose smaller files") from error
        finally:
            self._give_back(worker)

    async def _turn(self, on_place: OnPlace | None) -> Worker:
        if not self._idle:
            turn: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
            self._line.append(turn)
            try:
                while not turn.done():
                    if on_place is not None:
                        on_place(self.place(turn))
                    await asyncio.wait([turn], timeout=0.5)
            except asyncio.CancelledError:
                if turn in self._line:
                    self._line.remove(turn)
                elif turn.done():
                    self._give_back(turn.result())
                raise
            worker = turn.result()
        else:
            worker = self._idle.pop()
        if on_place is not None:
            on_place(0)
        return worker

    def _give_back(self, worker: Worker) -> None:
        if self._line:
            self._line.pop(0).set_result(worker)
        else:
            self._idle.append(worker)

    async def end(self) -> None:
        """End all workers."""
        await asyncio.gather(*(worker.end() for worker in self._all))
