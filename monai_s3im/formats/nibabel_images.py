"""Read the formats of nibabel: NIfTI, Analyze and SPM pairs (.hdr with .img), FreeSurfer's .mgz, MINC 1."""

import gzip
import logging
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from monai_s3im.errors import InputError

from .checks import check_affine, check_axes, check_size
from .damage import damage_as_input_error
from .paths import NIFTI_SUFFIXES, frame_of, suffix_of
from .remarks import warn

logger = logging.getLogger(__name__)

_LARGEST_OFFSET = 2**26  # bytes; extensions of the header come before it
_MOST_TRAILING = 2**20  # bytes after the voxels
_LONGEST_HEADER = 540  # bytes, of NIfTI-2
_FLAG = 4  # bytes after it; the first says whether extensions follow
_LEAST_EXTENSION = 16  # bytes
_MILLIMETRES = {1: 1e3, 2: 1.0, 3: 1e-3}  # by unit code; for any other code, all readers assume mm
_SECONDS = {8: "s", 16: "ms", 24: "us"}
_MGH = b"\0\0\0\1"
_GZIP = b"\x1f\x8b"
_INTENT_RGB, _INTENT_VECTOR = 2003, 1007


def open_image(path: Path, max_gib: float) -> Any:
    """Load the header and check it.

    Raises:
        InputError: as :func:`monai_s3im.formats.reading.read_image`.
    """
    file = frame_of(path)[0]
    with damage_as_input_error(path):
        _check_extensions(file, path)
        image = _loaded(file)
    if not isinstance(image, SpatialImage):
        raise InputError(f"{path} holds no volume, but {type(image).__name__}: give a volume, in voxels")
    with damage_as_input_error(path):
        dtype = image.get_data_dtype()
        affine = _affine_of(image)
    shape = _shape_of(image)
    is_packed = _is_packed(file)  # if packed, all frames are read, else only the chosen one
    read = shape if is_packed or min(shape, default=0) < 1 else shape[:3]
    check_size(read, path, max_gib, dtype.itemsize)
    _check_offset(image, path)
    if len(shape) > 4:
        raise InputError(
            f"{path} has {math.prod(shape[4:])} values per voxel and is not RGB: save one of them as a volume"
        )
    if dtype.kind == "c" or (dtype.names is not None and dtype.names[:3] != ("R", "G", "B")):
        raise InputError(f"{path} has voxels of type {dtype}: save real numbers (for example the magnitude) or RGB")
    check_axes(shape, path)
    check_affine(affine, path)
    return image


def shape_of(path: Path, max_gib: float) -> tuple[int, ...]:
    """(X, Y, Z), from the header alone; Z is 1 for a slice."""
    shape = _shape_of(open_image(path, max_gib))
    return (*shape[:3], *(1,) * (3 - len(shape)))


