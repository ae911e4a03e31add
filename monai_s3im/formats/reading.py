"""Read one image or volume of any supported format as a channel-first tensor."""

import gzip
import logging
import math
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.series import is_series, read_series, series_name, series_shape
from monai_s3im.settings import MAX_GIB

from .paths import (
    IMAGE_SUFFIXES,
    NIFTI_SUFFIXES,
    VOLUME_SUFFIXES,
    frame_of,
    isdir,
    stem_of_file,
    suffix_of,
)
from .quiet import quiet_stderr

logger = logging.getLogger(__name__)

_LARGEST_NIFTI_OFFSET = 2**26  # bytes; extensions of the header stand before it
_MOST_TRAILING = 2**20  # bytes behind the voxels
_SMALLEST_MM, _LARGEST_MM = 1e-9, 1e9  # of a voxel; of a position
_DATA_FILE = re.compile(r"^\s*(?:data ?file\s*:|ElementDataFile\s*=)\s*(.*)", re.MULTILINE | re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(r"[^%]*%\d{0,2}d[^%]*")  # files of slices, by number
_LONGEST_NAME = 255  # letters
_LARGEST_TEXT_HEADER = 2**16  # bytes
_PHOTOGRAPHS = {"JPEG", "MPO"}

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"meter": 1e3, "micron": 1e-3}
_DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, OverflowError, SyntaxError, TypeError, RuntimeError)
_READ_ERRORS = (
    *_DAMAGE,
    struct.error,
    zlib.error,
    ImageFileError,
    HeaderDataError,
)


def stem_of(path: str | Path) -> str:
    """The file name without its suffix: 'x' for 'x.nii.gz', 'x_3' for 'x.nii.gz#3'; of a series its folder's name."""
    return series_name(path) if is_series(path) else stem_of_file(path)


def is_volume(path: str | Path) -> bool:
    """Whether the suffix is one of a volume format (NIfTI, NRRD, MetaImage), or it is a DICOM series."""
    return suffix_of(path) in VOLUME_SUFFIXES or is_series(path)


def is_image_folder(path: str | Path) -> bool:
    """Whether the path is a folder of images; a folder that holds a DICOM series is one volume, not that."""
    return isdir(path) and not is_series(path)


def read_image(path: str | Path, max_gib: float = MAX_GIB) -> MetaTensor:
    """Read an image, channel first, with its stored values.

    Args:
        path: PNG, JPEG, TIFF or BMP for a 2D image; NIfTI, NRRD or MetaImage for a volume, ``FILE#FRAME`` for one
            frame of a 4D one, counted from 1; or a DICOM series (see :func:`.dicom.series.read_series`).
        max_gib: most memory that the image may take, see `MAX_GIB`.

    Returns:
        float32, (1, H, W) or RGB (3, H, W) for a picture, (1, X, Y, Z) or RGB (3, X, Y, Z) in the file's own array
        order for a volume. NIfTI slope and intercept are applied, palettes are expanded, alpha is dropped, and RGB with
        three equal channels becomes one channel. `affine` is float64, 4 x 4, voxel index -> RAS mm (identity for a
        picture). `meta` holds `filename_or_obj`, `spatial_dims`, `space` and, for pictures and RGB volumes,
        `value_range`: the largest value that the stored type can hold, 255.0 or 65535.0; for a DICOM series
        `modality_tag` where it tells how to treat the volume.

    Raises:
        InputError: the file is missing, a folder, of an unknown format, damaged or truncated; it has several frames
            and none is chosen, or not the one that is; it has voxels that are neither a number nor RGB, NaN or infinite
            voxels, no content (all voxels equal), more voxels than `max_gib` allows, or an affine that cannot be
            inverted; or a volume format holds a 2D image.
    """
    if is_series(path):
        return _read_dicom(Path(path), max_gib)
    path = _existing(path)
    read = _read_picture if not is_volume(path) else _read_nifti if suffix_of(path) in NIFTI_SUFFIXES else _read_itk
    array, affine, value_range = read(path, max_gib)
    if array.shape[0] >= 3:
        array = array[:3]
        array = array[:1] if (array == array[:1]).all() else array
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    _check_content(array, path)
    meta: dict[str, Any] = {"filename_or_obj": str(path), "spatial_dims": array.ndim - 1, "space": "RAS"}
    if value_range is not None:
        meta["value_range"] = value_range
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine), meta=meta)


