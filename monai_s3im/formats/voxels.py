"""The voxels of one file of any format but DICOM, checked. Nothing here imports torch."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.tree import refuse_tree
from monai_s3im.settings import MAX_GIB

from . import itk_images, nibabel_images, pictures, tiff_stacks
from .checks import check_content
from .paths import IMAGE_SUFFIXES, MINC_SUFFIXES, NIBABEL_SUFFIXES, VOLUME_SUFFIXES, frame_of, isdir, suffix_of


def read_voxels(
    path: str | Path, max_gib: float = MAX_GIB
) -> tuple[NDArray[np.float32], NDArray[np.float64], float | None]:
    """Read and check a file.

    Args:
        path: a file, or ``FILE#FRAME``, as for :func:`monai_s3im.formats.reading.read_image`.
        max_gib: maximum memory that the image may take, see `MAX_GIB`.

    Returns:
        The voxels, (1 or 3, ...); the affine, voxel index -> RAS mm; and the largest value that the bits of a picture
        or of RGB can hold, else None.

    Raises:
        InputError: as :func:`monai_s3im.formats.reading.read_image`.
    """
    path = existing(path)
    array, affine, value_range = reader_of(path).read(path, max_gib)
    if array.shape[0] >= 3:
        array = array[:3]
        array = array[:1] if (array == array[:1]).all() else array
    with np.errstate(over="ignore"):
        array = np.require(array, np.float32, ["C", "W"])
    check_content(array, path)
    return array, affine, value_range


def reader_of(path: Path) -> Any:
    """The module that reads a file, by its suffix (MINC: by the first bytes; TIFF: by the number of pages)."""
    if suffix_of(path) not in VOLUME_SUFFIXES:
        return tiff_stacks if tiff_stacks.is_stack(path) else pictures
    if suffix_of(path) in MINC_SUFFIXES:
        with frame_of(path)[0].open("rb") as stream:
            return nibabel_images if stream.read(3) == b"CDF" else itk_images
    return nibabel_images if suffix_of(path) in NIBABEL_SUFFIXES else itk_images


def existing(path: str | Path) -> Path:
    """Check that a path is a readable file of a known format.

    Raises:
        InputError: if it is not.
    """
    path, whole = Path(path), frame_of(path)[0]
    if isdir(whole):
        refuse_tree(whole)
        raise InputError(f"{path} is a folder: give one image file, or a folder with a DICOM series")
    try:
        whole.stat()
    except PermissionError as error:
        raise InputError(f"{path} is not readable: check its permissions") from error
    except OSError as error:
        raise InputError(f"{whole} does not exist: check the path") from error
    if not suffix_of(path):
        raise InputError(f"{path} has an unknown image format: convert it to one of {' '.join(IMAGE_SUFFIXES)}")
    if not os.access(whole, os.R_OK):
        raise InputError(f"{path} is not readable: check its permissions")
    if whole.stat().st_size == 0:
        raise InputError(f"{path} is empty: copy or download it again")
    return path
