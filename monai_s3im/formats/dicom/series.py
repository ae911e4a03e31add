"""Read a DICOM series as one volume.

Only numbers, the modality, and whether a head is shown are taken from the tags. No patient name, identifier, date or
description can reach a result, record, log or message.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import DICOM_SUFFIXES, isdir, isfile, series_of
from monai_s3im.modalities import DICOM_CODES, region_named

from .headers import files_below, may_be_dicom
from .pixels import fill_padding, is_padding, stored_values
from .planes import Plane, planes_of, samples_of
from .slice_stack import SliceStack, stack_slices, volume_of
from .tree import Series, find_series, is_spread
from .volumes import Volume, volumes_of

logger = logging.getLogger(__name__)

_AIR_BELOW_HU = -500.0  # a lower intercept means values in HU
_LISTED = 8  # volumes in a message
_BESIDE = 3  # other grids are left out if the volume has this many times their slices


@dataclass(frozen=True)
class _Chosen:
    """The one volume that a path means.

    Attributes:
        headers: of the files of its series.
        planes: its slices.
        stack: where they lie.
        remarks: remarks for the user.
    """

    headers: dict[Path, Dataset]
    planes: tuple[Plane, ...]
    stack: SliceStack
    remarks: tuple[str, ...]

    @property
    def header(self) -> Dataset:
        """The header of its first file."""
        return self.headers[self.planes[0].file]


def is_series(path: str | Path) -> bool:
    """Whether the path is a folder with DICOM files, one of its series (``FOLDER#SERIES``), or a DICOM file.

    A folder of subfolders counts only if they together hold one series; else it is a study or a folder of cases.
    """
    folder, chosen = series_of(path)
    if isdir(folder):
        files = files_below(folder) if chosen else _files_in(folder)
        return any(map(may_be_dicom, files)) or (not chosen and is_spread(folder))
    return may_be_dicom(folder) if isfile(folder) else folder.suffix.lower() in DICOM_SUFFIXES


def series_name(path: str | Path) -> str:
    """The name of the folder, with the chosen series ('ct', 'ct_3'), or of the file without its suffix."""
    folder, series = series_of(path)
    part = f"_{re.sub(r'[^A-Za-z0-9.-]+', '_', series)}" if series else ""
    if folder.suffix.lower() in DICOM_SUFFIXES and not isdir(folder):
        return folder.stem + part
    name = folder.absolute().resolve().name if folder.name in {"", ".."} else folder.name
    return name + part


def series_folder(path: str | Path) -> Path:
    """The folder of the files of a series."""
    folder, _ = series_of(path)
    return folder if isdir(folder) else folder.parent


def series_files(path: str | Path) -> list[Path]:
    """The files of a series, or of the selected volume in it, sorted by name.

    Raises:
        InputError: as :func:`read_series`, as far as the headers show which files belong to the series.
    """
    return sorted({plane.file for plane in _chosen(Path(path)).planes})


def series_headers(path: str | Path) -> dict[Path, Dataset]:
    """The headers of :func:`series_files`, sorted by file name.

    Raises:
        InputError: as :func:`series_files`.
    """
    chosen = _chosen(Path(path))
    return {file: chosen.headers[file] for file in sorted({plane.file for plane in chosen.planes})}


def series_shape(path: str | Path) -> tuple[int, int, int]:
    """The shape (X, Y, Z) of the volume, from the headers alone.

    Raises:
        InputError: as :func:`read_series`, as far as the headers show.
    """
    return _chosen(Path(path)).stack.shape


def series_region(path: str | Path) -> str | None:
    """``"head"`` or ``"body"``, from the first tag (body part, then descriptions) that names one; else None.

    Raises:
        InputError: as :func:`read_series`, as far as the headers show.
    """
    header = _chosen(Path(path)).header
    texts = (str(header.get(name) or "") for name in ("BodyPartExamined", "SeriesDescription", "ProtocolName"))
    return next((region for text in texts if (region := region_named(text))), None)


def read_series(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64], str | None, float | None]:
    """Read a series as one volume.

    Slices are sorted by their position along the normal. Stored values become real ones by the slope and intercept of
    each slice. Pixel padding becomes background: -1000 in a CT in HU, else 0. Slices that are shifted by a tilted
    gantry, unevenly spaced, or have single gaps are resampled onto an even, orthogonal grid, with a warning.

    Args:
        path: folder with the files of a series, also in subfolders; ``FOLDER#SERIES`` for one of several, by number,
            UID or description; ``FOLDER#SERIES#VOLUME``, counted from 1, for one volume of a 4D series, or
            ``FOLDER#VOLUME`` if it is the only series; or any file of the series, with ``FILE#VOLUME`` for one volume.

    Returns:
        The values (1 or 3, X, Y, Z), X along the rows of pixels; the affine, voxel index -> LPS mm; the modality tag,
        if it is one of `DICOM_CODES` of the modalities; and for a secondary capture in gray or RGB, whose values are
        only brightness, the largest value of its type.

    Raises:
        InputError: there is no image, or several series of which none is chosen; a file is damaged or lacks a tag;
            slices differ in size or direction, lie at one position (4D) and no volume is chosen, or are missing; frames
            of nuclear medicine are not reconstructed; pixels are inverted, or in colour but not a secondary capture of
            8-bit RGB.
    """
    path = Path(path)
    chosen = _chosen(path)
    for remark in chosen.remarks:
        logger.warning("%s", remark)
    for remark in chosen.stack.remarks:
        logger.warning("%s is resampled onto an even grid: %s", path, remark)
    tag = str(chosen.header.get("Modality", ""))
    values = _values(chosen)
    fill_padding(values, tag == "CT" and min(plane.intercept for plane in chosen.planes) <= _AIR_BELOW_HU)
    volume = np.stack(
        [volume_of([channels[index] for channels in values], chosen.stack) for index in range(len(values[0]))]
    )
    return volume, chosen.stack.affine, tag if tag in DICOM_CODES else None, _value_range(chosen.header)


def _files_in(folder: Path) -> list[Path]:
    try:
        return [file for file in sorted(folder.iterdir()) if not file.name.startswith(".") and isfile(file)]
    except OSError as error:
        raise InputError(f"{folder} is not readable: check its permissions") from error


def _chosen(path: Path) -> _Chosen:
    series = find_series(path)
    planes = [plane for file, header in series.files for plane in planes_of(file, header)]
    grids = volumes_of(planes, str(path))
    volumes = [volume for grid in grids for volume in grid]
    remarks = list(series.remarks)
    volume, beside = grids[0][0], [plane for grid in grids[1:] for other in grid for plane in other.planes]
    is_clear = len(grids[0]) == 1 and (
        all(plane.is_localizer for plane in beside) or len(volume.planes) >= _BESIDE * len(beside)
    )
    if series.volume is not None and not (is_clear and series.is_guess):
        volume, beside = _numbered(path, series, volumes), []
        if series.is_guess:
            remarks.append(f"{path} is read as the volume of that number ({volume.label}) of its only series")
    elif not is_clear:
        raise InputError(f"{path} is 4D and has {len(volumes)} volumes: {_listing(series, volumes)}")
    stack = _stack(volume, path)
    if volume.planes[0].is_step_guessed:
        remarks.append(
            f"{path} does not say how far apart its slices are (no SpacingBetweenSlices): their thickness, "
            f"{volume.planes[0].thickness:g} mm, is used instead, from the feet to the head for axial slices"
        )
    if beside:
        remarks.append(_left_out(path, volume, beside, stack))
    return _Chosen(dict(series.files), volume.planes, stack, tuple(remarks))


def _values(chosen: _Chosen) -> list[NDArray[np.float32]]:
    """The values of each slice, (1 or 3, columns, rows); NaN in padding."""
    file, pixels, values = None, np.empty(0), []
    for plane in chosen.planes:
        if plane.file != file:
            file, pixels = plane.file, stored_values(plane.file, chosen.headers[plane.file])
        frame = pixels.reshape(-1, *plane.size[::-1], plane.samples)[plane.frame].T
        real = (frame * plane.slope + plane.intercept).astype(np.float32)
        padding = is_padding(frame, chosen.headers[plane.file]) if plane.samples == 1 else None
        if padding is not None:
            real[padding] = np.nan
        values.append(real)
    return values


def _numbered(path: Path, series: Series, volumes: list[Volume]) -> Volume:
    number = series.volume or 0
    if len(volumes) == 1:
        raise InputError(f"{path} names a volume, but the series is not 4D: leave #{number} out")
    if not 1 <= number <= len(volumes):
        raise InputError(f"{path} does not exist: {_listing(series, volumes)}")
    return volumes[number - 1]


def _listing(series: Series, volumes: list[Volume]) -> str:
    number = series.files[0][1].get("SeriesNumber")
    place = f"{series.folder}#{number or series.files[0][1].get('SeriesInstanceUID')}"
    found = [
        f"#{index} {volume.label}{', ' if volume.label else ''}{len(volume.planes)} slices of "
        f"{volume.planes[0].size[0]} x {volume.planes[0].size[1]}"
        for index, volume in enumerate(volumes, start=1)
    ]
    shown = "; ".join(found[:_LISTED]) + ("; ..." if len(found) > _LISTED else "")
    return f"name one as {place}#NUMBER, of: {shown}"


def _left_out(path: Path, volume: Volume, beside: list[Plane], stack: SliceStack) -> str:
    """The remark about images that are not slices of the volume.

    Raises:
        InputError: the volume has gaps, which these images might fill.
    """
    main = volume.planes[0]
    sizes = sorted({f"{plane.size[0]} x {plane.size[1]}" for plane in (main, *beside)})
    if any(plane.size != main.size for plane in beside):
        other = f"size ({', '.join(sizes)})"
    elif any(np.abs(np.subtract(plane.orientation, main.orientation)).max() > 1e-3 for plane in beside):
        other = "orientation"
    else:
        other = "spacing"
    if stack.missing:
        raise InputError(f"{path} has slices of different {other} (a localizer?): keep those of one volume")
    return f"{path}: {len(beside)} images of different {other} (a localizer?) are left out"


def _value_range(header: Dataset) -> float | None:
    """The largest value of the type if values are brightness; None if they are measurements."""
    if samples_of(header) > 1:
        return 255.0
    is_capture = header.get("SOPClassUID") == SecondaryCaptureImageStorage and header.get("Modality") not in DICOM_CODES
    if not is_capture or header.get("PixelRepresentation") != 0 or "RescaleSlope" in header:
        return None
    return float(2 ** int(header.get("BitsStored") or 16) - 1)


def _stack(volume: Volume, path: Path) -> SliceStack:
    first = volume.planes[0]
    return stack_slices(
        np.array([plane.position for plane in volume.planes]),
        np.array(first.orientation),
        first.spacing,
        first.size,
        first.thickness,
        np.array([plane.extent for plane in volume.planes]),
        str(path),
    )
