"""Checks shared by all readers: size, axes, affine and content."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_s3im.errors import InputError

from .paths import frame_of

_RIGHT_ANGLE = 1e-4  # cosine
_SMALLEST_MM, _LARGEST_MM = 1e-9, 1e9  # of a voxel; of a position


def check_size(shape: tuple[int, ...], path: Path, max_gib: float, bytes_each: int = 4) -> None:
    """Refuse an empty image, or one that needs more memory than the limit."""
    if min(shape, default=0) < 1:
        raise InputError(f"{path} has a damaged header (shape {times(shape)}): copy or export it again")
    gib = math.prod(int(n) for n in shape) * max(bytes_each, 4) / 2**30
    if gib > max_gib:
        raise InputError(
            f"{path} declares {times(shape)} voxels, {gib:.3g} GiB, more than the limit of {max_gib:g} GiB: crop or "
            "resample it, or raise the limit (max_gib)"
        )


def check_axes(shape: tuple[int, ...], path: Path) -> None:
    """Refuse a frame that does not exist, and several frames if none is named."""
    if len(shape) < 2:
        raise InputError(f"{path} holds a row of values: save it as an image")
    frames, (file, chosen) = math.prod(shape[3:]), frame_of(path)
    if chosen is None and frames > 1:
        raise InputError(f"{path} is 4D and has {frames} frames: name the one to use, from {file}#1 to {file}#{frames}")
    if chosen is not None and len(shape) != 4:
        raise InputError(f"{path} names a frame, but the file is not 4D: leave #{chosen} out")
    if chosen is not None and chosen > frames:
        raise InputError(f"{path} does not exist: name one of the {frames} frames, the first as {file}#1")


def is_usable_affine(affine: NDArray[np.float64]) -> bool:
    """Whether an affine (4 x 4, to mm) is finite, invertible and of plausible size."""
    if not np.isfinite(affine).all():
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        voxel_sizes = np.linalg.norm(affine[:3, :3], axis=0)
        volume = abs(np.linalg.det(affine[:3, :3] / np.where(voxel_sizes > 0, voxel_sizes, 1.0)))
    return bool(voxel_sizes.min() > _SMALLEST_MM and np.abs(affine).max() < _LARGEST_MM and volume > 1e-6)


def has_right_angles(affine: NDArray[np.float64]) -> bool:
    """Whether the axes of an affine (4 x 4) are at right angles, to a cosine of 1e-4, as ITK requires for NIfTI."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= _RIGHT_ANGLE)


def check_affine(affine: NDArray[np.float64], path: Path) -> None:
    """Refuse an affine that :func:`is_usable_affine` rejects."""
    if not is_usable_affine(affine):
        raise InputError(
            f"{path} has an affine that cannot be inverted: repair its header (sform and qform, or directions and "
            f"spacing), or export it again"
        )


def check_content(array: NDArray[Any], path: Path) -> None:
    """Refuse infinite voxels and constant images; NaN means no value."""
    if bad := int(np.count_nonzero(np.isinf(array))):
        voxels = "voxel" if bad == 1 else "voxels"
        raise InputError(f"{path} has {bad} infinite {voxels} out of {array.size}: replace them, for example with 0")
    present = ~np.isnan(array)
    if not present.any():
        raise InputError(f"{path} has no content (every voxel is NaN): check that it is the right file")
    lowest, highest = array.min(initial=np.inf, where=present), array.max(initial=-np.inf, where=present)
    if lowest == highest or (len(array) > 1 and all(channel.min() == channel.max() for channel in array)):
        raise InputError(f"{path} has no content (every voxel is {lowest:g}): check that it is the right file")


def times(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return " x ".join(str(n) for n in shape)
