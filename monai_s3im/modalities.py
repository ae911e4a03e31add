"""The one place for modalities and tasks. To add one, add an entry to MODALITIES or to TASKS.

Its names stand in ``s3im --help`` and in the shell's completion, so it imports neither torch nor numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CT_WINDOWS = {
    "brain": (0.0, 80.0),
    "soft_tissue": (-160.0, 240.0),
    "bone": (-450.0, 1050.0),
    "full": (-1000.0, 2000.0),
}
"""Display windows in HU, (lower, upper)."""

_AIR_HU = -500.0
_MOST_SAMPLES = 10_000_000
_OTHER_NAMES = {
    **dict.fromkeys(("mri", "t1", "t1w", "t2", "t2w", "pd", "flair", "dwi"), "mr"),
    **dict.fromkeys(("cbct", "cta"), "ct"),
    **dict.fromkeys(("pt", "fdg"), "pet"),
    "nm": "spect",
    "ultrasound": "us",
    "vi": "visible",
    "ir": "infrared",
}
_OF_DICOM = {"CT": "ct", "MR": "mr", "PT": "pet", "NM": "spect", "US": "us"}


@dataclass(frozen=True)
class Modality:
    """How the intensities of a modality become values in [0, 1].

    Attributes:
        name: as it is written in pair lists and on the command line.
        label: as it is written in messages.
        window: (lower, upper) in the modality's unit (HU for CT); None: from percentiles.
        lower_percentile: percentile of all voxels that becomes 0, where there is no window; None: the value 0.
        upper_percentile: percentile of the foreground that becomes 1, where there is no window.
        color_map: matplotlib's name of the colour map that shows uptake; None for anatomy.
    """

    name: str
    label: str
    window: tuple[float, float] | None = None
    lower_percentile: float | None = 1.0
    upper_percentile: float = 99.5
    color_map: str | None = None


MODALITIES = {
    modality.name: modality
    for modality in (
        Modality("ct", "CT", window=CT_WINDOWS["brain"]),
        Modality("mr", "MR"),
        Modality("pet", "PET", lower_percentile=None, upper_percentile=99.8, color_map="afmhot"),
        Modality("spect", "SPECT", lower_percentile=None, upper_percentile=99.8, color_map="afmhot"),
        Modality("us", "ultrasound", lower_percentile=None),
        Modality("visible", "visible light"),
        Modality("infrared", "infrared"),
        Modality("generic", "generic"),
    )
}
"""Modality by name."""

_LIGHT = {"visible", "infrared"}


@dataclass(frozen=True)
class Task:
    """What a file of weights is for.

    Attributes:
        weights: the file's name among the bundle's models.
        fits: whether a pair is of the task, from the names of its two modalities, in either order.
    """

    weights: str
    fits: Callable[[str, str], bool]


TASKS = {
    "ct-mri": Task("model_ct_mri.pt", lambda a, b: {a, b} == {"ct", "mr"}),
    "spect-pet-mri": Task("model_spect_mri.pt", lambda a, b: {a, b} in ({"mr", "spect"}, {"mr", "pet"})),
    "medical": Task("model.pt", lambda a, b: not {a, b} & _LIGHT),
    "infrared-visible": Task("model_infrared.pt", lambda a, b: {a, b} <= {*_LIGHT, "generic"}),
}
"""Task by name; the first that fits a pair is its own, so a narrow one stands before a wide one."""

AUTO_TASK = "auto"
OWN_WEIGHTS = "own"
"""In the place of a task where the user's own weights are used for every pair."""


def task_of(modality_a: str, modality_b: str) -> str | None:
    """The name of the task that a pair is of; None if there is none."""
    return next((name for name, task in TASKS.items() if task.fits(modality_a, modality_b)), None)