def frames_of(path: Path, max_gib: float) -> tuple[int, str]:
    """The number of frames in a file, from the header alone, and their distance in time: ``"2 s apart"``."""
    try:
        image = open_image(Path(f"{path}#1"), max_gib)
    except InputError:
        open_image(path, max_gib)
        return 1, ""
    unit = _SECONDS.get(int(image.header["xyzt_units"]) // 8 * 8) if isinstance(image, nib.Nifti1Pair) else None
    step = float(image.header["pixdim"][4]) if unit else 0.0
    return _shape_of(image)[3], f"{step:g} {unit} apart" if step > 0 else ""


def read(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    """The voxels (1 or 3, X, Y, Z), the affine to RAS mm, and the largest value that RGB can have."""
    image = open_image(path, max_gib)
    file, frame = frame_of(path)
    with damage_as_input_error(path):
        if _is_packed(file) and _is_nifti_name(file):
            size = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
            image = type(image).from_bytes(_decompressed(file, size))
        shape = _shape_of(image)
        size_of_one = (*shape[:3], *(1,) * (3 - len(shape)))
        if is_rgb := _is_rgb(image):
            stored = image.dataobj.get_unscaled()
            if stored.dtype.names is None:
                channels = np.moveaxis(stored.reshape(*size_of_one, 3), -1, 0)
            else:
                frames = stored.reshape(*size_of_one, -1)[..., (frame or 1) - 1]
                channels = np.stack([frames[name] for name in "RGB"])
        else:
            if image.ndim == 4 and frame is not None:
                image = image.slicer[..., frame - 1 : frame]
            channels = image.get_fdata(dtype=np.float32, caching="unchanged").reshape((1, *size_of_one))
    if not _says_where_it_lies(image):
        warn(
            logger,
            f"{path.name} has no position (sform and qform code 0): its first axis is assumed to run from "
            "right to left, and its centre to be the origin",
        )
    return channels, _affine_of(image), 255.0 if is_rgb else None


def _loaded(file: Path) -> Any:
    """Open the image.

    NIfTI is recognised by its first bytes: many files are gzipped without .gz in the name, or vice
    versa.
    """
    if suffix_of(file) in {".mgz", ".mgh"}:
        with gzip.open(file) if _is_gzip(file) else file.open("rb") as stream:
            if stream.read(4) != _MGH:  # nibabel would leave the file open
                raise ImageFileError("not a volume of FreeSurfer")
    if not _is_nifti_name(file) or _is_gzip(file) == file.name.lower().endswith(".gz"):
        return nib.load(file)
    with gzip.open(file) if _is_gzip(file) else file.open("rb") as stream:
        header = stream.read(_MOST_TRAILING)
    return _class_of(header).from_bytes(header)


def _class_of(header: bytes) -> Any:
    return nib.Nifti2Image if header[:4] in {b"\x1c\x02\0\0", b"\0\0\x02\x1c"} else nib.Nifti1Image


def _check_extensions(file: Path, path: Path) -> None:
    """Refuse NIfTI header extensions that are longer than the space for them, before nibabel allocates memory.

    Raises:
        InputError: an extension is too long.
    """
    if suffix_of(file) not in {*NIFTI_SUFFIXES, ".hdr", ".img"}:
        return
    if not _is_nifti_name(file):
        file = Path(nib.Nifti1Pair.filespec_to_file_map(str(file))["header"].filename)
    with gzip.open(file) if _is_gzip(file) else file.open("rb") as stream:
        head = stream.read(_LONGEST_HEADER + _FLAG)
        kind = _class_of(head).header_class
        at = kind.template_dtype.itemsize + _FLAG
        header = kind(head[: at - _FLAG], check=False)
        offset = float(header["vox_offset"])
        if header["magic"].item()[:2] not in {b"n+", b"ni"}:
            return  # not NIfTI: nibabel reports it
        is_single = header["magic"].item().startswith(b"n+")
        if is_single and offset > _LARGEST_OFFSET:
            raise _damaged_offset(path, offset)
        end = int(offset) if is_single and offset >= at else _LARGEST_OFFSET
        has_extensions = head[at - _FLAG : at - _FLAG + 1] not in {b"", b"\0"}
        while has_extensions and end - at >= _LEAST_EXTENSION:
            stream.seek(at)
            if len(length := stream.read(4)) < 4:
                return
            size = int(np.frombuffer(length, header.endianness + "i4")[0])
            if not 8 <= size <= end - at:
                raise InputError(f"{path} has a damaged header (an extension of {size} bytes): export it again")
            at += size


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == _GZIP


def _is_nifti_name(file: Path) -> bool:
    return file.name.lower().endswith(NIFTI_SUFFIXES)


def _is_packed(file: Path) -> bool:
    """Whether nibabel cannot read a single frame, because the file or its name is gzipped."""
    return _is_gzip(file) or file.name.lower().endswith(".gz")


def _shape_of(image: Any) -> tuple[int, ...]:
    """The shape without the channels of an RGB vector, and without axes of length 1 after the fourth."""
    shape = tuple(int(extent) for extent in image.shape)
    if _is_rgb(image) and image.get_data_dtype().names is None:
        shape = shape[:3]
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _is_rgb(image: Any) -> bool:
    """Whether voxels are RGB24, or RGB in ITK's form: three bytes along the fifth axis, marked as a vector."""
    dtype = image.get_data_dtype()
    if dtype.names is not None:
        return True
    is_vector = len(image.shape) == 5 and image.shape[3:] == (1, 3) and dtype == np.uint8
    return is_vector and int(image.header.get("intent_code", 0)) in {_INTENT_RGB, _INTENT_VECTOR}


def _affine_of(image: Any) -> NDArray[np.float64]:
    """The affine in mm; the qform if the sform is declared valid but is all 0."""
    affine = np.asarray(image.affine, dtype=np.float64)
    header = image.header
    if isinstance(image, nib.Nifti1Pair) and not affine[:3, :3].any() and int(header["qform_code"]) > 0:
        affine = np.asarray(header.get_qform(), dtype=np.float64)
    unit = int(header["xyzt_units"]) % 8 if isinstance(image, nib.Nifti1Pair) else 2
    return np.diag([_MILLIMETRES.get(unit, 1.0)] * 3 + [1.0]) @ affine


def _says_where_it_lies(image: Any) -> bool:
    if isinstance(image, nib.Nifti1Pair):
        return (int(image.header["qform_code"]), int(image.header["sform_code"])) != (0, 0)
    return not isinstance(image, nib.AnalyzeImage)  # SPM's too, since its .mat files do not travel with it


def _check_offset(image: Any, path: Path) -> None:
    """Refuse a header that places the voxels inside itself, or absurdly far after it."""
    if not isinstance(image, nib.Nifti1Pair):
        return
    offset = int(image.dataobj.offset)
    least = int(image.header.single_vox_offset) if image.header.is_single else 0
    if not least <= offset <= _LARGEST_OFFSET:
        raise _damaged_offset(path, offset)


def _damaged_offset(path: Path, offset: float) -> InputError:
    return InputError(f"{path} has a damaged header (voxels from byte {offset:.0f}): export it again")


def declared_bytes(file: Path) -> int:
    """The unpacked size of a NIfTI file in bytes, by its header: header, extensions and voxels of all frames.

    Raises:
        InputError: the header is damaged.
    """
    with damage_as_input_error(file):
        _check_extensions(file, file)
        image = _loaded(file)
        size = math.prod(max(int(extent), 0) for extent in image.shape) * image.get_data_dtype().itemsize
        return int(image.dataobj.offset) + size


def _decompressed(file: Path, size: int) -> bytes:
    """The first `size` bytes of a file, unpacked if needed, after reading all of it: the checksum is at the end.

    Raises:
        InputError: it unpacks to much more than that.
    """
    with gzip.open(file) if _is_gzip(file) else file.open("rb") as stream:
        content = stream.read(size)
        trailing = 0
        while chunk := stream.read(_MOST_TRAILING):
            trailing += len(chunk)
            if trailing > _MOST_TRAILING:
                raise InputError(f"{file} holds more data than its header declares: export it again")
    return content
