"""The one table of modalities and tasks. To add one, add an entry to MODALITIES or to TASKS.

Nothing here imports torch or numpy: 3D Slicer, a web page, ``s3im --help`` and the shell's completion read it, too.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

CT_WINDOWS = {
    "brain": (0.0, 80.0),
    "soft_tissue": (-160.0, 240.0),
    "bone": (-450.0, 1050.0),
    "full": (-1000.0, 2000.0),
}
"""Display windows in HU, (lower, upper)."""

AUTO_WINDOW = "auto"
"""Instead of a window: chosen by what a CT shows, see :func:`monai_s3im.transforms.ct_content`."""

_AIR_HU, _TISSUE_HU, _BONE_HU, _MOST_HU = (-1100.0, -900.0), -500.0, 300.0, 20_000.0
_LEAST_AIR_OF_A_GUESS, _LEAST_AIR, _LEAST_LUNG = 5e-3, 1e-3, 0.05  # parts of the voxels
_LEAST_PADDING, _LEAST_GAP, _LARGE_GAP, _LEAST_HIGH_PADDING = 1e-3, 100.0, 500.0, 30_000.0
_MOST_SAMPLES = 10_000_000


@dataclass(frozen=True)
class Modality:
    """How a modality is named, and how its intensities become values in [0, 1].

    Attributes:
        name: as it is written in pair lists and on the command line.
        label: as it is written in messages.
        window: (lower, upper) in the modality's unit (HU for CT); None: from percentiles.
        lower_percentile: percentile of all voxels that becomes 0, where there is no window; None: the value 0.
        upper_percentile: percentile of the foreground that becomes 1, where there is no window.
        color_map: matplotlib's name of the colour map that shows uptake; None for anatomy.
        dicom: its code in DICOM's tag Modality (0008,0060); None if it has none.
        bids: suffixes of its files in BIDS, such as ``T1w``.
        aliases: other names in lists, on the command line and of folders, in lower case; ``dicom`` and ``bids`` are
            understood without being here.
        words: what the name of a file or of a volume in Slicer has if it is of this modality. Short codes that mean
            other things in file names (pt: patient) are left out.
    """

    name: str
    label: str
    window: tuple[float, float] | None = None
    lower_percentile: float | None = 1.0
    upper_percentile: float = 99.5
    color_map: str | None = None
    dicom: str | None = None
    bids: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All names that stand for it, in lower case."""
        codes = [self.dicom] if self.dicom else []
        return frozenset(name.lower() for name in (self.name, *codes, *self.bids, *self.aliases))


MODALITIES = {
    modality.name: modality
    for modality in (
        Modality(
            "ct",
            "CT",
            window=CT_WINDOWS["brain"],
            dicom="CT",
            bids=("ct",),
            aliases=("cbct", "cta"),
            words=("CT", "CTA"),
        ),
        Modality(
            "mr",
            "MR",
            dicom="MR",
            bids=("T1w", "T2w", "FLAIR", "PDw", "T2starw"),
            aliases=("mri", "t1", "t2", "pd", "dwi", "mprage"),
            words=("MR", "MRI", "MPRAGE", "FLAIR", "T1", "T2"),
        ),
        Modality(
            "pet",
            "PET",
            lower_percentile=None,
            upper_percentile=99.8,
            color_map="afmhot",
            dicom="PT",
            bids=("pet",),
            aliases=("fdg",),
            words=("PET", "FDG"),
        ),
        Modality(
            "spect",
            "SPECT",
            lower_percentile=None,
            upper_percentile=99.8,
            color_map="afmhot",
            dicom="NM",
            bids=("spect",),
            words=("SPECT",),
        ),
        Modality("us", "ultrasound", lower_percentile=None, dicom="US", aliases=("ultrasound",)),
        Modality("visible", "visible light", aliases=("vi", "crop_lr_visible")),  # folder of RoadScene
        Modality("infrared", "infrared", aliases=("ir", "cropinfrared")),  # likewise
        Modality("generic", "generic"),
    )
}
"""Modality by name."""

FUNCTIONAL = tuple(name for name, modality in MODALITIES.items() if modality.color_map)
"""Modalities whose uptake is shown in colour."""

DICOM_CODES = tuple(modality.dicom for modality in MODALITIES.values() if modality.dicom)
"""Values of DICOM's tag Modality (0008,0060) that say how to treat a volume."""

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
    """The modality of that name, in any case; its other names (MRI, T1w, PT, NM, IR) are understood too.

    Raises:
        InputError: if there is none; the message lists those there are.
    """
    found = known_modality(name)
    if found is None:
        raise InputError(f"unknown modality {str(name)[:40]!r}: use one of {', '.join(MODALITIES)}")
    return found


def known_modality(name: str) -> Modality | None:
    """The modality that a name stands for, as in :func:`modality_named`; None if there is none."""
    lower = name.strip().lower()
    return next((modality for modality in MODALITIES.values() if lower in modality.names), None)


def modality_of_name(text: str) -> Modality | None:
    """The only modality whose words stand in the name of a file or volume; None if there is none, or several.

    'MRHead', 'T1w', 'chris_t1' and 'pet 2' have such words; 'direct' and 'T10' do not.
    """
    found = [modality for modality in MODALITIES.values() if any(_names(word, text) for word in modality.words)]
    return found[0] if len(found) == 1 else None


def _names(word: str, text: str) -> bool:
    word = rf"{word}(?!\d)" if word[-1].isdigit() else word
    in_capitals = rf"(?<![A-Za-z])(?:{word})(?![a-vx-z])"
    return bool(re.search(in_capitals, text) or re.search(rf"(?i)(?<![a-z])(?:{word})w?(?![a-z])", text))


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
        names = ", ".join([AUTO_WINDOW, *CT_WINDOWS])
        raise InputError(f"unusable CT window {window!r}: use {names}, or LOWER,UPPER in HU such as -160,240")
    return lower, upper


