"""The one table of modalities and tasks. To add one, add an entry to MODALITIES or to TASKS.

Nothing here imports torch or numpy: 3D Slicer, the web page, ``s3im --help`` and shell completion also read it.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

CT_WINDOWS = {
    "brain": (0.0, 80.0),
    "soft_tissue": (-160.0, 240.0),
    "bone": (-450.0, 1050.0),
    "full": (-1000.0, 2000.0),
    "brain+bone": (0.0, 1000.0),
}
"""Display windows in HU, (lower, upper)."""

CT_KNEES = {"brain+bone": 80.0}
"""Windows that keep two ranges: linear up to this value in HU, compressed smoothly above it."""

_REGIONS = {  # words of BodyPartExamined and of descriptions
    "head": "HEAD BRAIN SKULL CRANIUM CRANIAL CEREBRUM CEREBRAL NEURO KOPF TETE CRANE CRANEO",
    "body": "CHEST THORAX LUNG HEART CARDIAC AORTA ABDOMEN ABD LIVER KIDNEY COLON PELVIS HIP SPINE CSPINE TSPINE "
    "LSPINE NECK SHOULDER ARM ELBOW WRIST HAND LEG KNEE ANKLE FOOT EXTREMITY TRUNK BODY WHOLEBODY",
}

AUTO_WINDOW = "auto"
"""Instead of a window: chosen by the content of the CT, see :func:`monai_s3im.transforms.ct_content`."""


@dataclass(frozen=True)
class Modality:
    """The names of a modality, and how its intensities become values in [0, 1].

    Attributes:
        name: for pair lists and the command line.
        label: for messages.
        window: (lower, upper) in the modality's unit (HU for CT); None: from percentiles.
        lower_percentile: percentile of all voxels that becomes 0, if there is no window; None: the value 0.
        upper_percentile: percentile of the foreground that becomes 1, if there is no window.
        color_map: the colour map that shows uptake, ``"magenta-gold"`` or one of matplotlib; None for anatomy.
        dicom: its code in DICOM's tag Modality (0008,0060); None if it has none.
        bids: suffixes of its files in BIDS, such as ``T1w``.
        aliases: other names in lists, on the command line and of folders, in lower case; ``dicom`` and ``bids`` need
            not be repeated.
        words: words in names of files or of Slicer volumes that mark this modality. Short codes with other meanings in
            file names (pt: patient) are left out.
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
            words=("CT", "CTA", "CBCT", "CTres"),
        ),
        Modality(
            "mr",
            "MR",
            dicom="MR",
            bids=(
                *("T1w", "T2w", "FLAIR", "PDw", "T2starw", "PDT2", "inplaneT1", "inplaneT2", "UNIT1", "MP2RAGE"),
                *("T1map", "T2map", "PDmap", "bold", "sbref", "dwi", "asl", "m0scan"),
            ),
            aliases=("mri", "t1", "t2", "pd", "mprage"),
            words=(
                *("MR", "MRI", "MPRAGE", "MP-RAGE", "MP2RAGE", "FLAIR", "T1", "T2", "T1ce", "T1c", "T1n", "T1Gd"),
                *("T1post", "T2f", "T2star", "PDw", "DWI", "ADC", "SWI", "SPGR"),
            ),
        ),
        Modality(
            "pet",
            "PET",
            lower_percentile=None,
            upper_percentile=99.8,
            color_map="magenta-gold",
            dicom="PT",
            bids=("pet",),
            aliases=("fdg",),
            words=(
                *("PET", "FDG", "SUV", "SUVbw", "AV45", "AV1451", "PiB", "FDOPA", "florbetapir", "florbetaben"),
                *("flutemetamol", "flortaucipir"),
            ),
        ),
        Modality(
            "spect",
            "SPECT",
            lower_percentile=None,
            upper_percentile=99.8,
            color_map="magenta-gold",
            dicom="NM",
            bids=("spect",),
            words=("SPECT", "DaTscan", "ioflupane", "HMPAO"),
        ),
        Modality("us", "ultrasound", lower_percentile=None, dicom="US", aliases=("ultrasound",)),
        Modality(
            "dose",
            "dose",
            lower_percentile=None,
            upper_percentile=99.8,
            color_map="magenta-gold",
            dicom="RTDOSE",
            aliases=("rt_dose", "rt dose"),
            words=("RTDOSE",),
        ),
        Modality("visible", "visible light", aliases=("vi", "crop_lr_visible")),  # folder of RoadScene
        Modality("infrared", "infrared", aliases=("ir", "cropinfrared")),  # the same
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
    """The purpose of a weights file.

    Attributes:
        weights: the file's name among the bundle's models.
        fits: whether a pair belongs to the task, from the names of its two modalities in either order.
        by_name: whether the weights are used only on request by name, never by modalities.
    """

    weights: str
    fits: Callable[[str, str], bool]
    by_name: bool = False


