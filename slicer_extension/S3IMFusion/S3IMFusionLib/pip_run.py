"""Run pip in Slicer's Python with a wait cursor and status line, and with installed packages pinned.

Slicer 5.8 and later runs pip in a process and prints each of its lines (``slicer.util.logProcessOutput``), whether
by ``slicer.util.pip_install``, by ``slicer.packaging`` or for the PyTorch extension. So the lines are read from there.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import slicer

from .installed import TOOLS, canonical, installed_versions, requirement
from .pip_errors import explained

Show = Callable[[str], None]
LONGEST_STATUS = 90


class _Output:
    """Forwards printed text, keeps its lines, and shows each."""

    def __init__(self, stream: Any, show: Show) -> None:
        self.lines: list[str] = []
        self._stream, self._show, self._rest = stream, show, ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        self.lines += lines
        for line in filter(str.strip, lines):
            self._show(line.strip())
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def running(what: str, show: Show) -> Iterator[None]:
    """Shows the wait cursor and the current task with pip's latest line; turns a failure into one sentence.

    Args:
        what: such as ``Installing PyTorch ...``.
        show: is given each text for the status line.

    Raises:
        DependencyError: for any failure inside.
    """
    output = _Output(sys.stdout, lambda line: show(f"{what} {line}"[:LONGEST_STATUS]))
    show(what)
    try:
        with slicer.util.WaitCursor(), redirect_stdout(output):
            yield
    except Exception as error:
        raise explained(output.lines, error) from error


@contextmanager
def held(free: Collection[str]) -> Iterator[Path]:
    """A constraints file that pins every installed package, except those that may be replaced."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(_constraints(free)), encoding="utf-8")
        yield file


def _constraints(free: Collection[str]) -> Iterator[str]:
    for name, version in installed_versions().items():
        line = f"{name}=={version.partition('+')[0]}"
        if name not in TOOLS and name not in {canonical(other) for other in free} and _is_valid(line):
            yield line


def _is_valid(line: str) -> bool:
    """False for the remains of a failed removal, such as ``~umpy``, which would stop pip."""
    try:
        requirement(line)
    except ValueError:
        return False
    return True


def pip_install(arguments: list[str], free: Collection[str], show: Show, what: str) -> None:
    """Installs packages by Slicer's own installer.

    Args:
        arguments: requirements, and options of ``pip install``.
        free: the packages that may be replaced; all others keep their versions.
        show: is given each text for the status line.
        what: the text of the status line.

    Raises:
        DependencyError: if it failed; :class:`ConflictError` if pinned packages conflict.
    """
    with held(free) as constraints, running(what, show):
        packaging = slicer_packaging()
        if packaging is not None:  # its own progress dialog would show a second error
            packaging.pip_install(arguments, constraints=constraints, show_progress=False, requester="S3IMFusion")
        else:
            slicer.util.pip_install(["--constraint", str(constraints), *arguments])


def torch_install(logic: Any, version: str, free: Collection[str], show: Show, what: str) -> None:
    """Installs PyTorch by the PyTorch extension, which picks the build for the graphics card.

    The extension takes no constraints; pip reads them from its environment variable, as a URL because the variable is
    split at spaces.

    Args:
        logic: ``PyTorchUtils.PyTorchUtilsLogic()``.
        version: such as ``>=2.8,<3``.
        free: the packages that may be replaced; all others keep their versions.
        show: is given each text for the status line.
        what: the text of the status line.

    Raises:
        DependencyError: if it failed; :class:`ConflictError` if pinned packages conflict.
    """
    former = os.environ.get("PIP_CONSTRAINT")
    with held(free) as constraints, running(what, show):
        os.environ["PIP_CONSTRAINT"] = " ".join(filter(None, [former, constraints.as_uri()]))
        try:
            if logic.installTorch(askConfirmation=False, torchVersionRequirement=version) is None:
                raise RuntimeError("installTorch returned nothing")
        finally:
            if former is None:
                del os.environ["PIP_CONSTRAINT"]
            else:
                os.environ["PIP_CONSTRAINT"] = former


def slicer_packaging() -> Any:
    """The module ``slicer.packaging``, of Slicer 5.12 and later; None before."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None
