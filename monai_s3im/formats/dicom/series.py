"""Read a DICOM series as one volume.

Nothing but numbers, and the modality, is taken from the tags: no name, identifier, date or description of a patient can
reach a result, a record, a log or a message.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import RLELossless

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import DICOM_SUFFIXES, exists, isdir, isfile, series_of
from monai_s3im.formats.quiet import quiet_stderr
from monai_s3im.modalities import DICOM_CODES

from .slice_stack import SliceStack, stack_slices, volume_of

logger = logging.getLogger(__name__)

_OTHER_TAGS = ("CR", "DX", "KO", "OT", "PR", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SR", "XA")
_DIRECTORY = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MOST_FRAMES = 100_000
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXEL_TAGS = """
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation PixelData FloatPixelData DoubleFloatPixelData
""".split()  # noqa: SIM905 (as a list it fills a page)
_HEADER_TAGS = """
    SOPClassUID ImageType Modality SeriesInstanceUID SeriesNumber SamplesPerPixel PhotometricInterpretation
    BitsAllocated BitsStored PixelRepresentation NumberOfFrames Rows Columns ImagePositionPatient
    ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices RescaleSlope RescaleIntercept
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DetectorInformationSequence
""".split()  # noqa: SIM905 (as a list it fills a page)
_COUNTS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored")


@dataclass(frozen=True)
class _Slice:
    """One plane of pixels: where it is stored, where it lies (LPS mm), what its values mean."""

    file: Path
    frame: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]  # from column to column, from row to row
    size: tuple[int, int]  # columns, rows
    thickness: float | None
    slope: float
    intercept: float


def is_series(path: str | Path) -> bool:
    """Whether the path is a folder with DICOM files, one of them ``FOLDER#SERIES``, or a DICOM file."""
    folder, _ = series_of(path)
    if isdir(folder):
        return any(_may_be_dicom(file) for file in _files_in(folder))
    return _may_be_dicom(folder) if isfile(folder) else folder.suffix.lower() in DICOM_SUFFIXES


def series_name(path: str | Path) -> str:
    """The name of the folder, with the chosen series ('ct', 'ct_3'), or of the file without its suffix."""
    folder, series = series_of(path)
    if folder.suffix.lower() in DICOM_SUFFIXES and not isdir(folder):
        return folder.stem
    name = folder.absolute().resolve().name if folder.name in {"", ".."} else folder.name
    return f"{name}_{series}" if series else name


def series_folder(path: str | Path) -> Path:
    """The folder that the files of a series lie in."""
    folder, _ = series_of(path)
    return folder if isdir(folder) else folder.parent


def series_files(path: str | Path) -> list[Path]:
    """The files of a series, in the order of their names.

    Raises:
        InputError: as :func:`read_series`, as far as the headers tell which files belong to the series.
    """
    return sorted(file for file, _ in _series(Path(path)))


def series_shape(path: str | Path) -> tuple[int, int, int]:
    """The shape (X, Y, Z) of the volume, from the headers alone.

    Raises:
        InputError: as :func:`read_series`, as far as the headers tell.
    """
    headers = _series(Path(path))
    return _stack(_slices(headers, Path(path)), Path(path)).shape


def read_series(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64], str | None, float | None]:
    """Read a series as one volume.

    Slices are sorted by their position along the normal. Stored values become real ones by the slope and intercept of
    each slice. Slices that are shifted against each other by a tilted gantry, that lie unevenly, or of which single
    ones are missing, are resampled onto an even, orthogonal grid, and a warning says so.

    Args:
        path: folder with the files of a series; ``FOLDER#NUMBER`` or ``FOLDER#UID`` where it has several; or one of the
            files, which stands for its series.

    Returns:
        The values (1 or 3, X, Y, Z), X along the rows of pixels; the affine, voxel index -> LPS mm; the modality tag,
        if it is one of `DICOM_CODES` of the modalities; and for a secondary capture in gray or RGB, whose values mean
        nothing but brightness, the largest that its type can hold.

    Raises:
        InputError: there is no image, or several series and none is chosen; a file is damaged or lacks a tag; slices
            differ in size or direction, lie at one position (4D) or are missing; pixels are inverted, or in colour and
            no secondary capture of 8-bit RGB.
    """
    path = Path(path)
    headers = _series(path)
    slices = _slices(headers, path)
    stack = _stack(slices, path)
    for remark in stack.remarks:
        logger.warning("%s is resampled onto an even grid: %s", path, remark)
    pixels: dict[Path, NDArray[Any]] = {}
    values = []
    for item in slices:
        if item.file not in pixels:
            pixels = {item.file: _stored_values(item.file)}
        frame = pixels[item.file].reshape(-1, *item.size[::-1], _samples(headers[0][1]))[item.frame].T
        values.append((frame * item.slope + item.intercept).astype(np.float32))
    volume = np.stack([volume_of([channels[index] for channels in values], stack) for index in range(len(values[0]))])
    tag = str(headers[0][1].get("Modality", ""))
    return volume, stack.affine, tag if tag in DICOM_CODES else None, _value_range(headers[0][1])


