"""The planes of pixels in a DICOM file: where each is stored, where it lies, and what tells it from others there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from monai_s3im.errors import InputError

from .headers import damage_as_input_error

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MOST_FRAMES = 100_000
_GROUP_OF = {  # functional group of a multi-frame file: the only places that count
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
_MARKS: dict[str, tuple[tuple[str, str | None], ...]] = {  # what tells volumes apart: tags, and their group
    "echo time": (("EffectiveEchoTime", "MREchoSequence"), ("EchoTime", None)),
    "echo": (("EchoNumbers", None),),
    "b-value": (("DiffusionBValue", "MRDiffusionSequence"), ("DiffusionBValue", None)),
    "inversion time": (("InversionTime", None),),
    "flip angle": (("FlipAngle", None),),
    "time": (
        ("TemporalPositionIndex", "FrameContentSequence"),
        ("TemporalPositionIdentifier", None),
        ("FrameReferenceTime", None),
    ),
    "stack": (("StackID", "FrameContentSequence"), ("StackID", None)),
    "trigger time": (
        ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"),
        ("TriggerTime", None),
    ),
    "acquisition": (("FrameAcquisitionNumber", "FrameContentSequence"), ("AcquisitionNumber", None)),
}
_NM_VECTORS = {
    "energy window": "EnergyWindowVector",
    "detector": "DetectorVector",
    "rotation": "RotationVector",
    "phase": "PhaseVector",
    "R-R interval": "RRIntervalVector",
    "time slot": "TimeSlotVector",
    "time slice": "TimeSliceVector",
}
CATEGORIES = ("image type", "echo time", "echo", "b-value", "direction", "inversion time", "flip angle")
"""Marks by which slices are sorted into volumes before those of time."""
TIMES = (*_NM_VECTORS, "time", "stack", "trigger time", "acquisition")
"""Marks that tell times, in the order in which they are tried."""
RANKS = ("time", "trigger time", "image index", "acquisition time", "acquisition", "instance number")
"""Marks whose order at each position tells which volume a slice belongs to."""
_KNOWN_TYPES = frozenset(
    {"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "W", "F", "WATER", "FAT", "IP", "OP", "IN_PHASE"}
    | {"OUT_PHASE", "PHASE_MAP", "ADC", "TRACEW", "FA", "DIFFUSION", "T1", "T2", "AXIAL", "MPR", "MIN_IP", "MAX_IP"}
    | {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "NORM"}
)


@dataclass(frozen=True)
class Plane:
    """One plane of pixels: where it is stored, where it lies (LPS mm), what its values mean.

    Attributes:
        extent: mm that the plane stands for along its normal; 0 where the file does not say.
        marks: what may tell it from another plane at the same position.
    """

    file: Path
    frame: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]  # from column to column, from row to row
    size: tuple[int, int]  # columns, rows
    thickness: float | None
    extent: float
    slope: float
    intercept: float
    samples: int
    is_localizer: bool
    marks: dict[str, Any]


def planes_of(file: Path, header: Dataset) -> list[Plane]:
    """The planes of a file.

    Raises:
        InputError: a tag is missing or cannot be used, the frames have no position each, or they are no slices.
    """
    _check_pixels(file, header)
    frames = _frames(file, header)
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    is_nm = header.get("Modality") == "NM" and frames > 1 and not per_frame
    if is_nm:
        _check_reconstruction(file, header, frames)
    elif frames > 1 and len(per_frame) != frames:
        raise InputError(f"{file} has {frames} frames without a position of each: convert it to NIfTI first")
    return [_plane(file, header, frame, is_nm) for frame in range(frames)]


def samples_of(header: Dataset) -> int:
    """Values of a pixel: 1, or 3 for colour."""
    return int(header.get("SamplesPerPixel") or 1)


def type_of(mark: str) -> str:
    """An image type as it may be shown: vendors write free text there, so only known words are."""
    words = [word for word in mark.split("\\") if word in _KNOWN_TYPES]
    return "\\".join(words) or "other"


def _frames(file: Path, header: Dataset) -> int:
    with damage_as_input_error(file):
        frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frames <= _MOST_FRAMES:
        raise InputError(f"{file} has a NumberOfFrames that cannot be used: repair it, or export the series again")
    return frames


def _check_pixels(file: Path, header: Dataset) -> None:
    is_rgb = header.get("PhotometricInterpretation") == "RGB" and header.get("BitsAllocated") == 8
    is_colour = samples_of(header) > 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR"
    if is_colour and not (is_rgb and header.get("SOPClassUID") == _SECONDARY_CAPTURE):
        raise InputError(f"{file} is a colour picture: give the series of the volume itself, or pictures as PNG")
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        raise InputError(f"{file} is stored inverted (MONOCHROME1): export it as MONOCHROME2")
    if "MOSAIC" in (header.get("ImageType") or ()):
        raise InputError(f"{file} is a mosaic of slices: export them as single slices, or convert the series to NIfTI")


def _check_reconstruction(file: Path, header: Dataset, frames: int) -> None:
    """Refuse frames of nuclear medicine that are no slices: PS3.3 C.8.4.9.1.1, third value of ImageType."""
    types = _words(header.get("ImageType"))
    third = types[2] if len(types) > 2 else ""
    if third.startswith("RECON"):
        return
    if "TOMO" in third:
        raise InputError(
            f"{file} has {frames} projections, which are not reconstructed (image type TOMO): give the series of the "
            "reconstructed slices"
        )
    raise InputError(
        f"{file} has {frames} frames that are no reconstructed slices (the image type is not RECON TOMO): give the "
        "series of the reconstructed slices"
    )


def _words(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(each).upper() for each in values]


def _plane(file: Path, header: Dataset, frame: int, is_nm: bool) -> Plane:
    groups = _groups(header, frame)
    detectors = [] if groups else list(header.get("DetectorInformationSequence") or ())
    vector = _vector(header, "DetectorVector", frame)
    if vector is not None and 1 <= vector <= len(detectors):
        detectors = [detectors[vector - 1]]

    def numbers(name: str, count: int, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        places = [*_items(groups, _GROUP_OF[name]), header]
        return _numbers(file, [*places, *(detectors if header.get("Modality") == "NM" else ())], name, count, default)

    position = np.array(numbers("ImagePositionPatient", 3))
    orientation = numbers("ImageOrientationPatient", 6)
    thickness = numbers("SliceThickness", 1, (0.0,))[0]
    between = numbers("SpacingBetweenSlices", 1, (0.0,))[0]
    if is_nm:  # the sign of the step tells the direction along the normal
        step = between or (thickness if thickness > 0 else numbers("SpacingBetweenSlices", 1)[0])
        index = _slice_index(file, header, frame)
        position = position + index * step * np.cross(orientation[:3], orientation[3:])
    row_step, column_step = numbers("PixelSpacing", 2)
    if min(row_step, column_step) <= 0:
        raise InputError(f"{file} has a PixelSpacing that is not positive: repair it, or export the series again")
    return Plane(
        file=file,
        frame=frame,
        position=tuple(position),
        orientation=orientation,
        spacing=(column_step, row_step),
        size=(int(header.get("Columns") or 0), int(header.Rows)),
        thickness=thickness if thickness > 0 else None,
        extent=max(thickness, abs(between), 0.0),
        slope=numbers("RescaleSlope", 1, (1.0,))[0],
        intercept=numbers("RescaleIntercept", 1, (0.0,))[0],
        samples=samples_of(header),
        is_localizer="LOCALIZER" in _words(header.get("ImageType")),
        marks=_marks(header, groups, frame),
    )


def _groups(header: Dataset, frame: int) -> list[Dataset]:
    """The functional groups of a frame, its own before those of all frames."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    return [*per_frame[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or ())[:1]]