def spatial_shape_of(path: str | Path, max_gib: float = MAX_GIB) -> tuple[int, ...]:
    """The spatial shape, (H, W) or (X, Y, Z), from the header alone.

    Raises:
        InputError: as `read_image`, as far as the header tells.
    """
    if is_series(path):
        _check_size(shape := series_shape(path), Path(path), max_gib)
        return shape
    path = _existing(path)
    if not is_volume(path):
        with _picture(path, max_gib) as picture:
            return (picture.width, picture.height) if _lies_on_its_side(picture) else (picture.height, picture.width)
    if suffix_of(path) in NIFTI_SUFFIXES:
        return tuple(_open_nifti(path, max_gib).shape[:3])
    return tuple(_open_itk(path, max_gib).GetSize()[:3])


def _read_dicom(path: Path, max_gib: float) -> MetaTensor:
    _check_size(series_shape(path), path, max_gib)
    array, affine, modality_tag, value_range = read_series(path)
    _check_affine(affine, path)
    _check_content(array, path)
    meta = {"filename_or_obj": str(path), "spatial_dims": 3, "space": "RAS"}
    if modality_tag is not None:
        meta["modality_tag"] = modality_tag
    if value_range is not None:
        meta["value_range"] = value_range
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(LPS_TO_RAS @ affine), meta=meta)


def _existing(path: str | Path) -> Path:
    path, whole = Path(path), frame_of(path)[0]
    if isdir(whole):
        raise InputError(f"{path} is a folder: give one image file, or a folder with a DICOM series")
    try:
        whole.stat()
    except PermissionError as error:
        raise InputError(f"{path} may not be read: ask for permission to read it") from error
    except OSError as error:
        raise InputError(f"{whole} does not exist: check the path") from error
    if not suffix_of(path):
        raise InputError(f"{path} is of no known image format: convert it to one of {' '.join(IMAGE_SUFFIXES)}")
    if not os.access(whole, os.R_OK):
        raise InputError(f"{path} may not be read: ask for permission to read it")
    if whole.stat().st_size == 0:
        raise InputError(f"{path} is empty: copy or download it again")
    return path


@contextmanager
def _damage_as_input_error(path: Path) -> Iterator[None]:
    """Turn what a library raises, logs or warns about a damaged file into one InputError."""
    nibabel_log, nothing_passes = logging.getLogger("nibabel.global"), logging.Filter("no logger")
    nibabel_log.addFilter(nothing_passes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: crop or resample it") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} announces more pixels than a picture has: crop it, or check that it is one"
        ) from error
    except _READ_ERRORS as error:
        raise InputError(
            f"{path} is damaged, cut short or no {suffix_of(path)} file: copy or export it again"
        ) from error
    finally:
        nibabel_log.removeFilter(nothing_passes)


@contextmanager
def _picture(path: Path, max_gib: float) -> Iterator[Image.Image]:
    quiet = quiet_stderr() if suffix_of(path) in {".tif", ".tiff"} else nullcontext()
    with _damage_as_input_error(path), quiet, Image.open(path) as picture:
        _check_size((picture.width, picture.height), path, max_gib)
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format != "MPO":
            raise InputError(f"{path} has {frames} frames: save the one to use as a file of its own")
        yield picture


def _read_picture(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    with _picture(path, max_gib) as stored:
        picture = ImageOps.exif_transpose(stored) if stored.format in _PHOTOGRAPHS else stored
        if picture.mode.startswith("I;16"):
            array, value_range = np.asarray(picture), 65535.0
        elif picture.mode in {"1", "L", "LA"}:
            array, value_range = np.asarray(picture.convert("L")), 255.0
        elif picture.mode in {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}:
            array, value_range = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0), 255.0
        else:
            raise InputError(
                f"{path} has pixels of PIL mode '{picture.mode}': save it as 8 or 16 bit gray or 8 bit RGB"
            )
    return array if array.ndim == 3 else array[None], np.eye(4), value_range


def _lies_on_its_side(picture: Image.Image) -> bool:
    """Whether a picture is to be turned by a quarter, as its camera says; Pillow turns a TIFF itself."""
    return picture.format in _PHOTOGRAPHS and picture.getexif().get(ExifTags.Base.Orientation) in {5, 6, 7, 8}


