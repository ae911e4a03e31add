"""Read TIFF files of several pages as volumes: pages are slices, with the voxel size that ImageJ records."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from monai_s3im.errors import InputError

from .checks import check_affine, check_size
from .damage import damage_as_input_error
from .itk_images import LPS_TO_RAS
from .paths import TIFF_SUFFIXES, frame_of, isfile, suffix_of
from .quiet import quiet_stderr
from .remarks import warn

logger = logging.getLogger(__name__)

_PHOTOMETRIC, _DESCRIPTION, _ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION = 262, 270, 274, 282, 283  # of TIFF 6.0
_MILLIMETRES = {"m": 1e3, "cm": 10.0, "mm": 1.0, "micron": 1e-3, "um": 1e-3, "\\u00B5m": 1e-3, "nm": 1e-6, "inch": 25.4}
_GRAY, _RGB = {"L", "I;16", "I;16B", "I", "F"}, {"RGB"}
_OTHER_AXES = {"channels": r"(?:^channels=|SizeC=\")(\d+)", "frames": r"(?:^frames=|SizeT=\")(\d+)"}  # ImageJ, OME


def is_stack(path: str | Path) -> bool:
    """Whether a path is a TIFF of several pages of one size, without a page named (``FILE#PAGE``)."""
    file, page = frame_of(path)
    if suffix_of(file) not in TIFF_SUFFIXES or page is not None or not isfile(file):
        return False
    try:
        with damage_as_input_error(file), quiet_stderr(), TiffImagePlugin.TiffImageFile(file) as stack:
            if stack.n_frames == 1:
                return _images_of_imagej(stack) > 1
            first = stack.size
            stack.seek(1)
            return stack.size == first  # otherwise a picture and its thumbnail
    except InputError:
        return False


def shape_of(path: Path, max_gib: float) -> tuple[int, int, int]:
    """(X, Y, Z), from the headers alone."""
    kinds = set()
    with damage_as_input_error(path), quiet_stderr(), TiffImagePlugin.TiffImageFile(path) as stack:
        text, images = _note(stack), _images_of_imagej(stack)
        is_upright = stack.tag_v2.get(_ORIENTATION, 1) == 1 and stack.tag_v2.get(_PHOTOMETRIC) != 0
        for page in range(stack.n_frames):
            stack.seek(page)
            kinds.add((stack.mode, *stack.size))
        shape = (stack.width, stack.height, stack.n_frames)
    if len(kinds) > 1:
        raise InputError(f"{path} has pages of several sizes or types: name the one to use, from {path}#1")
    ((mode, *_),) = kinds
    if mode not in _GRAY | _RGB:
        raise InputError(f"{path} has pages of PIL mode '{mode}': save them as gray or RGB")
    if not is_upright:
        raise InputError(f"{path} is stored rotated or inverted: save its pages upright, with 0 for black")
    for axis, pattern in _OTHER_AXES.items():
        if (found := re.search(pattern, text, re.MULTILINE)) and int(found[1]) > 1:
            raise InputError(f"{path} has {found[1]} {axis}: save one of them as a stack, or name a page, {path}#1")
    if images > shape[2]:
        raise InputError(f"{path} has one page, followed by {images} slices that only ImageJ reads: save it as NRRD")
    check_size((*shape, 3 if mode in _RGB else 1), path, max_gib)
    return shape


def frames_of(path: Path, max_gib: float) -> tuple[int, str]:
    """One frame without a label: the pages are the slices of one volume."""
    shape_of(path, max_gib)
    return 1, ""


def read(path: Path, max_gib: float) -> tuple[NDArray[Any], NDArray[np.float64], float | None]:
    """The voxels (1 or 3, X, Y, Z), the affine to RAS mm, and the largest value of 8 bits and of RGB, else None."""
    shape_of(path, max_gib)
    with damage_as_input_error(path), quiet_stderr():
        with TiffImagePlugin.TiffImageFile(path) as stack:
            sizes = _voxel_size(stack)
        image = sitk.ReadImage(str(path), imageIO="TIFFImageIO")
        array = sitk.GetArrayFromImage(image).reshape((*image.GetSize()[::-1], -1)).T
    where = "its axes are assumed to run to the left, to the back and upwards"
    warn(logger, f"{path.name} has no position (TIFF has no orientation): {where}")
    if sizes is None:
        warn(logger, f"{path.name} does not give its voxel size: 1 x 1 x 1 mm is assumed")
    affine = LPS_TO_RAS @ np.diag([*(sizes or (1.0, 1.0, 1.0)), 1.0])
    check_affine(affine, path)
    is_brightness = array.dtype == np.uint8 or len(array) > 1
    return array, affine, float(np.iinfo(array.dtype).max) if is_brightness else None


def _voxel_size(stack: TiffImagePlugin.TiffImageFile) -> tuple[float, float, float] | None:
    """Voxel size in mm, (X, Y, Z); None unless ImageJ has recorded all three in a unit of length."""
    unit, spacing = (re.search(rf"^{name}=(\S+)", _note(stack), re.MULTILINE) for name in ("unit", "spacing"))
    per_unit = [float(stack.tag_v2.get(tag, 0)) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    if unit is None or unit[1] not in _MILLIMETRES or spacing is None or min(per_unit) <= 0:
        return None
    factor = _MILLIMETRES[unit[1]]
    return factor / per_unit[0], factor / per_unit[1], factor * abs(float(spacing[1]))


def _images_of_imagej(stack: TiffImagePlugin.TiffImageFile) -> int:
    found = re.search(r"^ImageJ=.*^images=(\d+)", _note(stack), re.MULTILINE | re.DOTALL)
    return int(found[1]) if found else 1


def _note(stack: TiffImagePlugin.TiffImageFile) -> str:
    return str(stack.tag_v2.get(_DESCRIPTION, ""))
