"""Volumes as slices of an anatomical plane, and back: axes are permuted and flipped, nothing is resampled."""

from collections.abc import Hashable, Mapping
from itertools import permutations
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from monai_s3im.errors import InputError

PLANES = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPL"}
"""Axis codes of the slice layout: rows run to the first letter, columns to the second, slices to the third.

Axial and coronal slices have the patient's right on the left side of the picture, as radiologists look at them.
"""

_WORLD_AXES = ("LR", "PA", "IS")
"""Negative and positive direction of the axes of RAS."""


def plane_of_volume(affine: torch.Tensor) -> str:
    """The anatomical plane that a volume was stored in: that of its first two array axes.

    Args:
        affine: (4, 4), voxel index to RAS mm.
    """
    axis_of_world, _ = _nearest_axes(np.asarray(affine))
    return ("sagittal", "coronal", "axial")[axis_of_world.index(2)]


def _nearest_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For R, A and S: the array axis that runs along it, and whether it runs the other way.

    All assignments are compared as a whole, so that the answer does not depend on the order of the array axes; one
    after the other, as ``nibabel.io_orientation`` does it, it would for volumes near 45 degrees.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)  # (world, array)
    best = max(permutations(range(3)), key=lambda axes: sum(abs(cosines[world, axes[world]]) for world in range(3)))
    return best, tuple(bool(cosines[world, best[world]] < 0) for world in range(3))


class ToSlices(Transform):
    """Reorder a volume's axes into slices of a plane: (C, rows, columns, slices). A permutation, nothing is resampled.

    Each array axis goes to the anatomical direction that it is nearest to, for oblique volumes too.

    Args:
        plane: ``"axial"``, ``"coronal"``, ``"sagittal"``, or ``"in-plane"`` for the plane that the volume is stored in.

    Raises:
        InputError: if the plane is unknown.
    """

    def __init__(self, plane: str = "axial") -> None:
        if plane not in PLANES and plane != "in-plane":
            raise InputError(f"unknown plane {plane!r}: choose one of {', '.join(PLANES)}, in-plane")
        self.plane = plane

    def __call__(self, volume: MetaTensor) -> MetaTensor:
        """Reorder (C, X, Y, Z) with its affine into slices."""
        affine = np.asarray(volume.affine.cpu(), dtype=np.float64)
        plane = plane_of_volume(volume.affine.cpu()) if self.plane == "in-plane" else self.plane
        axis_of_world, is_reversed = _nearest_axes(affine)
        to_array = np.zeros((4, 4))  # index in the slices -> index in the array
        to_array[3, 3] = 1
        for new, code in enumerate(PLANES[plane]):
            world = next(axis for axis, codes in enumerate(_WORLD_AXES) if code in codes)
            old = axis_of_world[world]
            flip = is_reversed[world] != (code in "LPI")
            to_array[old, new] = -1 if flip else 1
            to_array[old, 3] = volume.shape[1 + old] - 1 if flip else 0
        slices = _reorder(volume.as_tensor(), to_array[:3, :3].T)
        return MetaTensor(slices, affine=torch.as_tensor(affine @ to_array), meta=_meta_without_affine(volume))


def _reorder(array: torch.Tensor, axes: NDArray[np.float64]) -> torch.Tensor:
    """Apply a signed permutation, (new, old) with entries -1, 0, 1, to the axes after the first."""
    old = np.abs(axes).argmax(axis=1)
    flipped = [1 + new for new in range(3) if axes[new, old[new]] < 0]
    return array.permute(0, *(1 + old).tolist()).flip(flipped)


def _meta_without_affine(image: MetaTensor) -> dict[str, Any]:
    return {key: value for key, value in image.meta.items() if key != "affine"}


class RestoreGridd(MapTransform):
    """Bring slices back into the array order and affine of the reference: the exact inverse of :class:`ToSlices`.

    Pictures keep their order.

    Args:
        keys: images in the layout of :class:`AlignSourcesd`, (C, rows, columns, slices), with ``grid_affine`` and
            ``slice_affine`` beside them.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore."""
        result = dict(data)
        if "grid_affine" not in result:
            return {**result, **{key: MetaTensor(convert_to_tensor(result[key])) for key in self.keys}}
        grid, slices = (np.asarray(convert_to_tensor(result[key]).cpu()) for key in ("grid_affine", "slice_affine"))
        axes = np.rint(np.linalg.solve(grid, slices))[:3, :3]  # (array, slices)
        for key in self.keys:
            restored = _reorder(convert_to_tensor(result[key]), axes)
            result[key] = MetaTensor(restored.contiguous(), affine=torch.as_tensor(grid))
        return result


class RandSliced(Randomizable, MapTransform):
    """Take one slice of a volume, (C, H, W, D) to (C, H, W); a picture stays as it is.

    The slice is drawn from those with content in every channel, or, with ``random=False``, is the middle one of them.

    Args:
        keys: images in the layout of :class:`AlignSourcesd`.
        random: draw, or take the middle slice.
    """

    def __init__(self, keys: KeysCollection, random: bool = True) -> None:
        MapTransform.__init__(self, keys)
        self.random = random

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Take a slice, the same one for every key."""
        result = dict(data)
        first = result[self.keys[0]]
        if first.ndim == 3:
            return result
        content = first.amax(dim=(1, 2)).amin(0).gt(0).nonzero().flatten().tolist() or list(range(first.shape[-1]))
        index = content[int(self.R.randint(len(content)))] if self.random else content[len(content) // 2]
        for key in self.keys:
            result[key] = convert_to_tensor(result[key])[..., index].contiguous()
        return result
