"""The Python packages that the fusion needs: asked for once, when they are needed, and nothing of Slicer's replaced.

Torch comes from the PyTorch extension, which picks the build that fits the graphics card. The others come from PyPI
through Slicer's own installer, held to the versions of what Slicer brings with it.
"""

import importlib
import logging
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import slicer

from .i18n import _

TORCH = "torch>=2.6"
KEPT = ("numpy", "SimpleITK", "requests", "torch", "torchvision", "vtk", "pydicom", "scipy")
"""Packages that are never replaced."""


class DependencyError(RuntimeError):
    """What is missing and what the user can do, in one or two sentences."""


def missing_packages(requirements: Path) -> list[str]:
    """The requirements that are not met, as pip writes them; torch first.

    Args:
        requirements: a requirements file; lines with ``#`` are comments.

    Raises:
        DependencyError: if there is a torch, but one that is too old: it is not for us to replace it.
    """
    importlib.invalidate_caches()
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    wanted = [TORCH, *(line for line in lines if line and not line.startswith("#"))]
    missing = [line for line in wanted if not _is_met(line)]
    if TORCH in missing and _version("torch"):
        raise DependencyError(
            _(
                "PyTorch {version} is installed, but S3IMFusion needs {requirement}. Open the module PyTorch Utils, "
                "uninstall PyTorch there, restart Slicer and apply again."
            ).format(version=_version("torch"), requirement=TORCH)
        )
    return missing


def ensure_packages(requirements: Path) -> bool:
    """Asks once for all that is missing, and installs it.

    Under testing nothing is asked and nothing installed.

    Args:
        requirements: a requirements file.

    Returns:
        Whether all is there; False if the user declined, and then nothing was changed.

    Raises:
        DependencyError: if the PyTorch extension is needed and not there, or an installation failed.
    """
    missing = missing_packages(requirements)
    if not missing:
        return True
    if slicer.app.testingEnabled():
        logging.info("Testing mode: not installed: %s", ", ".join(missing))
        return False
    torch_logic = _torch_logic() if TORCH in missing else None
    if not slicer.util.confirmOkCancelDisplay(_question(missing), windowTitle=_("S3IMFusion: install packages")):
        return False
    if torch_logic is not None:
        version = TORCH.removeprefix("torch")
        if torch_logic.installTorch(askConfirmation=False, torchVersionRequirement=version) is None:
            raise DependencyError(_("PyTorch was not installed: install it in the module PyTorch Utils."))
    others = [line for line in missing if line != TORCH]
    if others:
        _install(others)
    still_missing = missing_packages(requirements)
    if still_missing:
        raise DependencyError(_("Not installed: {packages}.").format(packages=", ".join(still_missing)))
    return True


def _question(missing: list[str]) -> str:
    return _(
        "S3IMFusion needs Python packages that are not in Slicer yet:\n\n{packages}\n\n"
        "They are downloaded from the Internet into Slicer's own Python, once. Packages that Slicer brings with it are "
        "not replaced. PyTorch is large (200 MB to 3 GB); this can take some minutes.\n\nInstall them now?"
    ).format(packages="\n".join(f"  • {line}{_note(line)}" for line in missing))


def _note(line: str) -> str:
    return _(" with torchvision, by the PyTorch extension") if line == TORCH else ""


def _torch_logic() -> Any:
    try:
        import PyTorchUtils
    except ImportError:
        raise DependencyError(
            _(
                "S3IMFusion computes with PyTorch, which the PyTorch extension installs. In the Extensions Manager "
                "install the extension named PyTorch, restart Slicer and apply again."
            )
        ) from None
    return PyTorchUtils.PyTorchUtilsLogic()


def _install(lines: list[str]) -> None:
    """Installs packages, with what Slicer brings held to the versions that it has."""
    held = [f"{name}=={version.partition('+')[0]}" for name in KEPT if (version := _version(name))]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(held), encoding="utf-8")
        try:
            if hasattr(_packaging(), "pip_ensure"):
                _packaging().pip_ensure(
                    lines, constraints=constraints, prompt_install=False, prompt_restart=False, requester="S3IMFusion"
                )
            else:
                slicer.util.pip_install(["--constraint", str(constraints), *lines])
        except Exception as error:
            raise DependencyError(
                _("The packages could not be installed ({reason}): see the Python console for the log.").format(
                    reason=error
                )
            ) from error


def _packaging() -> Any:
    """The module ``slicer.packaging``, of Slicer 5.12 and later; None before."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


def _is_met(line: str) -> bool:
    checker = getattr(_packaging(), "pip_check", None)
    if checker is not None:
        return bool(checker(line))
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    requirement = Requirement(line)
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
