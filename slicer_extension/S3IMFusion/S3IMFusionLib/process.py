"""The process that computes: torch stays out of Slicer, and is loaded once for many fusions.

Requests and replies are JSON, one per line, over the process's stdin and stdout. A request is ``{"id": 1, "command":
"fuse", ...}``; its replies have the same ``id`` and an ``event``: ``"log"`` and ``"progress"`` while running, then
``"done"`` or ``"error"``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import FusionError
from .i18n import _
from .paths import library_paths

_MAIN = Path(__file__).with_name("worker_main.py")
_LOG_CHARACTERS = 4000
_PAUSE_S = 0.02
_NO_WINDOW = 0x08000000  # subprocess.CREATE_NO_WINDOW, which exists only on Windows
IDLE_S = 300.0


def find_python() -> str:
    """The interpreter for the process: Slicer's own or, outside Slicer, the current one.

    Raises:
        FusionError: if there is none.
    """
    home = os.environ.get("SLICER_HOME")
    inside = shutil.which("PythonSlicer", path=str(Path(home) / "bin")) if home else None
    python = inside or shutil.which("PythonSlicer") or sys.executable
    if not python:
        raise FusionError(_("no Python interpreter found: reinstall Slicer, which includes PythonSlicer"))
    return python


class Worker:
    """A process that stays alive between fusions.

    It starts at first use, and again after it has ended. It ends when idle for minutes, which frees its memory and
    the GPU; with :meth:`close`; with this object; and with the process that owns this object, even if that is killed.
    Volumes are passed as files in :attr:`folder`, which only this user can read and which is removed with the process;
    while it contains any, the process does not end on its own.

    It uses no threads, because Slicer's Python threads do not run while its event loop waits.

    Args:
        python: interpreter; None: :func:`find_python`.
        env: additional environment variables.
        idle_s: idle time after which the process ends, in seconds.
    """

    def __init__(self, python: str | None = None, env: Mapping[str, str] | None = None, idle_s: float = IDLE_S) -> None:
        self._python = python
        self._idle_s = idle_s
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._folder: Path | None = None
        self._received = b""
        self._requests = 0

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process ID; None while it is not running."""
        return self._process.pid if self._process is not None and self.is_alive else None

    @property
    def folder(self) -> Path:
        """The private folder of the running process."""
        self.start()
        assert self._folder is not None  # noqa: S101
        return self._folder

    @property
    def log(self) -> str:
        """The end of the output of the process and its libraries."""
        file = self._folder / "log.txt" if self._folder else None
        return file.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:] if file and file.exists() else ""

    def start(self) -> None:
        """Start the process if needed, without waiting for it; it loads torch immediately.

        Raises:
            FusionError: if it cannot be started.
        """
        if self.is_alive:
            return
        self.close()
        try:
            command = [self._python or find_python(), str(_MAIN), str(library_paths()[0])]
        except FileNotFoundError as error:
            raise FusionError(str(error)) from error
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="s3imfusion-"))  # mode 700
        except OSError as error:
            where = f"{Path(error.filename).parent}: {error.strerror}" if error.filename else error.strerror
            raise FusionError(
                _("there is no usable temporary folder ({reason}): create it, or free some space in it").format(
                    reason=where
                )
            ) from error
        own_tree = {"start_new_session": True} if os.name == "posix" else {"creationflags": _NO_WINDOW}
        try:
            with (self._folder / "log.txt").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603
                    [*command, str(self._folder), str(self._idle_s)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, **self._env, "PYTHONUTF8": "1"},
                    **own_tree,
                )
        except OSError as error:
            self.close()
            raise FusionError(
                _("{program} cannot be started ({reason}): reinstall Slicer").format(
                    program=command[0], reason=error.strerror
                )
            ) from error
        assert self._process.stdout is not None  # noqa: S101
        os.set_blocking(self._process.stdout.fileno(), False)
        self._received = b""
        self._end = weakref.finalize(self, _end, self._process, self._folder)

    def submit(self, command: str, **arguments: Any) -> int:
        """Send a request, and start the process if needed.

        Returns:
            The ``id`` of its replies.

        Raises:
            FusionError: if the process cannot be started, or has just ended.
        """
        self.start()
        self._requests += 1
        line = json.dumps({"id": self._requests, "command": command, **arguments}) + "\n"
        assert self._process is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise FusionError(self._told_end()) from error
        return self._requests

    def replies(self) -> list[dict[str, Any]]:
        """The replies received so far, without waiting for more.

        Raises:
            FusionError: if the process has ended.
        """
        if self._process is None or self._process.stdout is None:
            raise FusionError(_("the fusion process is not running"))
        has_ended = False
        with suppress(BlockingIOError):
            while chunk := os.read(self._process.stdout.fileno(), 65536):
                self._received += chunk
            has_ended = True
        *lines, self._received = self._received.split(b"\n")
        if has_ended and not lines:
            raise FusionError(self._told_end())
        return [
            json.loads(line) for line in lines if line.startswith(b'{"id":')
        ]  # other lines are output of a launcher

    def call(self, command: str, timeout_s: float = 120.0, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its last reply.

        Returns:
            The last reply.

        Raises:
            FusionError: if the reply is an error or does not come in time, or the process ends.
        """
        number, end = self.submit(command, **arguments), time.monotonic() + timeout_s
        while time.monotonic() < end:
            for reply in self.replies():
                if reply["id"] == number and reply["event"] == "done":
                    return reply
                if reply["id"] == number and reply["event"] == "error":
                    raise FusionError(reply["message"])
            time.sleep(_PAUSE_S)
        raise FusionError(
            _("the fusion process did not answer within {seconds:g} s: look at its log").format(seconds=timeout_s)
        )

    def close(self) -> None:
        """End the process and its children, and remove its folder; :meth:`start` starts a new one."""
        if self._end is not None:
            self._end()
        elif self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._end = self._folder = None

    def _told_end(self) -> str:
        assert self._process is not None  # noqa: S101
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        code = self._process.returncode
        if code == -9:
            return _(
                "the fusion process was killed, possibly for lack of memory, before it finished: "
                "look at its log, and try again"
            )
        return _("the fusion process ended with code {code} before it finished: look at its log, and try again").format(
            code=code
        )


def _end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    if process.returncode != 0:  # otherwise it has ended, and its ID may be reused
        _kill_tree(process)
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            if stream is not None:
                stream.close()
    shutil.rmtree(folder, ignore_errors=True)


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """End the process and its children (PythonSlicer may be a launcher, whose child computes)."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        _taskkill(process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def _taskkill(pid: int) -> None:
    """End a Windows process and its children without a flashing console window."""
    program = str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe")
    command = [program, "/F", "/T", "/PID", str(pid)]
    subprocess.run(command, capture_output=True, check=False, creationflags=_NO_WINDOW)  # noqa: S603
