"""The self-test: is this installation complete, and does it compute the right result?

Heavy imports are inside the checks, so a missing package is reported instead of raised.
"""

import getpass
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_s3im import __version__

from .environment import device, extras, memory, software, writing
from .function import answers, codecs, known_answer, weights

__all__ = ["Check", "as_record", "examine", "known_answer"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: of the check.
        status: ``"ok"``; ``"note"``, worth knowing; or ``"failed"``.
        text: one line, without paths, user or machine names, or patient data.
    """

    name: str
    status: str
    text: str


def examine(folder: str | Path = ".", bundle: str | Path | None = None) -> Iterator[Check]:
    """Run all checks of the installation; takes about ten seconds.

    Args:
        folder: folder for results.
        bundle: the bundle with the weights to check; None: the packaged one.

    Yields:
        The result of each check; a check that cannot run counts as failed.
    """
    from monai_s3im.bundle_config import bundle_root

    models = Path(bundle or bundle_root()) / "models"
    checks: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
        "software": software,
        "extras": extras,
        "device": device,
        "memory": memory,
        "writing": lambda: writing(Path(folder)),
        "codecs": codecs,
        "weights": lambda: weights(models),
        "answer": lambda: answers(models),
    }
    for name, check in checks.items():
        try:
            yield from (Check(name, status, _without_names(text)) for status, text in check())
        except Exception as error:
            yield Check(name, "failed", _without_names(f"cannot be checked: {type(error).__name__}: {error}"))


def as_record(checks: list[Check], seconds: float) -> dict[str, Any]:
    """The output of ``s3im doctor --json``."""
    is_well = all(check.status != "failed" for check in checks)
    return {
        "ok": is_well,
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "seconds": round(seconds, 1),
        "checks": [asdict(check) for check in checks],
    }


def _without_names(text: str) -> str:
    """The text in one line, without the folders of paths and the names of the user and the machine."""
    text = " ".join(text.split())
    for folder in (Path.cwd(), Path(tempfile.gettempdir()), Path(sys.prefix), Path.home()):
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), "/...")
    text = re.sub(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[^\s'\"\\/]+[\\/])+", ".../", text)
    for name in (_user(), Path.home().name, socket.gethostname()):
        if name not in {"", "root", "localhost"}:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "...", text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the system does not know the user
        return ""
