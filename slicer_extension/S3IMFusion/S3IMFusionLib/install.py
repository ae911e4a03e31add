"""Install the Python packages for the fusion on demand, and replace nothing else without asking.

Torch comes from the PyTorch extension, which picks the build for the graphics card. The others come from PyPI through
Slicer's own installer. Installed packages keep their versions; necessary changes are listed in a question, with the
packages and extensions that use them.
"""

import logging
import platform
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import slicer

from .i18n import _
from .installed import (
    KEPT,
    PYTORCH_EXTENSION,
    canonical,
    extensions_with_torch,
    installed_versions,
    is_met,
    is_of_torch,
    requirement,
    requirers_of,
    version_of,
    what_only_torch_needs,
)
from .pip_errors import ConflictError, DependencyError
from .pip_run import Show, pip_install, torch_install

__all__ = ["TORCH", "DependencyError", "ensure_packages", "missing_packages", "upgrade_packages"]

TORCH = "torch>=2.8,<3"  # as monai 1.6 requires it; a new major version may break it
OLD_RUNTIME = 1940  # Microsoft's compiler of runtime 14.40; the Windows builds of torch 2.9 and later need that runtime
MOST_QUESTIONS = 5


def missing_packages(requirements: Path) -> list[str]:
    """The unmet requirements in pip's notation, torch first.

    Args:
        requirements: a requirements file; lines with ``#`` are comments.
    """
    return [line for line in [TORCH, *_lines(requirements)] if not is_met(line)]


def ensure_packages(requirements: Path, show: Show = logging.info) -> bool:
    """Asks to install missing packages, and installs them.

    In testing mode it neither asks nor installs.

    Args:
        requirements: a requirements file.
        show: receives each text for the status line.

    Returns:
        Whether all packages are installed; False if the user declined, in which case the declined packages are
        unchanged.

    Raises:
        DependencyError: if there is no PyTorch for this computer, the PyTorch extension is missing, or an installation
            failed.
    """
    installed_versions()  # includes packages installed since Slicer's start
    missing = missing_packages(requirements)
    if not missing:
        return True
    if slicer.app.testingEnabled():
        logging.info("Testing mode: not installed: %s", ", ".join(missing))
        return False
    torch_logic = None
    if TORCH in missing:
        _check_platform()
        torch_logic = _torch_logic()
        _check_not_in_use()
    if not _confirm(_question(missing)):
        return False
    if torch_logic is not None and not _install_torch(torch_logic, show):
        return False
    others = [line for line in missing if line != TORCH]
    if others and not _install(others, show):
        return False
    still_missing = missing_packages(requirements)
    if still_missing:
        raise DependencyError(_("Not installed: {packages}.").format(packages=", ".join(still_missing)))
    return True


def upgrade_packages(requirements: Path, show: Show = logging.info) -> bool:
    """Installs missing packages and upgrades the others to the newest allowed versions; PyTorch only if too old.

    Args:
        requirements: a requirements file.
        show: receives each text for the status line.

    Returns:
        False if the user declined.

    Raises:
        DependencyError: as :func:`ensure_packages`.
    """
    if missing_packages(requirements) and not ensure_packages(requirements, show):
        return False
    lines = _lines(requirements)
    packages = "\n".join(_entry(line) for line in lines)
    question = _(
        "Newer versions within these ranges, if there are any, are downloaded from the Internet:\n\n"
        "{packages}\n\nAll other packages keep their versions. Upgrade now?"
    )
    return _confirm(question.format(packages=packages)) and _install(lines, show, "--upgrade")


def torch_to_install() -> str:
    """The range of PyTorch to install: below 2.9 in a Windows Slicer whose C++ runtime is too old for later builds."""
    compiler = re.match(r"MSC v\.(\d+)", platform.python_compiler())
    is_old = sys.platform == "win32" and compiler is not None and int(compiler[1]) < OLD_RUNTIME
    return TORCH.replace("<3", "<2.9") if is_old else TORCH


def _lines(requirements: Path) -> list[str]:
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _check_platform() -> None:
    """Raises DependencyError if no PyTorch is available: the last for Intel packages on a Mac is 2.2.2."""
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        message = _(
            "This Slicer is the Intel package for the Mac, for which the last PyTorch is 2.2.2; S3IMFusion needs 2.8 "
            "or later. Use a Slicer package for Apple silicon, or Slicer on Windows or Linux. Nothing was changed."
        )
        raise DependencyError(message)


