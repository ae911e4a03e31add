"""Reorder volumes into slices of an anatomical plane and back, by permuting and flipping axes without resampling."""

from collections.abc import Hashable, Mapping, MutableMapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from monai_s3im.errors import InputError

from .meta import like, with_meta

PLANES = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPL"}
"""Axis codes of the slice layout: directions of rows, columns and slices.

Axial and coronal slices have the patient's right on the left side of the picture, as in radiology.
"""


def plane_of_volume(affine: torch.Tensor) -> str:
    """The anatomical plane in which a volume was stored: that of its first two array axes.

    Args:
        affine: (4, 4), voxel index to RAS mm.
    """
    world_of_axis = nib.io_orientation(np.asarray(affine))[:, 0]
    return ("sagittal", "coronal", "axial")[int(world_of_axis[2])]


class ToSlices(Transform):
    """Reorder a volume's axes into slices of a plane, (C, rows, columns, slices), without resampling.

    Each array axis maps to its nearest anatomical direction, also in oblique volumes.

    Args:
        plane: ``"axial"``, ``"coronal"``, ``"sagittal"``, or ``"in-plane"`` for the plane in which the volume is
            stored.

    Raises:
        InputError: if the plane is unknown.
    """

    def __init__(self, plane: str = "axial") -> None:
        if plane not in PLANES and plane != "in-plane":
            raise InputError(f"unknown plane {plane!r}: choose one of {', '.join(PLANES)}, in-plane")
        self.plane = plane

    def __call__(self, volume: MetaTensor) -> MetaTensor:
        """Reorder (C, X, Y, Z) with its affine into slices, in their own memory."""
        volume = with_meta(volume)
        to_array = self._to_array(volume)
        slices = reorder(volume.as_tensor(), to_array[:3, :3].T)
        return like(slices, volume, _affine_of(volume) @ to_array)

    def grid(self, volume: MetaTensor) -> MetaTensor:
        """The grid of the slices without content, (1, rows, columns, slices), with voxels sharing one memory cell."""
        to_array = self._to_array(volume)
        shape = [volume.shape[1 + int(old)] for old in to_array[:3, :3].abs().argmax(dim=0)]
        return like(torch.zeros(1).expand(1, *shape), volume, _affine_of(volume) @ to_array)

    def _to_array(self, volume: MetaTensor) -> torch.Tensor:
        """The matrix, (4, 4), from an index in the slices to the index in the array."""
        plane = plane_of_volume(volume.affine.cpu()) if self.plane == "in-plane" else self.plane
        orientation = nib.io_orientation(_affine_of(volume).numpy())  # by array axis: index of R, A, S; 1 or -1
        to_array = np.zeros((4, 4))
        to_array[3, 3] = 1
        for new, (world, sign) in enumerate(nib.orientations.axcodes2ornt(PLANES[plane])):
            old = int(np.flatnonzero(orientation[:, 0] == world)[0])
            to_array[old, new] = sign * orientation[old, 1]
            to_array[old, 3] = 0 if to_array[old, new] > 0 else volume.shape[1 + old] - 1
        return torch.as_tensor(to_array)


def _affine_of(volume: MetaTensor) -> torch.Tensor:
    return volume.affine.cpu().double()


def reorder(array: torch.Tensor, axes: NDArray[np.float64] | torch.Tensor) -> torch.Tensor:
    """Apply a signed permutation, (new, old) with entries -1, 0, 1, to the axes after the first.

    The result is contiguous and the only copy made, even if axes are flipped.
    """
    signs = np.asarray(axes)
    old = np.abs(signs).argmax(axis=1)
    first, *rest = (bool(signs[new, old[new]] < 0) for new in range(3))
    permuted = array.permute(0, *(1 + old).tolist())
    reordered = torch.empty(permuted.shape, dtype=array.dtype, device=array.device)
    flipped = [axis for axis, is_flipped in enumerate(rest, start=1) if is_flipped]
    for index in range(permuted.shape[1]):
        reordered[:, index] = permuted[:, -1 - index if first else index].flip(flipped)
    return reordered


class RestoreGridd(MapTransform):
    """Return slices to the array order and affine of the reference: the exact inverse of :class:`ToSlices`.

    Pictures keep their order. Each image is freed once it is copied: the given dictionary is modified and returned.

    Args:
        keys: images in the layout of :class:`AlignSourcesd`, (C, rows, columns, slices), together with ``grid_affine``
            and ``slice_affine``.
    """

    def __call__(self, data: MutableMapping[Hashable, Any]) -> MutableMapping[Hashable, Any]:
        """Restore."""
        is_volume = "grid_affine" in data
        if is_volume:
            grid, slices = (np.asarray(convert_to_tensor(data[key]).cpu()) for key in ("grid_affine", "slice_affine"))
            axes = np.rint(np.linalg.solve(grid, slices))[:3, :3]  # (array, slices)
        for key in self.key_iterator(dict(data)):
            image = convert_to_tensor(data.pop(key))
            data[key] = (
                MetaTensor(reorder(image, axes), affine=torch.as_tensor(grid)) if is_volume else MetaTensor(image)
            )
            del image
        return data


class RandSliced(Randomizable, MapTransform):
    """Take one slice of a volume, (C, H, W, D) to (C, H, W); a picture is unchanged.

    The slice is drawn from those with content in every channel; with ``random=False``, it is the middle one of them.

    Args:
        keys: images in the layout of :class:`AlignSourcesd`.
        random: draw at random, or take the middle slice.
    """

    def __init__(self, keys: KeysCollection, random: bool = True) -> None:
        MapTransform.__init__(self, keys)
        self.random = random

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Take a slice, the same one for every key."""
        result = dict(data)
        first = convert_to_tensor(result[self.keys[0]])
        if first.ndim == 3:
            return result
        content = first.amax(dim=(1, 2)).amin(0).gt(0).nonzero().flatten().tolist() or list(range(first.shape[-1]))
        index = content[int(self.R.randint(len(content)))] if self.random else content[len(content) // 2]
        for key in self.keys:
            result[key] = convert_to_tensor(result[key])[..., index].contiguous()
        return result
