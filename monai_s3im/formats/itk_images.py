"""Read the formats of ITK: NRRD, MetaImage and MINC 2."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
from .text_headers import as_itk_reads, check_data_files, says_where_it_lies

logger = logging.getLogger(__name__)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@contextmanager
def open_itk(path: Path, max_gib: float) -> Iterator[Any]:
    """A reader of the voxels, with the header loaded and checked.

    Raises:
        InputError: as :func:`monai_s3im.formats.reading.read_image`.
    """
    file = frame_of(path)[0]
    if suffix_of(path) in MINC_SUFFIXES:
        yield _opened(path, file, max_gib)
        return
    check_data_files(file)
    with as_itk_reads(file, max_gib) as readable:
        yield _opened(path, readable, max_gib)


def _opened(path: Path, file: Path, max_gib: float) -> Any:
    """The same for a file that ITK reads."""
    with damage_as_input_error(path), quiet_stderr():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
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
    with open_itk(path, max_gib) as reader:
        size = reader.GetSize()[:3]
    return (*size, *(1,) * (3 - len(size)))


def frames_of(path: Path, max_gib: float) -> tuple[int, str]:
    """The number of frames in a file, from the header alone, and a label, which is empty here."""
    try:
        with open_itk(Path(f"{path}#1"), max_gib) as reader:
            return (reader.GetSize()[3] if reader.GetDimension() == 4 else reader.GetNumberOfComponents()), ""
    except InputError:
        shape_of(path, max_gib)
        return 1, ""


def read(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    """The voxels (1 or 3, X, Y, Z), the affine to RAS mm, and the largest value that RGB can have."""
    frame = (frame_of(path)[1] or 1) - 1
    with open_itk(path, max_gib) as reader:
        size, components = reader.GetSize()[:3], reader.GetNumberOfComponents()
        if reader.GetDimension() == 4:
            reader.SetExtractIndex([0, 0, 0, frame])
            reader.SetExtractSize([*size, 0])
        with damage_as_input_error(path), quiet_stderr():
            array = sitk.GetArrayFromImage(reader.Execute()).reshape((*size[::-1], components)).T
        affine, is_list = _affine_of(reader, path), components > 1 and _is_list(reader)
    if array.ndim == 3:
        array = array[..., None]
    if is_list:
        array, components = array[frame : frame + 1], 1
    if suffix_of(path) not in MINC_SUFFIXES and not says_where_it_lies(frame_of(path)[0]):
        warn(
            logger,
            f"{path.name} has no position (no orientation in its header): its axes are assumed to run to "
            "the left, the back and the top",
        )
    if components == 1:
        return array, affine, None
    return array, affine, float(np.iinfo(array.dtype).max)


def _is_list(reader: Any) -> bool:
    """Whether an NRRD declares several measurements per voxel."""
    return "list" in {reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("NRRD_kinds")}


def _affine_of(reader: Any, path: Path) -> NDArray[np.float64]:
    """Voxel index -> RAS mm, from ITK's direction cosines, spacing and origin in LPS mm (RAS mm for MINC)."""
    rank = reader.GetDimension()
    spatial = min(rank, 3)
    affine = np.eye(4)
    direction = np.asarray(reader.GetDirection()).reshape(rank, rank)[:spatial, :spatial]
    affine[:spatial, :spatial] = direction * np.asarray(reader.GetSpacing()[:spatial])
    affine[:spatial, 3] = reader.GetOrigin()[:spatial]
    return affine if suffix_of(path) in MINC_SUFFIXES else LPS_TO_RAS @ affine