def _check_not_in_use() -> None:
    """Raises DependencyError if this Slicer has loaded a PyTorch that must be replaced."""
    if "torch" in sys.modules and version_of("torch"):
        message = _(
            "PyTorch {version} is too old for S3IMFusion and in use in this Slicer, so it cannot be upgraded "
            "now: restart Slicer, open S3IMFusion first and apply again."
        )
        raise DependencyError(message.format(version=version_of("torch")))


def _torch_logic() -> Any:
    try:
        import PyTorchUtils
    except ImportError:
        message = _(
            "S3IMFusion computes with PyTorch, which the PyTorch extension installs. In the Extensions Manager "
            "install the extension named {extension}, restart Slicer and apply again."
        )
        raise DependencyError(message.format(extension=PYTORCH_EXTENSION)) from None
    return PyTorchUtils.PyTorchUtilsLogic()


def _confirm(question: str) -> bool:
    return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle=_("S3IMFusion: install packages")))


def _question(missing: list[str]) -> str:
    replaced = [line for line in missing if version_of(requirement(line).name)]
    parts = [
        _("S3IMFusion needs Python packages that Slicer does not have:\n\n{packages}\n\n").format(
            packages="\n".join(_entry(line) for line in missing)
        ),
        _(
            "They are downloaded from the Internet into Slicer's own Python, once. All packages not named "
            "here keep their versions. "
        ),
    ]
    if TORCH in missing:
        parts.append(_("PyTorch is large (200 MB to 3 GB); this can take a few minutes. "))
    if replaced:
        parts.append(
            _("The replacement also affects the named packages and extensions: restart Slicer before you use them. ")
        )
    return "".join([*parts, _("\n\nInstall them now?")])


def _entry(line: str) -> str:
    """One line of a question: the requirement and, if it replaces something, who is affected."""
    name = requirement(line).name
    text = _("{requirement}, with torchvision, by the PyTorch extension") if line == TORCH else "{requirement}"
    text = "  • " + text.format(requirement=torch_to_install() if line == TORCH else line)
    if version_of(name) is None:
        return text
    if not is_met(line):
        text += _(", replaces {name} {version}")
    return text.format(name=name, version=version_of(name)) + _users(name)


def _users(name: str) -> str:
    """The other users of an installed package, according to metadata."""
    extensions = extensions_with_torch() if is_of_torch(name) or name in {"monai", "einops"} else []
    users = [*requirers_of(name), *(_("extension {name}").format(name=name) for name in extensions)]
    return _(", which may be used by: {users}").format(users=", ".join(users)) if users else ""


def _install_torch(logic: Any, show: Show) -> bool:
    free = {name for name in installed_versions() if is_of_torch(name)}
    version = torch_to_install().removeprefix("torch")
    return _until_it_fits(
        free | what_only_torch_needs(),
        lambda names: torch_install(logic, version, names, show, _("Installing PyTorch ...")),
    )


def _install(lines: list[str], show: Show, *options: str) -> bool:
    free = {canonical(requirement(line).name) for line in lines}
    return _until_it_fits(
        free, lambda names: pip_install([*options, *lines], names, show, _("Installing packages ..."))
    )


def _until_it_fits(free: Iterable[str], install: Callable[[set[str]], None]) -> bool:
    """Installs; if installed packages conflict, asks to replace them, and tries again."""
    names = set(free)
    for _round in range(MOST_QUESTIONS):
        try:
            install(names)
        except ConflictError as error:
            in_the_way = [name for name in map(canonical, error.names) if name not in names]
            if not in_the_way or any(name in KEPT or is_of_torch(name) for name in in_the_way):
                raise
            if not _confirm(_question_of_conflict(in_the_way)):
                return False
            names |= set(in_the_way)
        else:
            return True
    raise DependencyError(_("The packages could not be installed: too many others would have to be replaced."))


def _question_of_conflict(names: list[str]) -> str:
    entries = [f"  • {name} {version_of(name)}{_users(name)}" for name in names]
    return _(
        "The packages that S3IMFusion needs are not compatible with these installed versions, which must be "
        "replaced:\n\n{packages}\n\nNothing else is changed. Restart Slicer before you use the packages named here. "
        "Replace them now?"
    ).format(packages="\n".join(entries))