def _items(groups: Sequence[Dataset], sequence: str) -> list[Dataset]:
    return [item for group in groups for item in (group.get(sequence) or ())[:1]]


def _slice_index(file: Path, header: Dataset, frame: int) -> int:
    """Which slice a frame of a reconstruction is, from 0."""
    index = _vector(header, "SliceVector", frame)
    if index is not None:
        return index - 1
    if any(_varies(header.get(name)) for name in _NM_VECTORS.values()):
        raise InputError(f"{file} lacks the tag SliceVector: export the series again, one volume a file")
    return frame


def _varies(vector: Any) -> bool:
    return vector is not None and not isinstance(vector, int | str) and len(set(vector)) > 1


def _vector(header: Dataset, name: str, frame: int) -> int | None:
    """The value of one of the vectors of nuclear medicine for a frame; None if there is none."""
    values = header.get(name)
    values = [values] if isinstance(values, int) else list(values or ())
    return int(values[frame]) if len(values) == int(header.get("NumberOfFrames") or 1) else None


def _marks(header: Dataset, groups: Sequence[Dataset], frame: int) -> dict[str, Any]:
    marks: dict[str, Any] = {"image type": "\\".join(_frame_type(header, groups))}
    for mark, tags in _MARKS.items():
        for tag, sequence in tags:
            places = [header] if sequence is None else _items(groups, sequence)
            value = next((place[tag].value for place in places if tag in place and not place[tag].is_empty), None)
            if value is not None:
                marks[mark] = _plain(value)
                break
    if header.get("Modality") == "NM":
        found = {mark: _vector(header, name, frame) for mark, name in _NM_VECTORS.items()}
        marks |= {mark: value for mark, value in found.items() if value is not None}
    marks.setdefault("b-value", _private_b_value(header))
    marks["direction"] = _direction(header, groups)
    marks["image index"] = _number(header.get("ImageIndex"))
    marks["instance number"] = _number(header.get("InstanceNumber")) if not groups else frame
    times = [str(header.get(name) or "") for name in ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")]
    marks["acquisition time"] = times[0] or "".join(times[1:]) or None
    return {mark: value for mark, value in marks.items() if value is not None}


def _frame_type(header: Dataset, groups: Sequence[Dataset]) -> list[str]:
    sequences = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
    items = [item for sequence in sequences for item in _items(groups, sequence)]
    found = next((item.FrameType for item in items if item.get("FrameType")), header.get("ImageType"))
    return _words(found)


def _direction(header: Dataset, groups: Sequence[Dataset]) -> Any:
    """Of diffusion, to two digits."""
    value = header.get("DiffusionGradientOrientation")
    for item in _items(groups, "MRDiffusionSequence"):
        for inner in (item.get("DiffusionGradientDirectionSequence") or ())[:1]:
            value = inner.get("DiffusionGradientOrientation", value)
    try:
        return tuple(round(float(each), 2) for each in value) if value is not None and len(value) == 3 else None
    except (TypeError, ValueError):
        return None


def _private_b_value(header: Dataset) -> float | None:
    """As Siemens and Philips write it in older files."""
    for creator, tag in ((0x00190010, 0x0019100C), (0x20010010, 0x20011003)):
        is_known = str(header[creator].value if creator in header else "").upper().startswith(("SIEMENS", "PHILIPS"))
        if is_known and tag in header:
            return _number(header[tag].value)
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    """A number where it is one; else text, that is compared and never shown."""
    number = _number(value)
    return str(value) if number is None else number


def _numbers(
    file: Path, places: Sequence[Dataset], name: str, count: int, default: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    """The values of a tag, from the first place that has it."""
    value = next((place[name].value for place in places if name in place and not place[name].is_empty), default)
    if value is None:
        raise InputError(f"{file} lacks the tag {name}: export the series again, as original slices")
    with damage_as_input_error(file):
        numbers = np.array(value, dtype=np.float64).ravel()
    if numbers.size != count or not np.isfinite(numbers).all():
        raise InputError(f"{file} has a {name} that cannot be used: repair it, or export the series again")
    return tuple(numbers.tolist())
