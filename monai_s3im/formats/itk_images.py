"""Read what ITK knows: NRRD, MetaImage and MINC 2."""

import logging
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from monai_s3im.errors import InputError

from .checks import check_affine, check_axes, check_size
from .damage import damage_as_input_error
from .paths import MINC_SUFFIXES, frame_of, suffix_of
from .quiet import quiet_stderr
from .remarks import warn

logger = logging.getLogger(__name__)

_DATA_FILE = re.compile(r"^\s*(?:data ?file\s*:|ElementDataFile\s*=)\s*(.*)", re.MULTILINE | re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(r"[^%]*%\d{0,2}d[^%]*")  # files of slices, by number
_LONGEST_NAME = 255  # letters
_LARGEST_TEXT_HEADER = 2**16  # bytes
_ORIENTATION = re.compile(
    r"^\s*(?:space\s*:\s*(?:[LR]\w*[APS]|(?:left|right)-(?:anterior|posterior)-superior)|"
    r"(?:TransformMatrix|Rotation|Orientation)\s*=)",
    re.MULTILINE | re.IGNORECASE,
)
_FOUR_AXES = re.compile(r"^dimension\s*:\s*4\s*$", re.MULTILINE)
_NO_DIRECTION = re.compile(r"^space directions\s*:.*\bnone\b", re.MULTILINE)
_OTHER_KIND = re.compile(r"^kinds\s*:(?!(?:\s*(?:domain|space|time|none|unknown|\?\?\?))+\s*$)", re.MULTILINE)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def open_itk(path: Path, max_gib: float) -> Any:
    """Load and check the header only.

    Raises:
        InputError: as :func:`monai_s3im.formats.reading.read_image`.
    """
    if suffix_of(path) not in MINC_SUFFIXES:
        check_data_files(frame_of(path)[0])
        _check_kinds(frame_of(path)[0])
    with damage_as_input_error(path), quiet_stderr():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(frame_of(path)[0]))
        reader.ReadImageInformation()
        pixel_type = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    components = reader.GetNumberOfComponents()
    check_size((*reader.GetSize(), components), path, max_gib)
    is_list = components > 1 and _is_list(reader)
    is_rgb = components in {3, 4} and pixel_type.endswith(("8-bit unsigned integer", "16-bit unsigned integer"))
    if "complex" in pixel_type or (components > 1 and not is_rgb and not is_list):
        raise InputError(
            f"{path} has voxels of type {components} x {pixel_type}: save one real number per voxel or RGB"
        )
    check_axes((*reader.GetSize(), *((components,) if is_list else ())), path)
    check_affine(_affine_of(reader, path), path)
    return reader


def shape_of(path: Path, max_gib: float) -> tuple[int, ...]:
    """(X, Y, Z), from the header alone; Z is 1 for a slice."""
    size = open_itk(path, max_gib).GetSize()[:3]
    return (*size, *(1,) * (3 - len(size)))


def read_itk(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    """The voxels (1 or 3, X, Y, Z), the affine to RAS mm, and the largest value that RGB can have."""
    reader = open_itk(path, max_gib)
    size, components = reader.GetSize()[:3], reader.GetNumberOfComponents()
    frame = (frame_of(path)[1] or 1) - 1
    if reader.GetDimension() == 4:
        reader.SetExtractIndex([0, 0, 0, frame])
        reader.SetExtractSize([*size, 0])
    with damage_as_input_error(path), quiet_stderr():
        array = sitk.GetArrayFromImage(reader.Execute()).reshape((*size[::-1], components)).T
    if array.ndim == 3:
        array = array[..., None]
    if components > 1 and _is_list(reader):
        array, components = array[frame : frame + 1], 1
    affine = _affine_of(reader, path)
    if suffix_of(path) not in MINC_SUFFIXES and not _ORIENTATION.search(_text_header(frame_of(path)[0])[0]):
        warn(
            logger,
            f"{path.name} does not tell where it lies (no orientation in its header): its axes are taken to run to the "
            "left, to the back and upwards",
        )
    if components == 1:
        return array, affine, None
    return array, affine, float(np.iinfo(array.dtype).max)


def _check_kinds(file: Path) -> None:
    """Refuse, by name, an NRRD of several frames in a space of three axes whose kinds ITK does not read."""
    head = _text_header(file)[0]
    if (
        head.startswith("NRRD")
        and _FOUR_AXES.search(head)
        and _NO_DIRECTION.search(head)
        and not _OTHER_KIND.search(head)
    ):
        raise InputError(
            f"{file} is a 4D NRRD whose axis of frames is not of the kind list, and ITK reads no other: write "
            "'kinds: domain domain domain list' into its header, with list for the axis of frames, or save it again"
        )


def _is_list(reader: Any) -> bool:
    """Whether an NRRD says that the values of a voxel are those of several measurements."""
    return "list" in {reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("NRRD_kinds")}


def _affine_of(reader: Any, path: Path) -> NDArray[np.float64]:
    """Voxel index -> RAS mm, from ITK's direction cosines, spacing and origin in LPS mm; of MINC, in RAS mm."""
    rank = reader.GetDimension()
    spatial = min(rank, 3)
    affine = np.eye(4)
    direction = np.asarray(reader.GetDirection()).reshape(rank, rank)[:spatial, :spatial]
    affine[:spatial, :spatial] = direction * np.asarray(reader.GetSpacing()[:spatial])
    affine[:spatial, 3] = reader.GetOrigin()[:spatial]
    return affine if suffix_of(path) in MINC_SUFFIXES else LPS_TO_RAS @ affine


def _text_header(file: Path) -> tuple[str, bool]:
    """The header's text, and whether a blank line ends it."""
    with file.open("rb") as stream:
        content = stream.read(_LARGEST_TEXT_HEADER)
    head, *voxels = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    return head.decode("latin-1"), bool(voxels) or len(content) < _LARGEST_TEXT_HEADER


def check_data_files(header: Path) -> None:
    """Refuse a header that takes its voxels from outside its folder, or whose data file's name could crash ITK.

    From outside it could read any file or device. ITK copies the name into a short buffer, and prints by it.
    """
    head, is_whole = _text_header(header)
    found = _DATA_FILE.search(head)
    if found is None and not is_whole:
        raise InputError(f"{header} has a header of more than 64 KiB: save it again")
    names = [name.strip() for name in found[1].splitlines()] if found else []
    for name in names if names and names[0].startswith("LIST") else names[:1]:
        windows, posix = PureWindowsPath(name), PurePosixPath(name)
        if name == "-" or posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
            raise InputError(f"{header} takes its voxels from outside its folder: put the data file beside the header")
        if len(name) > _LONGEST_NAME or ("%" in name and not _NUMBERED.fullmatch(name)):
            raise InputError(f"{header} names a data file that cannot be read: give that file a short name without %")
