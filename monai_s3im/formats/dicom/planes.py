"""The planes of pixels in a DICOM file: storage, position and meaning of the values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from monai_s3im.errors import InputError
from monai_s3im.formats.damage import damage_as_input_error

from .frames import groups_of, items_of, vector_of, words_of
from .marks import NM_VECTORS, marks_of

_MOST_FRAMES = 100_000
_MOSAICS = {"MOSAIC", "VFRAME"}  # of Siemens and of United Imaging
_ALONG_Z, _SAME_MM = 0.999, 0.01
_GROUP_OF = {  # functional group of a multi-frame file: the only places that count
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


@dataclass(frozen=True)
class Plane:
    """One plane of pixels: storage, position (LPS mm) and meaning of the values.

    Attributes:
        extent: thickness in mm along the normal; 0 if the file does not give it.
        marks: values that may distinguish it from another plane at the same position.
        is_step_guessed: whether the file lacks the distance to the next plane, so the thickness is used.
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
    is_step_guessed: bool = False


def planes_of(file: Path, header: Dataset) -> list[Plane]:
    """The planes of a file.

    Raises:
        InputError: a tag is missing or unusable, the frames lack positions, or they are not slices.
    """
    _check_pixels(file, header)
    frames = _frames(file, header)
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    is_nm = header.get("Modality") == "NM" and frames > 1 and not per_frame
    if is_nm:
        _check_reconstruction(file, header, frames)
    elif header.get("Modality") == "RTDOSE" and not per_frame:
        return _planes_of_dose(file, header, frames)
    elif frames > 1 and len(per_frame) != frames:
        raise InputError(f"{file} has {frames} frames without positions: convert it to NIfTI first")
    return [_plane(file, header, frame, is_nm) for frame in range(frames)]


def _planes_of_dose(file: Path, header: Dataset, frames: int) -> list[Plane]:
    """The planes of a dose grid, with values in Gy: PS3.3 C.8.8.3.

    GridFrameOffsetVector holds the distance of each frame from ImagePositionPatient along the normal, or the z of each
    frame if it does not begin with 0.
    """
    if header.get("DoseUnits") == "RELATIVE":
        raise InputError(f"{file} has a dose in percent: give one in Gy")
    scaling = _numbers(file, [header], "DoseGridScaling", 1)[0]
    plane = replace(_plane(file, header, 0, is_nm=False), slope=scaling, intercept=0.0)
    if frames == 1:
        return [plane]
    offsets = np.array(_numbers(file, [header], "GridFrameOffsetVector", frames))
    normal = np.cross(plane.orientation[:3], plane.orientation[3:])
    if offsets[0] != 0 and abs(normal[2]) > _ALONG_Z and abs(offsets[0] - plane.position[2]) <= _SAME_MM:
        offsets = (offsets - offsets[0]) * np.sign(normal[2])
    elif offsets[0] != 0:
        raise InputError(f"{file} has a GridFrameOffsetVector that cannot be used: export the dose again")
    step = float(np.median(np.abs(np.diff(offsets))))
    positions = [tuple(position) for position in np.array(plane.position) + offsets[:, None] * normal]
    return [
        replace(plane, frame=frame, position=position, thickness=step or plane.thickness, extent=step or plane.extent)
        for frame, position in enumerate(positions)
    ]


def samples_of(header: Dataset) -> int:
    """Values per pixel: 1, or 3 for colour."""
    return int(header.get("SamplesPerPixel") or 1)


def _frames(file: Path, header: Dataset) -> int:
    with damage_as_input_error(file, is_dicom=True):
        frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frames <= _MOST_FRAMES:
        raise InputError(f"{file} has a NumberOfFrames that cannot be used: repair it, or export the series again")
    return frames


def _check_pixels(file: Path, header: Dataset) -> None:
    if header.get("Modality") == "SEG":
        raise InputError(f"{file} is a segmentation, which has no intensities: give the series that it belongs to")
    is_rgb = header.get("PhotometricInterpretation") == "RGB" and header.get("BitsAllocated") == 8
    is_colour = samples_of(header) > 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR"
    if is_colour and not (is_rgb and header.get("SOPClassUID") == SecondaryCaptureImageStorage):
        raise InputError(f"{file} is a colour picture: give the series of the volume itself, or pictures as PNG")
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        raise InputError(f"{file} is stored inverted (MONOCHROME1): export it as MONOCHROME2")
    if _MOSAICS & set(words_of(header.get("ImageType"))):
        raise InputError(f"{file} is a mosaic of slices: export them as single slices, or convert the series to NIfTI")


def _check_reconstruction(file: Path, header: Dataset, frames: int) -> None:
    """Refuse frames of nuclear medicine that are not slices: PS3.3 C.8.4.9.1.1, third value of ImageType."""
    types = words_of(header.get("ImageType"))
    third = types[2] if len(types) > 2 else ""
    if third.startswith("RECON"):
        return
    if "TOMO" in third:
        raise InputError(
            f"{file} has {frames} projections, which are not reconstructed (image type TOMO): give the series of the "
            "reconstructed slices"
        )
    raise InputError(
        f"{file} has {frames} frames that are not reconstructed slices (the image type is not RECON TOMO): give the "
        "series of the reconstructed slices"
    )


def _plane(file: Path, header: Dataset, frame: int, is_nm: bool) -> Plane:
    groups = groups_of(header, frame)
    detectors = [] if groups else list(header.get("DetectorInformationSequence") or ())
    vector = vector_of(header, "DetectorVector", frame)
    if vector is not None and 1 <= vector <= len(detectors):
        detectors = [detectors[vector - 1]]

    def numbers(name: str, count: int, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        places = [*items_of(groups, _GROUP_OF[name]), header]
        return _numbers(file, [*places, *(detectors if header.get("Modality") == "NM" else ())], name, count, default)

    position = np.array(numbers("ImagePositionPatient", 3))
    orientation = numbers("ImageOrientationPatient", 6)
    thickness = numbers("SliceThickness", 1, (0.0,))[0]
    between = numbers("SpacingBetweenSlices", 1, (0.0,))[0]
    if is_nm:  # the sign of the step gives the direction along the normal
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
        is_localizer="LOCALIZER" in words_of(header.get("ImageType")),
        marks=marks_of(header, groups, frame),
        is_step_guessed=is_nm and not between,
    )


def _slice_index(file: Path, header: Dataset, frame: int) -> int:
    """The slice number of a frame of a reconstruction, from 0."""
    index = vector_of(header, "SliceVector", frame)
    if index is not None:
        return index - 1
    if any(_varies(header.get(name)) for name in NM_VECTORS.values()):
        raise InputError(f"{file} lacks the tag SliceVector: export the series again, one volume per file")
    return frame


def _varies(vector: Any) -> bool:
    return vector is not None and not isinstance(vector, int | str) and len(set(vector)) > 1


def _numbers(
    file: Path, places: Sequence[Dataset], name: str, count: int, default: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    """The values of a tag, from the first place that has it."""
    value = next((place[name].value for place in places if name in place and not place[name].is_empty), default)
    if value is None:
        raise InputError(f"{file} lacks the tag {name}: export the series again, as original slices")
    with damage_as_input_error(file, is_dicom=True):
        numbers = np.array(value, dtype=np.float64).ravel()
    if numbers.size != count or not np.isfinite(numbers).all():
        raise InputError(f"{file} has a {name} that cannot be used: repair it, or export the series again")
    return tuple(numbers.tolist())