def task_weights(task: str | None, models: str | Path, own: str | Path | None = None) -> dict[str, Path]:
    """The files of weights that may be needed.

    Args:
        task: a name of :data:`TASKS`; ``"auto"`` or None: chosen pair by pair.
        models: folder of the weights that come with the package.
        own: a file that takes the place of all of them.

    Returns:
        Task -> file; with ``own``, :data:`OWN_WEIGHTS` -> that file.

    Raises:
        InputError: if there is no such task.
    """
    if task not in {None, AUTO_TASK, *TASKS}:
        raise InputError(f"unknown task {task!r}: use one of {', '.join([AUTO_TASK, *TASKS])}")
    if own is not None:
        return {OWN_WEIGHTS: Path(own)}
    return {name: Path(models) / each.weights for name, each in TASKS.items() if task in {None, AUTO_TASK, name}}


def modality_named(name: str) -> Modality:
    """The modality of that name, in any case; others' names, such as MRI, T1, FLAIR, PT, FDG, NM, VI, IR, too.

    Raises:
        InputError: if there is none; the message lists those there are.
    """
    lower = name.strip().lower()
    try:
        return MODALITIES[_OTHER_NAMES.get(lower, lower)]
    except KeyError:
        raise InputError(f"unknown modality {str(name)[:40]!r}: use one of {', '.join(MODALITIES)}") from None


def ct_window(window: str | Sequence[float]) -> tuple[float, float]:
    """The window in HU, (lower, upper), from a name of :data:`CT_WINDOWS`, ``"LOWER,UPPER"`` or two numbers.

    Raises:
        InputError: if it is none of them, or does not run upwards.
    """
    if isinstance(window, str) and window in CT_WINDOWS:
        return CT_WINDOWS[window]
    try:
        lower, upper = (float(end) for end in (window.split(",") if isinstance(window, str) else window))
    except (TypeError, ValueError):
        lower = upper = math.nan
    if not -math.inf < lower < upper < math.inf:
        names = ", ".join(CT_WINDOWS)
        raise InputError(f"unusable CT window {window!r}: use {names}, or LOWER,UPPER in HU such as -160,240")
    return lower, upper


def modality_of_dicom(tag: str) -> Modality | None:
    """The modality of DICOM's Modality (0008,0060): CT, MR, PT, NM or US; None for any other."""
    name = _OF_DICOM.get(tag.strip().upper())
    return MODALITIES[name] if name else None


def guess_modality(volume: Tensor) -> Modality:
    """Guess from the values: CT where air and bone lie where HU puts them, else generic.

    Args:
        volume: (1, X, Y, Z) in the file's unit.
    """
    looks_like_hu = bool(volume.amin() <= _AIR_HU) and bool(volume.amax() >= 300.0) and bool(volume.amin() >= -4096.0)
    return MODALITIES["ct" if looks_like_hu else "generic"]


def is_hounsfield(volume: Tensor) -> bool:
    """Whether a CT volume holds HU: some of it is air, below -500 HU."""
    return bool(volume.amin() <= _AIR_HU)


def intensity_range(volume: Tensor, modality: Modality) -> tuple[float, float]:
    """The values that become 0 and 1: the modality's window, or robust percentiles of the whole volume.

    The foreground is what lies above half-way between the darkest and the mean value, both taken without outliers; that
    leaves out air, also under bias and noise (Otsu's threshold would leave out the dark half of a head as
    well). A CT that is not in HU is treated by percentiles. Of more than 10 million voxels, every n-th counts.

    Args:
        volume: (1, ...) in the file's unit, not constant.
        modality: how to treat it.

    Returns:
        (lower, upper) in the file's unit, lower < upper.
    """
    import numpy as np  # noqa: PLC0415 (s3im --help reads the table above)

    if modality.window is not None and is_hounsfield(volume):
        return modality.window
    values = volume.detach().cpu().numpy().ravel()
    values = values[:: math.ceil(values.size / _MOST_SAMPLES)]
    outlier = 1.0 if modality.lower_percentile is None else modality.lower_percentile
    darkest, brightest = np.percentile(values, (outlier, modality.upper_percentile))
    mean = values.clip(darkest, brightest).mean(dtype=np.float64)
    foreground = values[values > (darkest + mean) / 2]
    lower = 0.0 if modality.lower_percentile is None else float(darkest)
    upper = float(np.percentile(foreground, modality.upper_percentile)) if foreground.size else lower
    if not upper > lower:  # nearly empty: a few bright voxels only
        lower, upper = float(values.min()), float(values.max())
    return lower, upper