TASKS = {
    "ct-mri": Task("model_ct_mri.pt", lambda a, b: {a, b} == {"ct", "mr"}),
    "spect-pet-mri": Task("model_spect_mri.pt", lambda a, b: {a, b} in ({"mr", "spect"}, {"mr", "pet"})),
    "medical": Task("model_medical.pt", lambda a, b: not {a, b} & _LIGHT),
    "infrared-visible": Task("model_infrared.pt", lambda a, b: {a, b} <= {*_LIGHT, "generic"}),
    "figure-2": Task("model.pt", lambda a, b: not {a, b} & _LIGHT, by_name=True),
}
"""Task by name; a pair gets the first that fits, so narrow tasks come before wide ones."""

AUTO_TASK = "auto"
OWN_WEIGHTS = "own"
"""Instead of a task, if the user's own weights are used for every pair."""


def task_of(modality_a: str, modality_b: str) -> str | None:
    """The name of the task of a pair; None if there is none."""
    return next((name for name, task in TASKS.items() if not task.by_name and task.fits(modality_a, modality_b)), None)


def task_weights(task: str | None, models: str | Path, own: str | Path | None = None) -> dict[str, Path]:
    """The weights files that may be needed.

    Args:
        task: a name of :data:`TASKS`; ``"auto"`` or None: chosen for each pair.
        models: folder of the packaged weights.
        own: a file to use instead of all of them.

    Returns:
        Task -> file; with ``own``, :data:`OWN_WEIGHTS` -> that file. Tasks that must be requested by name are not
        included in the automatic choice.

    Raises:
        InputError: if the task is unknown.
    """
    if task not in {None, AUTO_TASK, *TASKS}:
        raise InputError(f"unknown task {task!r}: use one of {', '.join([AUTO_TASK, *TASKS])}")
    if own is not None:
        return {OWN_WEIGHTS: Path(own)}
    is_by_pair = task in {None, AUTO_TASK}
    wanted = [name for name, each in TASKS.items() if name == task or (is_by_pair and not each.by_name)]
    return {name: Path(models) / TASKS[name].weights for name in wanted}


def modality_named(name: str) -> Modality:
    """The modality of that name, in any case; its other names (MRI, T1w, PT, NM, IR) are understood too.

    Raises:
        InputError: if it is unknown; the message lists the known ones.
    """
    found = known_modality(name)
    if found is None:
        raise InputError(f"unknown modality {str(name)[:40]!r}: use one of {', '.join(MODALITIES)}")
    return found


def known_modality(name: str) -> Modality | None:
    """The modality of a name, as in :func:`modality_named`; None if unknown."""
    lower = name.strip().lower()
    return next((modality for modality in MODALITIES.values() if lower in modality.names), None)


def modality_of_name(text: str) -> Modality | None:
    """The only modality with words in the name of a file or volume; None if there is none, or several.

    'MRHead', 'T1w', 'chris_t1' and 'pet 2' have such words; 'direct' and 'T10' do not.
    """
    found = [modality for modality in MODALITIES.values() if any(_names(word, text) for word in modality.words)]
    return found[0] if len(found) == 1 else None


def region_named(text: str) -> str | None:
    """``"head"`` or ``"body"``, from a header's text about the body part; None if it names neither or both.

    Args:
        text: such as DICOM's BodyPartExamined or SeriesDescription.
    """
    words = set(re.findall(r"[A-Z]+", text.upper()))
    found = [region for region, names in _REGIONS.items() if words & set(names.split())]
    return found[0] if len(found) == 1 else None


def _names(word: str, text: str) -> bool:
    word = rf"{word}(?!\d)" if word[-1].isdigit() else word
    in_capitals = rf"(?<![A-Za-z])(?:{word})(?![a-vx-z])"
    return bool(re.search(in_capitals, text) or re.search(rf"(?i)(?<![a-z])(?:{word})w?(?![a-z])", text))


def ct_window(window: str | Sequence[float]) -> tuple[float, float]:
    """The window in HU, (lower, upper), from a name of :data:`CT_WINDOWS`, ``"LOWER,UPPER"`` or two numbers.

    Raises:
        InputError: if it is none of them, or is not ascending.
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
