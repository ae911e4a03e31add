"""Check the environment: packages, devices, memory, folders."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from monai_s3im import __version__
from monai_s3im.formats.paths import isfile

DISTRIBUTION = "monai-s3im"
LITTLE_MEMORY_BYTES = 2 << 30
LITTLE_SPACE_BYTES = 1 << 30
_MODULES = {"pytorch-ignite": "ignite", "pillow": "PIL", "simpleitk": "SimpleITK"}  # where the names differ

Found = Iterator[tuple[str, str]]  # status and text


def software() -> Found:
    """Check the package and the versions of its requirements."""
    from packaging.requirements import Requirement

    found, wrong = [], []
    try:
        texts = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield "note", "not installed as a package, so its requirements are unknown"
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version_of(requirement.name)
        found.append(f"{requirement.name} {version or 'missing'}")
        if version is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    yield "ok", ", ".join(found)
    if metadata.version(DISTRIBUTION) != __version__:
        wrong.append(f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)} is installed, but {__version__} runs")
    for text in wrong:
        yield "failed", f"{text}: install the package again"


def _version_of(name: str) -> str | None:
    """The version of a distribution; None if it or its module is missing."""
    try:
        version = metadata.version(name)
        module = _MODULES.get(name.lower(), name.replace("-", "_"))
        is_there = util.find_spec(module)
    except (metadata.PackageNotFoundError, ModuleNotFoundError):
        return None
    return version if is_there else None


def extras() -> Found:
    """Which extras are installed."""
    from packaging.requirements import Requirement

    distribution = metadata.metadata(DISTRIBUTION)
    requirements = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    states = []
    for extra in distribution.get_all("Provides-Extra") or []:
        names = [
            requirement.name
            for requirement in requirements
            if requirement.marker
            and requirement.marker.evaluate({"extra": extra})
            and not requirement.marker.evaluate({"extra": ""})
        ]
        states.append(f"{extra} {'yes' if all(map(_is_installed, names)) else 'no'}")
    yield "ok", ", ".join(states)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def devices() -> list[str]:
    """The devices to compute on, by their names in torch."""
    import torch

    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*devices, "mps"] if torch.backends.mps.is_available() else devices


def device() -> Found:
    """The processor and the GPUs."""
    import torch

    yield "ok", f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    for device in devices()[1:]:
        if device == "mps":
            yield "ok", device
            continue
        free, total = torch.cuda.mem_get_info(device)
        card, cuda = torch.cuda.get_device_name(device), torch.version.cuda or torch.version.hip
        yield "ok", f"{device}, {card}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, CUDA {cuda}"
    if torch.version.cuda and not torch.cuda.is_available():
        yield "note", "torch is built for CUDA, but finds no GPU: fusing runs on the CPU"


def memory() -> Found:
    """Whether there is enough memory."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        meminfo = Path("/proc/meminfo")
        if isfile(meminfo):  # counts reclaimable memory too
            match = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"))
            free = int(match[1]) << 10 if match else free
    except (AttributeError, ValueError, OSError):
        yield "note", "the available memory of this system is unknown"
        return
    status = "ok" if free >= LITTLE_MEMORY_BYTES else "note"
    yield status, f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB available"


def writing(folder: Path) -> Found:
    """Whether results and temporary files can be written."""
    for name, path in (("results", folder), ("temporary files", Path(tempfile.gettempdir()))):
        try:
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(bytes(1 << 16))
            free = shutil.disk_usage(path).free
        except OSError as error:
            yield (
                "failed",
                f"the folder for {name} cannot be written ({error.strerror}): choose another or fix its permissions",
            )
            continue
        yield "ok" if free >= LITTLE_SPACE_BYTES else "note", f"folder for {name}: {free / 2**30:.1f} GiB free"
