"""The grid of a fused volume: that of a source, or the source's field of view in another voxel size."""

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor

from monai_s3im.errors import InputError
from monai_s3im.formats.checks import has_right_angles
from monai_s3im.settings import MAX_GIB

from .meta import like

_ROUNDING = 1e-6  # of a voxel


def parse_spacing(spacing: str | float | Sequence[float] | None) -> tuple[float, float, float] | None:
    """Voxel size in mm along each array axis, from ``"1.5"``, ``1.5``, ``"1x1x2"`` or ``(1, 1, 2)``.

    Returns:
        Three sizes, or None for None and ``""``.

    Raises:
        InputError: if it is not one or three positive numbers.
    """
    if spacing is None or spacing == "":
        return None
    parts = spacing.lower().split("x") if isinstance(spacing, str) else np.atleast_1d(np.asarray(spacing)).tolist()
    try:
        sizes = [float(part) for part in parts]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) not in {1, 3} or not all(0 < size < float("inf") for size in sizes):
        raise InputError(f"unusable spacing {spacing!r}: give the voxel size in mm, such as 1 or 0.9x0.9x2")
    x, y, z = sizes * 3 if len(sizes) == 1 else sizes
    return x, y, z


def voxel_sizes(affine: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Voxel size in mm along each array axis, (3,)."""
    sizes: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.linalg.norm(
        np.asarray(affine.cpu(), dtype=np.float64)[:3, :3], axis=0
    )
    return sizes


def finer_of(volumes: Sequence[MetaTensor]) -> int:
    """The index of the volume with the smallest voxels (mm^3); the first of equal ones."""
    sizes = [float(np.prod(voxel_sizes(volume.affine))) for volume in volumes]
    return next(index for index, size in enumerate(sizes) if size <= min(sizes) * (1 + 1e-6))


def grid_with_spacing(volume: MetaTensor, spacing: tuple[float, float, float], max_gib: float = MAX_GIB) -> MetaTensor:
    """A grid with the axes, centre and field of view of a volume, in another voxel size.

    The number of voxels along an axis is the extent over the voxel size, rounded, and at least 1, so the field of view
    matches to a quarter of a voxel on either side, and contains every voxel's centre. If the axes are not at right
    angles, as with a tilted gantry, the grid uses the nearest orthogonal axes and encloses the whole volume.

    Args:
        volume: (C, X, Y, Z) with affine, RAS mm.
        spacing: voxel size in mm along each array axis.
        max_gib: maximum memory for a volume of this grid, as float32.

    Returns:
        (1, X', Y', Z') without content (its voxels share one memory cell), with affine.

    Raises:
        InputError: if the grid would exceed that.
    """
    affine, size = np.asarray(volume.affine.cpu(), dtype=np.float64), np.array(volume.shape[1:])
    centre = affine[:3, :3] @ ((size - 1) / 2) + affine[:3, 3]
    if has_right_angles(affine):
        ratio = np.asarray(spacing) / voxel_sizes(volume.affine)
        shape = np.maximum(np.rint(size / ratio), 1)
        target = affine @ np.diag([*ratio, 1.0])
    else:
        left, _, right = np.linalg.svd(affine[:3, :3] / voxel_sizes(volume.affine))
        axes = left @ right
        extent = np.abs(axes.T @ affine[:3, :3]) @ size  # of the box around it
        shape = np.maximum(np.ceil(extent / spacing - _ROUNDING), 1)
        target = np.eye(4)
        target[:3, :3] = axes * spacing
    if (gib := shape.prod() * 4 / 2**30) > max_gib:
        sizes = " x ".join(f"{value:g}" for value in spacing)
        raise InputError(
            f"spacing {sizes} mm would make {shape.prod():.2g} voxels, {gib:.3g} GiB, more than the limit of "
            f"{max_gib:g} GiB: choose a larger one, or raise the limit (max_gib)"
        )
    target[:3, 3] = centre - target[:3, :3] @ ((shape - 1) / 2)
    empty = torch.zeros(1).expand(1, *shape.astype(int).tolist())
    return like(empty, volume, torch.as_tensor(target))
