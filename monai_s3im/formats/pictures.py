"""Read pictures: PNG, JPEG, TIFF, BMP, with orientation, alpha, and the bits in use."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from monai_s3im.errors import InputError

from .checks import check_size
from .damage import damage_as_input_error
from .paths import frame_of, suffix_of
from .quiet import quiet_stderr
from .remarks import warn

logger = logging.getLogger(__name__)

_TURNED_BY_US = {"JPEG", "MPO", "PNG"}  # Pillow turns a TIFF itself
_DEPTHS = (8, 10, 12, 14, 16)
_PHOTOMETRIC = 262  # tag of TIFF 6.0: 0 is white, or black
_OVERSHOOT = 1.1  # of floating-point values after splines
_PNG_OF_16_BITS = 16  # in byte 24 of the file
_COLOUR_OR_ALPHA = {2, 4, 6}  # in byte 25


def shape_of(path: Path, max_gib: float) -> tuple[int, int]:
    """(H, W), from the header alone, as the picture is shown."""
    with _picture(path, max_gib) as picture:
        return (picture.width, picture.height) if _lies_on_its_side(picture) else (picture.height, picture.width)


def frames_of(path: Path, max_gib: float) -> tuple[int, str]:
    """The number of pages in a file, from the header alone, and a label, which is empty here."""
    with _picture(Path(f"{path}#1"), max_gib) as picture:
        return _frames_in(picture), ""


def read(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    """The pixels (1 or 3, H, W), an identity, and the largest value that they can have.

    Transparent pixels are blended over black. For 16-bit pixels, the bits in use (8, 10, 12, 14 or 16) give the largest
    value, with a warning if fewer than 16; for floating-point and 32-bit pixels, the same or 1, with a warning.

    Raises:
        InputError: as :func:`monai_s3im.formats.reading.read_image`.
    """
    with _picture(path, max_gib) as stored:
        picture = ImageOps.exif_transpose(stored) if stored.format in _TURNED_BY_US else stored
        deep = _deep_png(path)
        if deep is not None:
            orientation = stored.getexif().get(ExifTags.Base.Orientation, 1)
            array = _over_black(_turned(deep, orientation), 65535)
        elif picture.mode.startswith(("I", "F")):
            array = np.asarray(picture)[..., None]
            if (clear := picture.info.get("transparency")) is not None and picture.mode.startswith("I;16"):
                array = np.where(array == clear, 0, array)
        elif picture.mode in {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB"}:
            array = _bytes_of(picture)
        else:
            raise InputError(f"{path} has pixels of PIL mode '{picture.mode}': save it as gray or RGB")
        is_inverted = picture.format == "TIFF" and picture.mode.startswith(("I", "F")) and _is_white_zero(picture)
    value_range = _range_of(array, path)
    if is_inverted:
        array = value_range - array
    return np.moveaxis(array, -1, 0), np.eye(4), value_range


@contextmanager
def _picture(path: Path, max_gib: float) -> Iterator[Image.Image]:
    quiet = quiet_stderr() if suffix_of(path) in {".tif", ".tiff"} else nullcontext()
    file, chosen = frame_of(path)
    # from a stream, not a path: Pillow 13.0 scrambles a rotated TIFF that it memory-maps
    with damage_as_input_error(path), quiet, file.open("rb") as stream, Image.open(stream) as picture:
        check_size((picture.width, picture.height), path, max_gib)
        frames = _frames_in(picture)
        if chosen is None and frames > 1:
            raise InputError(f"{path} has {frames} frames: name the one to use, from {file}#1 to {file}#{frames}")
        if chosen is not None and chosen > frames:
            raise InputError(f"{path} does not exist: name one of the {frames} frames, the first as {file}#1")
        if chosen is not None:
            picture.seek(chosen - 1)
            check_size((picture.width, picture.height), path, max_gib)
        yield picture


def _frames_in(picture: Image.Image) -> int:
    return 1 if picture.format == "MPO" else int(getattr(picture, "n_frames", 1))


def _is_white_zero(picture: Any) -> bool:
    """Whether 0 is white in a TIFF; Pillow handles this for 8 bits."""
    return bool(picture.tag_v2.get(_PHOTOMETRIC) == 0)


def _bytes_of(picture: Image.Image) -> NDArray[Any]:
    """8-bit gray or RGB, (H, W, 1 or 3), with transparent pixels over black."""
    is_gray = picture.mode in {"1", "L", "LA", "La"}
    has_alpha = picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info
    if not has_alpha:
        array = np.asarray(picture.convert("L" if is_gray else "RGB"))
        return array[..., None] if array.ndim == 2 else array
    array = _over_black(np.asarray(picture.convert("RGBA")), 255)
    return array[..., :1] if is_gray else array


def _over_black(array: NDArray[Any], largest: int) -> NDArray[Any]:
    """Blend alpha over black, rounded, (H, W, 1 or 3); an array without alpha is returned unchanged."""
    if array.shape[-1] not in {2, 4}:
        return array
    shown = array[..., :-1] * (array[..., -1:].astype(np.float64) / largest)
    return np.rint(shown).astype(array.dtype)


def _deep_png(path: Path) -> NDArray[Any] | None:
    """A 16-bit PNG in colour or with alpha, (H, W, channels), which Pillow reduces to 8 bits; None for any other."""
    file = frame_of(path)[0]
    with file.open("rb") as stream:
        header = stream.read(26)
    if header[1:4] != b"PNG" or header[24] != _PNG_OF_16_BITS or header[25] not in _COLOUR_OR_ALPHA:
        return None
    with quiet_stderr():
        array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="PNGImageIO"))
    return array.reshape(*array.shape[:2], -1)


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rotate and mirror by the EXIF Orientation, (H, W, channels)."""
    if orientation in {5, 6, 7, 8}:
        array = array.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        array = array[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        array = array[::-1]
    return array


def _range_of(array: NDArray[Any], path: Path) -> float:
    """The largest value that the pixels can have."""
    if array.dtype == np.uint8:
        return 255.0
    lowest, highest = float(array.min()), float(array.max())
    if not (lowest >= 0 and highest < 2**16):  # also NaN
        raise InputError(f"{path} has values from {lowest:g} to {highest:g}: scale it to 0 to 1, 0 to 255 or 16 bits")
    if array.dtype.kind == "f":
        ends = (1.0, *(2.0**depth - 1 for depth in _DEPTHS))
        largest = next(end for end in ends if highest <= _OVERSHOOT * end)
        warn(logger, f"{path.name} has floating-point pixels, up to {highest:g}: {largest:g} is taken as white")
        return largest
    bits = next(depth for depth in _DEPTHS if highest < 2**depth)
    if bits < 16:
        warn(logger, f"{path.name} uses {bits} of its {8 * array.dtype.itemsize} bits: {2**bits - 1} is taken as white")
    return float(2**bits - 1)


def _lies_on_its_side(picture: Image.Image) -> bool:
    """Whether EXIF asks for a quarter turn."""
    if picture.format == "PNG" and "exif" not in picture.info:  # getexif() would read all of it
        return False
    return picture.format in _TURNED_BY_US and picture.getexif().get(ExifTags.Base.Orientation) in {5, 6, 7, 8}
