"""Write a file or folder atomically: under a temporary name next to it, flushed to disk, then renamed."""

import errno
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from monai_s3im.errors import OutputError

from .paths import exists, isdir

_PROCESSES = Path("/proc/self/ns/pid")
_NAMESPACE = _PROCESSES.stat().st_ino if exists(_PROCESSES) else 0  # containers of one host reuse process numbers
_TEMPORARY = f".s3im-{platform.node()}-{_NAMESPACE}-"  # then the process number and a random part
_REASONS = {
    errno.EFBIG: ("the file is larger than the limit here", "raise the limit or choose another folder"),
    errno.ENOSPC: ("no space left on the device", "free some space or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder"),
    errno.EACCES: ("read-only folder or file", "choose a folder that you may write to"),
    errno.EPERM: ("read-only folder or file", "choose a folder that you may write to"),
    errno.EROFS: ("read-only file system", "choose a folder that you may write to"),
    errno.ENOENT: ("its folder does not exist", "create the folder first"),
    errno.ENOTDIR: ("its folder is a file", "choose another folder"),
    errno.EISDIR: ("a folder has this name", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
}


def write_file(path: Path, write: Callable[[Path], object], suffix: str) -> None:
    """Write a file, or replace it.

    Args:
        path: the file; its folder exists.
        write: called with the temporary file, which exists and is empty.
        suffix: of the temporary name, for libraries that depend on it.

    Raises:
        OutputError: the file cannot be written; nothing is left behind, and an existing file is unchanged.
    """
    temporary = _temporary(path, suffix)
    try:
        temporary.touch(exist_ok=False)
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)  # noqa: PTH105 (the name that says what happens)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Write a folder of files, or replace it and its content.

    A process that is killed leaves the old folder, the new one, or none.

    Args:
        path: the folder; its parent exists.
        write: called with the temporary folder, which exists and is empty.

    Raises:
        OutputError: the folder cannot be written; nothing is left behind, and an existing folder is unchanged.
    """
    temporary, old = _temporary(path), _temporary(path)
    try:
        temporary.mkdir()
        write(temporary)
        for file in temporary.iterdir():
            _flush(file)
        if exists(path):
            os.replace(path, old)  # noqa: PTH105
        try:
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            if exists(old):
                os.replace(old, path)  # noqa: PTH105
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder next to a path, removed at the end; leftovers of killed processes are removed first.

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    folder = _temporary(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the half-written files that killed processes of this machine left in a folder.

    Not done if the folder is unreadable, or on Windows, where the check for a living process would kill it.
    """
    try:
        there = list(Path(folder).iterdir()) if os.name == "posix" else []
    except OSError:
        return
    for path in there:
        match = re.match(rf"{re.escape(_TEMPORARY)}(\d+)-[0-9a-f]{{12}}", path.name)
        if match and not _is_alive(int(match[1])):
            if isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                path.unlink(missing_ok=True)


@contextmanager
def marked(folder: Path) -> Iterator[Path]:
    """Keep an empty file in a folder, created if needed: a machine that sees the file sees the same folder.

    Raises:
        OutputError: the file cannot be written.
    """
    mark = _temporary(folder / "mark")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch(exist_ok=False)
    except OSError as error:
        raise _output_error(mark, error) from error
    try:
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def _temporary(path: Path, suffix: str = "") -> Path:
    return path.with_name(f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:12]}{suffix}")


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _output_error(path: Path, error: OSError) -> OutputError:
    cause, remedy = _REASONS.get(error.errno or 0, (error.strerror, "check the folder and the device"))
    return OutputError(f"{path} cannot be written ({cause}): {remedy}")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