def _files_in(folder: Path) -> list[Path]:
    try:
        return [file for file in sorted(folder.iterdir()) if not file.name.startswith(".") and file.is_file()]
    except OSError as error:
        raise InputError(f"{folder} may not be read: ask for permission to read it") from error


def _may_be_dicom(file: Path) -> bool:
    """Whether the name says so, or there is no name of another format and the first bytes say so."""
    suffix = file.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    if suffix[1:].isalpha():
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


@contextmanager
def damage_as_input_error(file: Path) -> Iterator[None]:
    """Turn what a library raises or logs about a bad file into one InputError, without any text of the file."""
    log, nothing_passes = logging.getLogger("pydicom"), logging.Filter("no logger")
    log.addFilter(nothing_passes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{file} announces more than fits into memory: copy or export it again") from error
    except Exception:  # noqa: BLE001 (pydicom raises nearly every type there is)
        raise InputError(f"{file} is damaged, cut short or no DICOM file: copy or export it again") from None
    finally:
        log.removeFilter(nothing_passes)


def _header(file: Path) -> Dataset:
    with damage_as_input_error(file):
        if pydicom.filereader.read_file_meta_info(file).get("TransferSyntaxUID") == _DEFLATED:
            raise InputError(f"{file} is deflated, and how large it is cannot be told: export it uncompressed")
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[*_HEADER_TAGS])
        for element in header.iterall():  # pydicom converts a value when it is first asked for
            _ = element.value
        for name in _COUNTS:
            int(header.get(name) or 0)  # a damaged file has text there
    return header


def _series(path: Path) -> list[tuple[Path, Dataset]]:
    """The files of the one series that is meant, with their headers."""
    folder, chosen = series_of(path)
    if not exists(folder):
        raise InputError(f"{folder} does not exist, or may not be read: check the path")
    only = None
    if isfile(folder):
        only, folder = _header(folder).get("SeriesInstanceUID"), folder.parent
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    others = set()
    for file in filter(_may_be_dicom, _files_in(folder)):
        header = _header(file)
        if "Rows" not in header or "SeriesInstanceUID" not in header:
            others.add(_kind_of_no_image(file, header))
            continue
        found.setdefault(str(header.SeriesInstanceUID), []).append((file, header))
    if not found or (path.is_file() and only not in found):
        kinds = f" (only {', '.join(sorted(others))})" if others else ""
        raise InputError(f"{path} holds no DICOM image{kinds}: give the folder with the slices of one series")
    if only is not None:
        return found[str(only)]
    if chosen is not None:
        found = {
            uid: files for uid, files in found.items() if chosen in {uid, str(files[0][1].get("SeriesNumber", ""))}
        } or _refuse_choice(path, chosen, found)
    if len(found) > 1:
        raise InputError(
            f"{path} holds {len(found)} DICOM series, choose one as {folder}#NUMBER or {folder}#UID: {_listing(found)}"
        )
    return next(iter(found.values()))


def _refuse_choice(path: Path, chosen: str, found: dict[str, list[tuple[Path, Dataset]]]) -> Any:
    raise InputError(f"{path} has no series {chosen}, but: {_listing(found)}")


def _listing(found: dict[str, list[tuple[Path, Dataset]]]) -> str:
    lines = [
        f"#{files[0][1].get('SeriesNumber') or uid} {_kind(files[0][1])}, {len(files)} files of "
        f"{files[0][1].get('Columns')} x {files[0][1].Rows}"
        for uid, files in found.items()
    ]
    numbers = [line.split()[0] for line in lines]
    if len(set(numbers)) < len(numbers):  # numbers that say nothing: UIDs instead
        lines = [f"#{uid} {line.split(maxsplit=1)[1]}" for uid, line in zip(found, lines, strict=True)]
    return "; ".join(sorted(lines))


def _kind(header: Dataset) -> str:
    tag = str(header.get("Modality", ""))
    return tag if tag in DICOM_CODES + _OTHER_TAGS else "other"


def _kind_of_no_image(file: Path, header: Dataset) -> str:
    stored = header.file_meta.get("MediaStorageSOPClassUID", pydicom.uid.UID(""))
    if stored == "" or "Image Storage" in stored.name:
        raise InputError(f"{file} is damaged, cut short or no DICOM file: copy or export it again")
    return "DICOMDIR" if stored == _DIRECTORY else _kind(header)


def _slices(headers: list[tuple[Path, Dataset]], path: Path) -> list[_Slice]:
    slices = []
    for file, header in headers:
        _check_pixels(file, header)
        slices += [_slice(file, header, frame) for frame in range(_frames(file, header))]
    if len({_samples(header) for _, header in headers}) > 1:
        raise InputError(f"{path} has slices in gray and in colour: keep those of one kind")
    if len({item.size for item in slices}) > 1:
        sizes = sorted({f"{item.size[0]} x {item.size[1]}" for item in slices})
        raise InputError(f"{path} has slices of different size ({', '.join(sizes)}): keep those of one volume")
    for name, tolerance in (("orientation", 1e-3), ("spacing", 1e-3)):
        values = np.array([getattr(item, name) for item in slices])
        if np.abs(values - values[0]).max() > tolerance:
            raise InputError(f"{path} has slices of different {name} (a localizer?): keep those of one volume")
    return slices