def _open_nifti(path: Path, max_gib: float) -> Any:
    """Load the header and check it."""
    with _damage_as_input_error(path):
        image = nib.load(frame_of(path)[0])
        dtype, affine = image.get_data_dtype(), np.asarray(image.affine, dtype=np.float64)
    is_packed = frame_of(path)[0].name.lower().endswith(".gz")  # then all frames are read, else only the chosen one
    read = image.shape if is_packed or min(image.shape, default=0) < 1 else image.shape[:3]
    _check_size(read, path, max_gib, dtype.itemsize)
    if not 0 <= image.dataobj.offset <= _LARGEST_NIFTI_OFFSET:
        raise InputError(f"{path} has a damaged header (voxels from byte {image.dataobj.offset}): export it again")
    if image.ndim > 4 and image.shape[4] > 1:
        raise InputError(f"{path} has {image.shape[4]} values per voxel and is not RGB: save one of them as a volume")
    if dtype.kind == "c" or (dtype.names is not None and dtype.names[:3] != ("R", "G", "B")):
        raise InputError(f"{path} has voxels of type {dtype}: save real numbers (for example the magnitude) or RGB")
    _check_axes(image.shape, path)
    _check_affine(affine, path)
    return image


def _read_nifti(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    image = _open_nifti(path, max_gib)
    is_rgb = image.get_data_dtype().names is not None
    file, frame = frame_of(path)
    with _damage_as_input_error(path):
        if file.name.lower().endswith(".gz"):
            size = image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
            image = type(image).from_bytes(_decompressed(file, size))
        if is_rgb:
            voxels = image.dataobj.get_unscaled().reshape(image.shape[:3])
            array = np.stack([voxels[name] for name in "RGB"])
        else:
            if image.ndim == 4 and frame is not None:
                image = image.slicer[..., frame - 1 : frame]
            array = image.get_fdata(dtype=np.float32, caching="unchanged").reshape((1, *image.shape[:3]))
        if (image.header.get("qform_code", 1), image.header.get("sform_code", 1)) == (0, 0):
            logger.warning(
                "%s does not tell where it lies (sform and qform code 0): its first axis is taken to run from right to "
                "left, and its centre for the origin",
                path,
            )
        millimetres = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    affine = np.diag([millimetres] * 3 + [1.0]) @ np.asarray(image.affine, dtype=np.float64)
    return array, affine, 255.0 if is_rgb else None


def _decompressed(file: Path, size: int) -> bytes:
    """The first `size` bytes of a gzip file, after a look at all of it: the check sum stands at its end.

    Raises:
        InputError: much more than that comes out of it.
    """
    with gzip.open(file) as stream:
        content = stream.read(size)
        trailing = 0
        while chunk := stream.read(_MOST_TRAILING):
            trailing += len(chunk)
            if trailing > _MOST_TRAILING:
                raise InputError(f"{file} holds more data than its header announces: export it again")
    return content


def _open_itk(path: Path, max_gib: float) -> Any:
    """Load and check the header only."""
    _check_data_files(frame_of(path)[0])
    with _damage_as_input_error(path), quiet_stderr():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(frame_of(path)[0]))
        reader.ReadImageInformation()
        pixel_type = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    components = reader.GetNumberOfComponents()
    _check_size((*reader.GetSize(), components), path, max_gib)
    if components > 1 and _is_list(reader):
        raise InputError(f"{path} has a list of {components} values per voxel: save one of them as a volume")
    is_rgb = components in {3, 4} and pixel_type.endswith(("8-bit unsigned integer", "16-bit unsigned integer"))
    if "complex" in pixel_type or (components > 1 and not is_rgb):
        raise InputError(
            f"{path} has voxels of type {components} x {pixel_type}: save one real number per voxel or RGB"
        )
    _check_axes(reader.GetSize(), path)
    _check_affine(_itk_affine(reader), path)
    return reader


def _is_list(reader: Any) -> bool:
    """Whether an NRRD says that the values of a voxel are those of several measurements."""
    return "list" in {reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("NRRD_kinds")}