def modality_of_dicom(tag: str) -> Modality | None:
    """The modality of DICOM's Modality (0008,0060): CT, MR, PT, NM or US; None for any other."""
    code = tag.strip().upper()
    return next((modality for modality in MODALITIES.values() if code and modality.dicom == code), None)


def guess_modality(volume: "Tensor") -> Modality:
    """Guess from the values: CT where a good part is air, bone is there and nothing lies far below air, else generic.

    Extremes alone say nothing: an MR that splines resampled has voxels far below 0, and padding may have any value.

    Args:
        volume: (1, X, Y, Z) in the file's unit; NaN where there is no value.
    """
    values = _measured(volume)
    below, _, air = _shares(values)
    is_ct = air >= _LEAST_AIR_OF_A_GUESS and below <= air / 10 and _BONE_HU <= values.max(initial=0.0) <= _MOST_HU
    return MODALITIES["ct" if is_ct else "generic"]


def is_hounsfield(volume: "Tensor") -> bool:
    """Whether a CT volume holds HU: there is a peak of air around -1000 HU, or a good part lies below -500 HU, as lung.

    Padding and NaN do not count.

    Args:
        volume: (1, ...) in the file's unit.
    """
    _, between, air = _shares(_measured(volume))
    return (air >= _LEAST_AIR and air > 0.75 * between) or air + between >= _LEAST_LUNG


def padding_of(volume: "Tensor", modality: Modality | None = None) -> list[float]:
    """The values that stand for "not measured", such as -2000, -3024, -32768, 63536 or 65535.

    Padding is a single value at either end, in at least 0.1 % of the voxels and far from all others: at the low end it
    is negative and at least 100 apart, and 500 or half of the range of all others; at the high end it is at least
    30,000 and twice the next one. Of a CT, -1100 and more is not padding, but air, or where the CT was clipped.

    Args:
        volume: (1, ...) in the file's unit; NaN where there is no value.
        modality: how the volume will be treated; None: not known yet.
    """
    return _padding_in(_sampled(volume), modality)


def _padding_in(values: "NDArray[np.float32]", modality: Modality | None) -> list[float]:
    found = []
    for sign in (1.0, -1.0):
        ends = sign * values  # the low end, then the high end
        end = float(ends.min(initial=0.0))
        rest = ends[ends > end]
        if not rest.size or values.size - rest.size < _LEAST_PADDING * values.size:
            continue
        gap = float(rest.min()) - end
        is_air = end >= _AIR_HU[0] and (modality is None or modality.window is not None)
        is_apart = gap >= max(_LEAST_GAP, min(_LARGE_GAP, float(rest.max() - rest.min()) / 2))
        is_low = end < 0 and is_apart and not is_air
        is_high = -end >= _LEAST_HIGH_PADDING and gap >= -end / 2
        if is_low if sign > 0 else is_high:
            found.append(sign * end)
    return found


def _sampled(volume: "Tensor") -> "NDArray[np.float32]":
    """The values, without NaN; of more than 10 million, every n-th."""
    import numpy as np  # noqa: PLC0415 (s3im --help reads the table above)

    values = volume.detach().cpu().numpy().ravel()
    values = values[:: math.ceil(values.size / _MOST_SAMPLES)]
    finite = np.isfinite(values)
    measured: NDArray[np.float32] = values if finite.all() else values[finite]
    return measured


def _measured(volume: "Tensor", modality: Modality | None = None) -> "NDArray[np.float32]":
    """The values without NaN and padding."""
    values = _sampled(volume)
    for padding in _padding_in(values, modality):
        values = values[values != padding]
    return values


def _shares(values: "NDArray[np.float32]") -> tuple[float, float, float]:
    """The parts of the values below air, between air and -500 HU, and in air."""
    if not values.size:
        return 0.0, 0.0, 0.0
    lowest, highest = _AIR_HU
    below = float((values < lowest).mean())
    air = float((values <= highest).mean()) - below
    return below, float((values <= _TISSUE_HU).mean()) - air - below, air


def intensity_range(volume: "Tensor", modality: Modality) -> tuple[float, float]:
    """The values that become 0 and 1: the modality's window, or robust percentiles of the whole volume.

    The foreground is what lies above half-way between the darkest and the mean value, both taken without outliers; that
    leaves out air, also under bias and noise (Otsu's threshold would leave out the dark half of a head as
    well). A CT that is not in HU is treated by percentiles. NaN and padding (:func:`padding_of`) do not count. Of more
    than 10 million voxels, every n-th counts.

    Args:
        volume: (1, ...) in the file's unit, not constant.
        modality: how to treat it.

    Returns:
        (lower, upper) in the file's unit, lower < upper.
    """
    import numpy as np  # noqa: PLC0415 (s3im --help reads the table above)

    if modality.window is not None and is_hounsfield(volume):
        return modality.window
    values = _measured(volume, modality)
    outlier = 1.0 if modality.lower_percentile is None else modality.lower_percentile
    darkest, brightest = np.percentile(values, (outlier, modality.upper_percentile))
    mean = values.clip(darkest, brightest).mean(dtype=np.float64)
    foreground = values[values > (darkest + mean) / 2]
    lower = 0.0 if modality.lower_percentile is None else float(darkest)
    upper = float(np.percentile(foreground, modality.upper_percentile)) if foreground.size else lower
    if not upper > lower:  # nearly empty: a few bright voxels only
        lower, upper = float(values.min()), float(values.max())
    return lower, upper
