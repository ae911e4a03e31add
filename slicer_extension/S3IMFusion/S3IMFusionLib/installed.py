"""The packages installed in Slicer's Python, from their metadata, without importing them."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import slicer

PYTORCH_EXTENSION = "PyTorch"
KEPT = {"numpy", "simpleitk", "requests", "vtk", "pydicom", "scipy"}
"""Packages that come with Slicer: never replaced, not even after a question."""
TOOLS = {"pip", "setuptools", "wheel"}  # not pinned: PyTorchUtils' own installer may need another pip


def canonical(name: str) -> str:
    """The canonical name of a package, as pip compares it: ``Typing_Extensions`` is ``typing-extensions``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(line: str) -> Any:
    """A requirement in pip's notation, as ``packaging.requirements.Requirement``."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(line)


def version_of(name: str) -> str | None:
    """The installed version; None if the package is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def is_met(line: str) -> bool:
    """Whether an installed package meets a requirement in pip's notation."""
    wanted = requirement(line)
    version = version_of(wanted.name)
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def installed_versions() -> dict[str, str]:
    """The version of every installed package, by its canonical name."""
    importlib.invalidate_caches()
    names = ((dist.metadata["Name"], dist.version) for dist in metadata.distributions())
    return {canonical(name): version for name, version in names if name and version}


def requirers_of(name: str) -> list[str]:
    """The installed packages that require a package, with their versions and requirements.

    Returns:
        Entries such as ``nnunetv2 2.6.4 (torch>=2.1.2)``, sorted. Requirements of extras, of other platforms, and of
        packages that belong to PyTorch (torchvision) are left out.
    """
    found = {
        f"{own} {version} ({wanted.name}{wanted.specifier})"
        for own, version, wanted in _requirements()
        if canonical(wanted.name) == canonical(name) and not is_of_torch(own)
    }
    return sorted(found, key=str.lower)


def _requirements() -> Iterator[tuple[str, str, Any]]:
    """Each installed package and version with each requirement that applies here, without extras."""
    for dist in metadata.distributions():
        for line in dist.requires or ():
            try:
                wanted = requirement(line)
            except ValueError:  # metadata of old packages
                continue
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                yield dist.metadata["Name"] or "", dist.version, wanted


def is_of_torch(name: str) -> bool:
    """Whether a package belongs to a PyTorch installation and is replaced with it."""
    names = {"torch", "torchvision", "torchaudio", "triton", "triton-windows", "pytorch-triton"}
    return canonical(name) in names or canonical(name).startswith(("nvidia-", "cuda-"))


def extensions_with_torch() -> list[str]:
    """The installed Slicer extensions that depend on the PyTorch extension, other than S3IMFusion.

    Some of them remove PyTorch from the metadata of the packages they install, so :func:`requirers_of` misses them.
    """
    model = getattr(slicer.app, "extensionsManagerModel", lambda: None)()
    if model is None:  # a Slicer without the Extensions Manager
        return []
    depends = {
        name: str(model.extensionMetadata(name).get("depends", "")).split() for name in model.installedExtensions
    }
    return sorted(name for name in depends if name != "S3IMFusion" and PYTORCH_EXTENSION in depends[name])


def torch_backend() -> str:
    """The target of the installed PyTorch build: ``CUDA 13.0``, ``ROCm 6.4``, ``XPU``, ``MPS``, ``CPU``; "" if unknown.

    Read from the file ``torch/version.py``, without importing torch.
    """
    try:
        text = metadata.distribution("torch").locate_file("torch/version.py").read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return ""
    values = {}
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(getattr(node, "value", None), ast.Constant):
            values |= {target.id: node.value.value for target in targets if isinstance(target, ast.Name)}
    for key, label in (("cuda", "CUDA {}"), ("hip", "ROCm {}"), ("xpu", "XPU")):
        if values.get(key):
            return label.format(values[key])
    return "MPS" if sys.platform == "darwin" else "CPU"


def what_only_torch_needs() -> set[str]:
    """The installed packages, by canonical name, that only PyTorch requires; they may change with it."""
    requirers: dict[str, set[str]] = {}
    for own, _version, wanted in _requirements():
        requirers.setdefault(canonical(wanted.name), set()).add(canonical(own))
    names = set(installed_versions()) - KEPT
    free, former = {name for name in names if is_of_torch(name)}, set()
    while former != free:
        former = set(free)
        free |= {name for name in names if requirers.get(name) and requirers[name] <= free}
    return {name for name in free if not is_of_torch(name)}