def _read_itk(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    reader = _open_itk(path, max_gib)
    size, components = reader.GetSize()[:3], reader.GetNumberOfComponents()
    if reader.GetDimension() == 4:
        reader.SetExtractIndex([0, 0, 0, (frame_of(path)[1] or 1) - 1])
        reader.SetExtractSize([*size, 0])
    with _damage_as_input_error(path), quiet_stderr():
        array = sitk.GetArrayFromImage(reader.Execute()).reshape((*size[::-1], components)).T
    if components == 1:
        return array, _itk_affine(reader), None
    return array, _itk_affine(reader), float(np.iinfo(array.dtype).max)


def _itk_affine(reader: Any) -> NDArray[np.float64]:
    """Voxel index -> RAS mm, from ITK's direction cosines, spacing and origin in LPS mm."""
    rank = reader.GetDimension()
    affine = np.eye(4)
    direction = np.asarray(reader.GetDirection()).reshape(rank, rank)[:3, :3]
    affine[:3, :3] = direction * np.asarray(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    return LPS_TO_RAS @ affine


def _check_data_files(header: Path) -> None:
    """Refuse a header that takes its voxels from outside its folder, or whose data file's name could crash ITK.

    From outside it could read any file or device. ITK copies the name into a short buffer, and prints by it.
    """
    with header.open("rb") as stream:
        content = stream.read(_LARGEST_TEXT_HEADER)
    head, *voxels = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    found = _DATA_FILE.search(head.decode("latin-1"))
    if found is None and not voxels and len(content) == _LARGEST_TEXT_HEADER:
        raise InputError(f"{header} has a header of more than 64 KiB: save it again")
    names = [name.strip() for name in found[1].splitlines()] if found else []
    for name in names if names and names[0].startswith("LIST") else names[:1]:
        windows, posix = PureWindowsPath(name), PurePosixPath(name)
        if name == "-" or posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
            raise InputError(f"{header} takes its voxels from outside its folder: put the data file beside the header")
        if len(name) > _LONGEST_NAME or ("%" in name and not _NUMBERED.fullmatch(name)):
            raise InputError(f"{header} names a data file that cannot be read: give that file a short name without %")


def _check_size(shape: tuple[int, ...], path: Path, max_gib: float, bytes_each: int = 4) -> None:
    if min(shape, default=0) < 1:
        raise InputError(f"{path} has a damaged header (shape {_times(shape)}): copy or export it again")
    gib = math.prod(int(n) for n in shape) * max(bytes_each, 4) / 2**30
    if gib > max_gib:
        raise InputError(
            f"{path} announces {_times(shape)} voxels, {gib:.3g} GiB, more than the limit of {max_gib:g} GiB: crop or "
            "resample it, or raise the limit (max_gib)"
        )


def _check_axes(shape: tuple[int, ...], path: Path) -> None:
    if len(shape) < 3:
        raise InputError(f"{path} holds a 2D image: save it as PNG, or as a volume with one slice")
    frames, (file, chosen) = math.prod(shape[3:]), frame_of(path)
    if chosen is None and frames > 1:
        raise InputError(f"{path} is 4D and has {frames} frames: name the one to use, from {file}#1 to {file}#{frames}")
    if chosen is not None and len(shape) != 4:
        raise InputError(f"{path} names a frame, but the file is not 4D: leave #{chosen} out")
    if chosen is not None and chosen > frames:
        raise InputError(f"{path} is not there: name one of the {frames} frames, the first as {file}#1")


def is_usable_affine(affine: NDArray[np.float64]) -> bool:
    """Whether an affine (4 x 4, to mm) is finite and can be inverted, and its lengths are those of something real."""
    if not np.isfinite(affine).all():
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        voxel_sizes = np.linalg.norm(affine[:3, :3], axis=0)
        volume = abs(np.linalg.det(affine[:3, :3] / np.where(voxel_sizes > 0, voxel_sizes, 1.0)))
    return bool(voxel_sizes.min() > _SMALLEST_MM and np.abs(affine).max() < _LARGEST_MM and volume > 1e-6)


def _check_affine(affine: NDArray[np.float64], path: Path) -> None:
    if not is_usable_affine(affine):
        raise InputError(
            f"{path} has an affine that cannot be inverted: repair its header (sform and qform, or directions and "
            f"spacing), or export it again"
        )


def _check_content(array: NDArray[Any], path: Path) -> None:
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise InputError(f"{path} has {bad} NaN or infinite voxels of {array.size}: replace them, for example with 0")
    if all(channel.min() == channel.max() for channel in array):
        raise InputError(f"{path} has no content (every voxel is {array.flat[0]:g}): check that it is the right file")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
