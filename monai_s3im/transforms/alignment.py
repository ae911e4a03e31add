"""Both sources on one grid: that of the reference."""

from collections.abc import Hashable, Mapping
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_s3im.errors import InputError

from .slices import ToSlices, plane_of_volume

_SAME_GRID_MM = 1e-3


def on_same_grid(image: MetaTensor, reference: MetaTensor) -> bool:
    """Whether two volumes have the same shape, and no voxel of one is more than 0.001 mm from its like in the other."""
    if image.shape[1:] != reference.shape[1:]:
        return False
    corners = np.array([[*corner, 1.0] for corner in product(*((0.0, extent - 1.0) for extent in image.shape[1:]))])
    shift = corners @ (np.asarray(image.affine.cpu()) - np.asarray(reference.affine.cpu())).T
    return bool(np.linalg.norm(shift[:, :3], axis=1).max() <= _SAME_GRID_MM)


def resample_onto(image: MetaTensor, reference: MetaTensor) -> tuple[MetaTensor, torch.Tensor]:
    """Bring a volume onto another's grid by linear interpolation in mm.

    The field of view of a volume reaches to the outer faces of its outermost voxels: half a voxel beyond their centres,
    where the value of the outermost voxel goes on.

    Args:
        image: (C, X, Y, Z) with affine, RAS mm.
        reference: (C', X', Y', Z') with affine; only its grid counts.

    Returns:
        The volume (C, X', Y', Z'), float32, 0 outside its field of view, and a bool mask (1, X', Y', Z') of the voxels
        whose centre lies in its field of view.
    """
    if on_same_grid(image, reference):
        return image, torch.ones(1, *reference.shape[1:], dtype=torch.bool)

    def resample(volume: torch.Tensor, interpolator: int) -> torch.Tensor:
        itk = sitk.GetImageFromArray(volume.numpy())  # its first axis is the array's last
        origin, spacing, direction = _itk_geometry(image.affine)
        itk.SetOrigin(origin)
        itk.SetSpacing(spacing)
        itk.SetDirection(direction)
        size = tuple(reversed(reference.shape[1:]))
        moved = sitk.Resample(itk, size, sitk.Transform(), interpolator, *_itk_geometry(reference.affine), 0.0)
        return torch.from_numpy(sitk.GetArrayFromImage(moved))

    channels = [resample(channel, sitk.sitkLinear) for channel in image.as_tensor().float().cpu()]
    covered = resample(torch.ones(image.shape[1:], dtype=torch.uint8), sitk.sitkNearestNeighbor).bool()
    meta = {key: value for key, value in image.meta.items() if key != "affine"}
    return MetaTensor(torch.stack(channels), affine=reference.affine.clone(), meta=meta), covered[None]


def _itk_geometry(affine: torch.Tensor) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing and direction of an array whose last axis is ITK's first; in RAS mm, as both grids are."""
    matrix = np.asarray(affine.cpu(), dtype=np.float64)[:3, [2, 1, 0, 3]]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    return matrix[:, 3].tolist(), spacing.tolist(), (matrix[:, :3] / spacing).ravel().tolist()


def _size(image: MetaTensor) -> str:
    return " x ".join(str(extent) for extent in reversed(image.shape[1:]))


class AlignSourcesd(MapTransform):
    """Bring the sources onto the reference's grid, in slices of one plane, clipped to [0, 1].

    Pictures must have one size. For volumes the result is (C, rows, columns, slices); ``covered`` is added, a bool mask
    (1, rows, columns, slices) of the voxels that every source covers, where not all do; and ``grid_affine`` and
    ``slice_affine``, the reference's affine before and after reordering.

    Args:
        keys: sources, normalised.
        reference_key: the source whose grid is kept.
        plane: see :class:`ToSlices`; ``"in-plane"`` is that of the reference.

    Raises:
        InputError: if a picture meets a volume, pictures differ in size, or volumes do not overlap.
    """

    def __init__(self, keys: KeysCollection, reference_key: str, plane: str = "axial") -> None:
        super().__init__(keys)
        self.reference_key = reference_key
        self.to_slices = ToSlices(plane)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Align."""
        result = dict(data)
        reference: MetaTensor = result[self.reference_key]
        name = self._name(result, self.reference_key)
        for key in self.keys:
            if result[key].ndim != reference.ndim:
                raise InputError(
                    f"{name} and {self._name(result, key)} do not fit, one is a picture, the other a volume: "
                    "pair two of a kind"
                )
        if reference.ndim == 3:
            return self._check_pictures(result, reference, name)
        return self._align_volumes(result, reference, name)

    def _check_pictures(self, result: dict[Hashable, Any], reference: MetaTensor, name: str) -> dict[Hashable, Any]:
        for key in self.keys:
            if result[key].shape[1:] != reference.shape[1:]:
                raise InputError(
                    f"{name} is {_size(reference)} pixels and {self._name(result, key)} {_size(result[key])}: "
                    "register them and bring them to one size first"
                )
            result[key] = result[key].clamp(0, 1)
        return result

    def _align_volumes(self, result: dict[Hashable, Any], reference: MetaTensor, name: str) -> dict[Hashable, Any]:
        in_plane = self.to_slices.plane == "in-plane"
        to_slices = ToSlices(plane_of_volume(reference.affine)) if in_plane else self.to_slices
        grid = to_slices(reference)
        everywhere = torch.ones(1, *grid.shape[1:], dtype=torch.bool)
        covered = everywhere
        for key in self.keys:
            moved, field = to_slices(result[key]), everywhere
            if not on_same_grid(moved, grid):
                moved, field = resample_onto(result[key], grid)
            if not field.any():
                raise InputError(
                    f"{self._name(result, key)} and {name} do not overlap in space: check that they are of one patient "
                    "and in one coordinate system, and register them"
                )
            result[key] = moved.clamp(0, 1)
            covered = covered & field
        if not covered.all():
            result["covered"] = covered
        result["grid_affine"] = reference.affine.clone()
        result["slice_affine"] = grid.affine.clone()
        return result

    @staticmethod
    def _name(data: Mapping[Hashable, Any], key: Hashable) -> str:
        return str(data[key].meta.get("filename_or_obj", key))