def _samples(header: Dataset) -> int:
    return int(header.get("SamplesPerPixel") or 1)


def _frames(file: Path, header: Dataset) -> int:
    with damage_as_input_error(file):
        frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frames <= _MOST_FRAMES:
        raise InputError(f"{file} has a NumberOfFrames that cannot be used: repair it, or export the series again")
    return frames


def _value_range(header: Dataset) -> float | None:
    """The largest value of a type that holds brightness; None where values are measured ones."""
    if _samples(header) > 1:
        return 255.0
    is_capture = header.get("SOPClassUID") == _SECONDARY_CAPTURE and header.get("Modality") not in DICOM_CODES
    if not is_capture or header.get("PixelRepresentation") != 0 or "RescaleSlope" in header:
        return None
    return float(2 ** int(header.get("BitsStored") or 16) - 1)


def _check_pixels(file: Path, header: Dataset) -> None:
    is_rgb = header.get("PhotometricInterpretation") == "RGB" and header.get("BitsAllocated") == 8
    is_colour = _samples(header) > 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR"
    if is_colour and not (is_rgb and header.get("SOPClassUID") == _SECONDARY_CAPTURE):
        raise InputError(f"{file} is a colour picture: give the series of the volume itself, or pictures as PNG")
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        raise InputError(f"{file} is stored inverted (MONOCHROME1): export it as MONOCHROME2")
    if "MOSAIC" in (header.get("ImageType") or ()):
        raise InputError(f"{file} is a mosaic of slices: export them as single slices, or convert the series to NIfTI")


def _slice(file: Path, header: Dataset, frame: int) -> _Slice:
    """The geometry of a frame: from the file itself, or from the functional groups of a multi-frame file."""
    places = [header]
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    for group in [*per_frame[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or ())]:
        places += [item for element in group if element.VR == "SQ" for item in (element.value or ())]
    frames = _frames(file, header)
    is_tomogram = header.get("Modality") == "NM" and "TOMO" in str(header.get("ImageType"))
    places += list(header.get("DetectorInformationSequence") or ()) if is_tomogram else []
    if frames > 1 and len(per_frame) != frames and not is_tomogram:
        raise InputError(f"{file} has {frames} frames without a position of each: convert it to NIfTI first")
    position = np.array(_numbers(file, places, "ImagePositionPatient", 3))
    orientation = _numbers(file, places, "ImageOrientationPatient", 6)
    if frames > 1 and not per_frame:  # NM reconstruction: the sign of the step tells the direction along the normal
        step = _numbers(file, places, "SpacingBetweenSlices", 1)[0]
        position = position + frame * step * np.cross(orientation[:3], orientation[3:])
    row_step, column_step = _numbers(file, places, "PixelSpacing", 2)
    thickness = _numbers(file, places, "SliceThickness", 1, (0.0,))[0]
    if min(row_step, column_step) <= 0:
        raise InputError(f"{file} has a PixelSpacing that is not positive: repair it, or export the series again")
    return _Slice(
        file=file,
        frame=frame,
        position=tuple(position),
        orientation=orientation,
        spacing=(column_step, row_step),
        size=(int(header.get("Columns") or 0), int(header.Rows)),
        thickness=thickness if thickness > 0 else None,
        slope=_numbers(file, places, "RescaleSlope", 1, (1.0,))[0],
        intercept=_numbers(file, places, "RescaleIntercept", 1, (0.0,))[0],
    )


def _numbers(
    file: Path, places: list[Dataset], name: str, count: int, default: tuple[float, ...] | None = None
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


def _stack(slices: list[_Slice], path: Path) -> SliceStack:
    first = slices[0]
    return stack_slices(
        np.array([item.position for item in slices]),
        np.array(first.orientation),
        first.spacing,
        first.size,
        first.thickness,
        str(path),
    )


def _stored_values(file: Path) -> NDArray[Any]:
    """The pixels as stored, (rows, columns) or (frames, rows, columns)."""
    with damage_as_input_error(file):
        image = pydicom.dcmread(file, specific_tags=[*_PIXEL_TAGS])
        syntax = image.file_meta.TransferSyntaxUID
        if not syntax.is_encapsulated or syntax == RLELossless:
            return image.pixel_array
        return _decompressed(image)


def _decompressed(image: pydicom.FileDataset) -> NDArray[Any]:
    """Decode by GDCM a copy that has the pixels only, so that GDCM applies no slope of its own."""
    image.SOPClassUID = _SECONDARY_CAPTURE
    image.SOPInstanceUID = pydicom.uid.generate_uid()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = image.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    image.file_meta = meta
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        copy = Path(folder) / "pixels.dcm"
        image.save_as(copy, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(copy), imageIO="GDCMImageIO"))
