"""Every option of a fusion, defined once: type, default, choices and one line of help. Nothing here imports torch.

The command, :class:`monai_s3im.pipeline.Fuser`, ``inference.json``, the record, the panel in 3D Slicer and the web page
take their options from here, or a test checks that they agree. To add an option, add a field, and use its value in
``bundle/configs/inference.json``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from .errors import InputError
from .modalities import AUTO_TASK, AUTO_WINDOW, CT_WINDOWS, TASKS

T = TypeVar("T")

REFERENCES = ("a", "b", "finer")
"""The grid of the result: source A's, source B's, or that of the smaller voxels (A's if they are equal)."""

SLICE_PLANES = ("axial", "coronal", "sagittal", "in-plane")
"""Slice planes of a volume; in-plane: as acquired."""

REGISTRATIONS = ("none", "rigid", "affine")
UNITS = ("file", "suv")
COLOR_MODELS = ("lab", "ycbcr")
"""How a fused volume shows uptake: by hue and lightness in CIELAB, or by the chrominance of YCbCr, as in the paper."""

COLORED = ("auto", "b")
"""What colour shows: a PET or SPECT volume, by its modality; or source B, whatever it is."""

PRECISIONS = ("float32", "bfloat16", "float16")

MAX_GIB = 4.0
"""Maximum memory for one image, as float32 or as stored; the header is checked before reading."""


def _option(
    default: T,
    text: str,
    *,
    choices: Sequence[str] = (),
    others: bool = False,
    minimum: int | None = None,
    recorded: bool = False,
) -> T:
    """A field of the settings.

    Args:
        default: its default.
        text: its help, one line.
        choices: the allowed values; empty: any of its type.
        others: whether values other than the choices are allowed, such as two numbers for a window.
        minimum: the smallest value.
        recorded: whether the record of an output contains its value.
    """
    return field(
        default=default,
        metadata={
            "help": text,
            "choices": tuple(choices),
            "others": others,
            "minimum": minimum,
            "recorded": recorded,
        },
    )


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """The settings of a fusion.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        plane: plane of the slices of a volume: ``"axial"``, ``"coronal"``, ``"sagittal"`` or ``"in-plane"``.
        reference: grid of a fused volume: ``"a"``, ``"b"``, or ``"finer"``, that of the smaller voxels.
        spacing: voxel size of a fused volume in mm, one or three (``1.5``, ``"1x1x2"``): keeps the reference's axes and
            field of view; None: the reference's voxel size.
        register: register B to A first: ``"none"``, ``"rigid"`` or ``"affine"``; see
            :class:`monai_s3im.transforms.RegisterSourcesd`.
        transform: a linear ITK transform (.tfm), A's points to B's, LPS mm; applied instead of an estimated one.
        window: range of a CT in HU: ``"brain"``, ``"soft_tissue"``, ``"bone"``, ``"full"``, ``"brain+bone"``, which
            compresses bone into the upper half, or two numbers (``"-160,240"``), applied to every CT. ``"auto"``, or
            None: by content, the brain window for a head and the soft-tissue window for a body, or percentiles if a CT
                is not in HU.
        unit: of a PET in DICOM: ``"file"``, as stored, or ``"suv"``, standardised uptake by body weight, from dose,
            weight and times in its headers.
        range_a: the values of image A that become 0 and 1, two numbers (``"0,6"``) in the unit of the file, or in SUV
            if that is the unit; replaces the window or percentiles of its modality. The same range makes two patients
            comparable.
        range_b: the same for image B.
        color: what colour shows: ``"auto"``, the uptake of a PET or SPECT volume; or ``"b"``, the values of source B,
            whatever its modality, if one gray image cannot hold the contrasts of both. Lightness then shows the fused
            image and hue shows B, with a colour bar in the record.
        color_map: colour of a PET or SPECT volume: ``"magenta-gold"``, a colour map of matplotlib, or a text file of
            rows of R G B; see :class:`monai_s3im.transforms.ColorMapd`. None: that of the modality.
        color_model: ``"lab"``, uptake by hue and anatomy by lightness, or ``"ycbcr"``, the chrominance of the colour
            map, as in Fig. 4 of the paper. Pictures with colours keep them.
        gray: write a result without colour.
        dicom: write a DICOM series, a folder, in the study of image A, or of image B if only that is DICOM.
        overwrite: replace an existing output that is not a fused image (has no record); fused images are always
            replaced.
        task: which weights to use, a name of :data:`monai_s3im.modalities.TASKS`, or ``"auto"``, by the modalities of
            each pair.
        weights: a weights file for every pair, instead of the packaged ones of the task.
        slice_batch: slices in one batch of the network.
        precision: number format of the network: ``"float32"``, ``"bfloat16"`` or ``"float16"``; the half precisions
            help on a GPU.
        deterministic: the same bytes on every run of one machine, for any number of threads and ``slice_batch``;
            slower.
        max_gib: maximum memory in GiB for one image, by its header; larger images are refused before reading.

    Raises:
        InputError: if ``max_gib`` is not more than 0, or a range is not two ascending numbers.
    """

    device: str = _option(
        "auto", "auto, cpu, cuda, cuda:1, mps.", choices=("auto", "cpu", "cuda", "mps"), others=True, recorded=True
    )
    plane: str = _option(
        "axial", "Slices of a volume: axial, coronal, sagittal or in-plane.", choices=SLICE_PLANES, recorded=True
    )
    reference: str = _option(
        "a", "Grid of the fused volume: that of a, b, or the finer of both.", choices=REFERENCES, recorded=True
    )
    spacing: str | float | Sequence[float] | None = _option(
        None, "Voxel size in mm instead, such as 1 or 0.9x0.9x2; same field of view.", recorded=True
    )
    register: str = _option(
        "none",
        "Register B to A first: none, rigid or affine; the transform is saved as .tfm.",
        choices=REGISTRATIONS,
        recorded=True,
    )
    transform: str | Path | None = _option(  # noqa: RUF009
        None, "Apply this transform (.tfm, from points of A to points of B) instead of registering."
    )
    window: str | Sequence[float] | None = _option(
        AUTO_WINDOW,
        "Range of a CT in HU: brain, soft_tissue, bone, full, brain+bone, LOWER,UPPER; or auto, by content.",
        choices=[*CT_WINDOWS, AUTO_WINDOW],
        others=True,
        recorded=True,
    )
    unit: str = _option(
        "file",
        "Unit of a PET in DICOM: file, as stored, or suv, by body weight; --range-b 0,6 is then in SUV.",
        choices=UNITS,
        recorded=True,
    )
    range_a: str | Sequence[float] | None = _option(
        None, "Values of A that become 0 and 1: LOWER,UPPER in the file's unit, for any modality.", recorded=True
    )
    range_b: str | Sequence[float] | None = _option(
        None, "Values of B that become 0 and 1: LOWER,UPPER in the file's unit, such as 0,6.", recorded=True
    )
    color: str = _option(
        "auto",
        "What colour shows: auto, the uptake of a PET or SPECT; or b, the values of B, whatever it is.",
        choices=COLORED,
        recorded=True,
    )
    color_map: str | None = _option(
        None, "Colour of uptake: magenta-gold, a matplotlib map, or a text file with rows of R G B."
    )
    color_model: str = _option(
        "lab",
        "Colour of a fused volume: lab, hue for uptake and lightness for anatomy, or ycbcr, as in the paper.",
        choices=COLOR_MODELS,
        recorded=True,
    )
    gray: bool = _option(False, "Write the fused image without colour.", recorded=True)
    dicom: bool = _option(False, "Write a DICOM series in the patient's study: -o names its folder.")
    overwrite: bool = _option(
        False, "Replace an output that is not a fused image of s3im; fused images are always replaced."
    )
    task: str = _option(
        AUTO_TASK,
        "Which weights to use: ct-mri, spect-pet-mri, medical, infrared-visible, figure-2 (the network of the paper, "
        "ahead in the usual metrics), or auto, by each pair's modalities.",
        choices=[AUTO_TASK, *TASKS],
    )
    weights: str | Path | None = _option(  # noqa: RUF009
        None, "Weights file to use for every pair instead of the task's."
    )
    slice_batch: int = _option(8, "Number of slices in one batch of the network.", minimum=1)
    precision: str = _option(
        "float32",
        "Number format of the network: float32, bfloat16 or float16; for a GPU.",
        choices=PRECISIONS,
        recorded=True,
    )
    deterministic: bool = _option(False, "Write the same bytes on every run of one machine; slower.", recorded=True)
    max_gib: float = _option(MAX_GIB, "Maximum memory in GiB for one image; larger images are refused.", minimum=0)

    def __post_init__(self) -> None:
        if not self.max_gib > 0:
            raise InputError(f"max_gib is {self.max_gib:g}: give the maximum memory for one image, more than 0")
        for range_ in (self.range_a, self.range_b):
            parse_range(range_)

    def as_dict(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)


def parse_range(text: str | Sequence[float] | None) -> tuple[float, float] | None:
    """Two values, (lower, upper), from ``"0,6"`` or two numbers; None if not given.

    Raises:
        InputError: if it is anything else, or not ascending.
    """
    if text is None:
        return None
    try:
        lower, upper = (float(end) for end in (text.split(",") if isinstance(text, str) else text))
    except (TypeError, ValueError):
        lower = upper = math.nan
    if not -math.inf < lower < upper < math.inf:
        raise InputError(f"unusable range {text!r}: use LOWER,UPPER in the unit of the file, such as 0,6")
    return lower, upper


RECORDED = tuple(option.name for option in fields(FusionSettings) if option.metadata["recorded"])
"""Settings whose values a record contains; of files it has the name and SHA256."""

DEFAULTS = FusionSettings()


def choices_of(name: str) -> tuple[str, ...]:
    """The allowed values of a setting; empty: any of its type."""
    found: tuple[str, ...] = _METADATA[name]["choices"]
    return found


def least_of(name: str) -> int | None:
    """The smallest allowed value of a setting; None: any."""
    found: int | None = _METADATA[name]["minimum"]
    return found


def help_of(name: str) -> str:
    """The help of a setting, in one line."""
    return str(_METADATA[name]["help"])


_METADATA: dict[str, Mapping[str, Any]] = {option.name: option.metadata for option in fields(FusionSettings)}
