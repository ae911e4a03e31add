"""The values that distinguish the planes of a DICOM file: echo, b-value, time and others."""

import math
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from .frames import items_of, vector_of, words_of

_MARKS: dict[str, tuple[tuple[str, str | None], ...]] = {  # tags, and their functional group
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
    "dose of": (("DoseSummationType", None),),
}
NM_VECTORS = {  # vectors of nuclear medicine: a value for each frame
    "energy window": "EnergyWindowVector",
    "detector": "DetectorVector",
    "rotation": "RotationVector",
    "phase": "PhaseVector",
    "R-R interval": "RRIntervalVector",
    "time slot": "TimeSlotVector",
    "time slice": "TimeSliceVector",
}
CATEGORIES = ("dose of", "image type", "echo time", "echo", "b-value", "direction", "inversion time", "flip angle")
"""Marks that sort slices into volumes before times do."""
TIMES = (*NM_VECTORS, "time", "stack", "trigger time", "acquisition")
"""Marks that are times, in the order tried."""
RANKS = ("time", "trigger time", "image index", "acquisition time", "acquisition", "instance number")
"""Marks whose order at each position determines the volume of a slice."""
_KNOWN_TYPES = frozenset(
    {"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "W", "F", "WATER", "FAT", "IP", "OP", "IN_PHASE"}
    | {"OUT_PHASE", "PHASE_MAP", "ADC", "TRACEW", "FA", "DIFFUSION", "T1", "T2", "AXIAL", "MPR", "MIN_IP", "MAX_IP"}
    | {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "NORM"}
)


def type_of(mark: str) -> str:
    """An image type for display: only known words, since vendors write free text there."""
    words = [word for word in mark.split("\\") if word in _KNOWN_TYPES]
    return "\\".join(words) or "other"


def marks_of(header: Dataset, groups: Sequence[Dataset], frame: int) -> dict[str, Any]:
    """The marks of a frame, by name; unknown ones are left out.

    Args:
        header: header of the file.
        groups: functional groups of the frame, see :func:`.frames.groups_of`.
        frame: counted from 0.
    """
    marks: dict[str, Any] = {"image type": "\\".join(_frame_type(header, groups))}
    for mark, tags in _MARKS.items():
        for tag, sequence in tags:
            places = [header] if sequence is None else items_of(groups, sequence)
            value = next((place[tag].value for place in places if tag in place and not place[tag].is_empty), None)
            if value is not None:
                marks[mark] = _plain(value)
                break
    if header.get("Modality") == "NM":
        found = {mark: vector_of(header, name, frame) for mark, name in NM_VECTORS.items()}
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
    items = [item for sequence in sequences for item in items_of(groups, sequence)]
    found = next((item.FrameType for item in items if item.get("FrameType")), header.get("ImageType"))
    return words_of(found)


def _direction(header: Dataset, groups: Sequence[Dataset]) -> Any:
    """Of diffusion, to two digits."""
    value = header.get("DiffusionGradientOrientation")
    for item in items_of(groups, "MRDiffusionSequence"):
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
    """A number if possible; else text, which is compared but never shown."""
    number = _number(value)
    return str(value) if number is None else number
