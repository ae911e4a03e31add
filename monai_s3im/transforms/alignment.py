"""Both sources on one grid, in slices along an anatomical plane, and back to the reference's own grid."""

from collections.abc import Hashable, Mapping
from typing import Any

import nibabel as nib
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation, Randomizable, SpatialResample, Transform

from monai_s3im.errors import InputError

PLANES = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPL"}
"""Axis codes of the slice layout: rows run to the first letter, columns to the second, slices to the third.

Axial and coronal slices have the patient's right on the left side of the picture, as radiologists look at them.
"""

_SAME_GRID_MM = 1e-4


def _name(image: MetaTensor) -> str:
    return str(image.meta.get("filename_or_obj", "a source without a file"))


def _size(image: MetaTensor) -> str:
    return " x ".join(str(extent) for extent in image.shape[1:])


def plane_of_volume(affine: torch.Tensor) -> str:
    """The anatomical plane that a volume was stored in: that of its first two array axes.

    Args:
        affine: (4, 4), voxel index to RAS mm.
    """
    third = nib.aff2axcodes(affine.numpy())[2]
    return {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}[third]


class ToSlices(Transform):
    """Reorder a volume's axes into slices of a plane: (C, rows, columns, slices). A permutation, nothing is resampled.

    Args:
        plane: ``"axial"``, ``"coronal"``, ``"sagittal"``, or ``"in-plane"`` for the plane that the volume is stored in.

    Raises:
        ValueError: if the plane is unknown.
    """

    def __init__(self, plane: str = "axial") -> None:
        if plane not in PLANES and plane != "in-plane":
            raise ValueError(f"unknown plane {plane!r}; choose one of {', '.join(PLANES)}, in-plane")
        self.plane = plane

    def __call__(self, volume: MetaTensor) -> MetaTensor:
        """Reorder (C, X, Y, Z) with its affine into slices."""
        plane = plane_of_volume(volume.affine) if self.plane == "in-plane" else self.plane
        reordered: MetaTensor = Orientation(axcodes=PLANES[plane], labels=None)(volume)
        reordered.applied_operations = []
        return reordered


def on_same_grid(image: MetaTensor, reference: MetaTensor) -> bool:
    """Whether two volumes have the same shape and, to 1e-4 mm, the same affine."""
    return image.shape[1:] == reference.shape[1:] and torch.allclose(
        image.affine, reference.affine, rtol=0, atol=_SAME_GRID_MM
    )


def resample_onto(image: MetaTensor, reference: MetaTensor) -> tuple[MetaTensor, torch.Tensor]:
    """Bring a volume onto another's grid by linear interpolation.

    Args:
        image: (C, X, Y, Z) with affine, RAS mm.
        reference: (C', X', Y', Z') with affine; only its grid counts.

    Returns:
        The volume (C, X', Y', Z'), 0 outside its field of view, and a bool mask (1, X', Y', Z') of where it has voxels
        (up to half a voxel beyond the centres of its outermost ones).
    """
    resample = SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False, dtype=torch.float64)
    stacked = MetaTensor(torch.cat([image.as_tensor(), torch.ones(1, *image.shape[1:])]), affine=image.affine)
    moved = resample(stacked, dst_affine=reference.affine, spatial_size=reference.shape[1:]).as_tensor()
    weight = moved[-1:]
    covered = weight >= 0.5 - 1e-6
    values = torch.where(covered, moved[:-1] / weight.clamp_min(0.25), 0.0).to(image.dtype)
    return MetaTensor(values, meta={**image.meta, "affine": reference.affine}), covered


class AlignSourcesd(MapTransform):
    """Bring the sources onto the reference's grid, in slices of one plane, clipped to [0, 1].

    Pictures must have one size. For volumes the result is (C, rows, columns, slices); ``covered`` is added, a bool mask
    of the voxels that every source covers, where not all do; and ``grid_affine`` and ``slice_affine``, the reference's
    affine before and after reordering.

    Args:
        keys: sources, normalised.
        reference_key: the source whose grid is kept.
        plane: see :class:`ToSlices`.

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
        for key in self.keys:
            if result[key].ndim != reference.ndim:
                raise InputError(
                    f"{_name(reference)} and {_name(result[key])} do not fit: one is a picture, the other a volume; "
                    "give two of a kind"
                )
        if reference.ndim == 3:
            return self._check_pictures(result, reference)
        result["grid_affine"] = reference.affine.clone()
        slices = self.to_slices(reference)
        result["slice_affine"] = slices.affine.clone()
        result[self.reference_key] = slices.clamp(0, 1)
        masks = []
        for key in self.keys:
            if key == self.reference_key:
                continue
            if on_same_grid(result[key], reference):
                result[key] = self.to_slices(result[key]).clamp(0, 1)
                continue
            moved, covered = resample_onto(result[key], slices)
            if not covered.any():
                raise InputError(
                    f"{_name(result[key])} and {_name(reference)} do not overlap in space: are they of one patient and "
                    "in one coordinate system? Register them first"
                )
            result[key] = moved.clamp(0, 1)
            masks.append(covered)
        if masks and not all(bool(mask.all()) for mask in masks):
            result["covered"] = torch.stack(masks).all(0)
        return result

    def _check_pictures(self, result: dict[Hashable, Any], reference: MetaTensor) -> dict[Hashable, Any]:
        for key in self.keys:
            if result[key].shape[1:] != reference.shape[1:]:
                raise InputError(
                    f"{_name(reference)} is {_size(reference)} pixels and {_name(result[key])} is "
                    f"{_size(result[key])}: register them and bring them to one size first"
                )
            result[key] = result[key].clamp(0, 1)
        return result


class RestoreGridd(MapTransform):
    """Bring slices back into the array order and affine of the reference; pictures stay.

    Args:
        keys: images in the layout of :class:`AlignSourcesd`, (C, rows, columns, slices).
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore."""
        result = dict(data)
        if "grid_affine" not in result:
            return result
        affine = torch.as_tensor(result["grid_affine"]).cpu()
        axcodes = "".join(nib.aff2axcodes(affine.numpy()))
        for key in self.keys:
            slices = MetaTensor(result[key], meta={"affine": torch.as_tensor(result["slice_affine"]).cpu()})
            restored: MetaTensor = Orientation(axcodes=axcodes, labels=None)(slices)
            restored.affine = affine
            result[key] = restored
        return result


class RandSliced(Randomizable, MapTransform):
    """Take one slice of a volume, (C, H, W, D) to (C, H, W); a picture stays as it is.

    The slice is drawn from those with content, or, with ``random=False``, is the middle one.

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
            result[key] = result[key].as_tensor()[..., index].contiguous()
        return result
