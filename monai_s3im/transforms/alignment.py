"""Resample all sources onto one grid."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys
from torch.nn import functional

from monai_s3im.errors import InputError
from monai_s3im.settings import MAX_GIB, REFERENCES

from .ct_window import compress_
from .grid import finer_of, grid_with_spacing, parse_spacing
from .meta import like, with_meta
from .slices import ToSlices, plane_of_volume, reorder

_SAME_GRID_MM = 1e-3
_VOXELS_AT_ONCE = 2**22


def on_same_grid(image: MetaTensor, reference: MetaTensor) -> bool:
    """Whether two volumes have the same shape, with all corresponding voxels within 0.001 mm."""
    if image.shape[1:] != reference.shape[1:]:
        return False
    corners = np.array([[*corner, 1.0] for corner in product(*((0.0, extent - 1.0) for extent in image.shape[1:]))])
    shift = corners @ (np.asarray(image.affine.cpu()) - np.asarray(reference.affine.cpu())).T
    return bool(np.linalg.norm(shift[:, :3], axis=1).max() <= _SAME_GRID_MM)


def resample_onto(
    image: MetaTensor, reference: MetaTensor, device: str | torch.device = "cpu", mode: str = "bilinear"
) -> tuple[MetaTensor, torch.Tensor]:
    """Resample a volume onto another's grid by interpolation in mm.

    The field of view of a volume extends to the outer faces of its outermost voxels, half a voxel beyond their centres,
    with the value of the outermost voxel.

    Args:
        image: (C, X, Y, Z) with affine, RAS mm.
        reference: (C', X', Y', Z') with affine; only its grid is used.
        device: a CUDA device uses torch, the CPU uses ITK; the values differ by rounding.
        mode: ``"bilinear"`` (MONAI's word for linear, also in 3D) or ``"nearest"``.

    Returns:
        The volume (C, X', Y', Z'), float32, 0 outside its field of view, and a bool mask (1, X', Y', Z') of the voxels
        with their centre in its field of view.
    """
    if on_same_grid(image, reference):
        return image, _everywhere(reference)
    channels, covered = (_resample_by_torch if torch.device(device).type == "cuda" else _resample_by_itk)(
        image, reference, torch.device(device), mode
    )
    return like(channels, image, reference.affine.clone()), covered


def _resample_by_itk(
    image: MetaTensor, reference: MetaTensor, _device: torch.device, mode: str = "bilinear"
) -> tuple[torch.Tensor, torch.Tensor]:
    def resample_into(result: torch.Tensor, volume: torch.Tensor, interpolator: int) -> None:
        size, grid = tuple(reversed(reference.shape[1:])), itk_geometry(reference.affine)
        moved = sitk.Resample(itk_image(volume, image.affine), size, sitk.Transform(), interpolator, *grid, 0.0)
        np.copyto(result.numpy(), sitk.GetArrayViewFromImage(moved), casting="unsafe")

    channels = torch.empty(image.shape[0], *reference.shape[1:])
    for channel, volume in zip(channels, image.as_tensor().float().cpu(), strict=True):
        resample_into(channel, volume, sitk.sitkNearestNeighbor if mode == "nearest" else sitk.sitkLinear)
    covered = torch.empty(1, *reference.shape[1:], dtype=torch.bool)
    resample_into(covered[0], torch.ones(image.shape[1:], dtype=torch.uint8), sitk.sitkNearestNeighbor)
    return channels, covered


def _resample_by_torch(
    image: MetaTensor, reference: MetaTensor, device: torch.device, mode: str = "bilinear"
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same on another device, in blocks of rows; the results are on the CPU."""
    volume, extents = image.as_tensor().float().to(device)[None], image.shape[1:]
    to_image = torch.linalg.solve(image.affine.cpu().double(), reference.affine.cpu().double()).to(device)
    rows, *others = (torch.arange(extent, dtype=torch.float64, device=device) for extent in reference.shape[1:])
    channels = torch.empty(image.shape[0], *reference.shape[1:])
    covered = torch.empty(1, *reference.shape[1:], dtype=torch.bool)
    count = max(1, _VOXELS_AT_ONCE // (len(others[0]) * len(others[1])))
    for start in range(0, len(rows), count):
        axes = torch.meshgrid(rows[start : start + count], *others, indexing="ij")
        indices = [sum((to * at for to, at in zip(row, axes, strict=False)), row[3]) for row in to_image[:3]]
        pairs = list(zip(indices, extents, strict=True))
        inside = torch.stack([(at >= -0.5) & (at < extent - 0.5) for at, extent in pairs]).all(dim=0)
        places = torch.stack([2 * at / max(extent - 1, 1) - 1 for at, extent in reversed(pairs)], dim=-1).float()
        values = functional.grid_sample(volume, places[None], mode=mode, padding_mode="border", align_corners=True)[0]
        channels[:, start : start + count] = values * inside
        covered[0, start : start + count] = inside
    return channels, covered


def _everywhere(grid: MetaTensor) -> torch.Tensor:
    """A bool mask (1, X, Y, Z) of all voxels of a grid, sharing one memory cell."""
    return torch.ones(1, dtype=torch.bool).expand(1, *grid.shape[1:])


def itk_image(volume: torch.Tensor, affine: torch.Tensor) -> sitk.Image:
    """A volume (X, Y, Z) on the CPU with its affine (RAS mm) as an ITK image with Z as first axis, also in RAS mm."""
    itk = sitk.GetImageFromArray(volume.numpy())
    origin, spacing, direction = itk_geometry(affine)
    itk.SetOrigin(origin)
    itk.SetSpacing(spacing)
    itk.SetDirection(direction)
    return itk


def itk_geometry(affine: torch.Tensor) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing and direction of an array whose last axis is ITK's first; in RAS mm."""
    matrix = np.asarray(affine.cpu(), dtype=np.float64)[:3, [2, 1, 0, 3]]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    return matrix[:, 3].tolist(), spacing.tolist(), (matrix[:, :3] / spacing).ravel().tolist()


def _size(image: MetaTensor) -> str:
    return " x ".join(str(extent) for extent in reversed(image.shape[1:]))


class AlignSourcesd(MapTransform, InvertibleTransform):
    """Resample the sources onto the grid of the result, in slices of one plane, clipped to [0, 1].

    A source with ``meta["knee"]`` is compressed above it, see :func:`.ct_window.compress_`.

    Pictures must have the same size. For volumes the result is (C, rows, columns, slices); ``covered`` is added, a bool
    mask (sources, rows, columns, slices) of the voxels that each source covers, unless all cover everything; a source
    does not cover voxels where its ``meta["no_data"]`` is true. Also added are ``grid_affine`` and ``slice_affine``,
    the affine of the result's grid before and after reordering, and ``reference_key``, the key of the source with this
    grid.

    ``Invertd`` with one of the sources as ``orig_keys`` returns a result to this source's original grid: for the
    reference by reordering, without interpolation; for another source by resampling.

    Args:
        keys: sources, normalised; A, B and any others.
        reference: grid of the result: ``"a"``, ``"b"``, or ``"finer"``, that of the smaller voxels.
        spacing: voxel size in mm, one or three along the reference's array axes, as a number, a sequence or text such
            as ``"1x1x2"``: the result keeps the reference's axes and field of view.
        plane: see :class:`ToSlices`; ``"in-plane"`` is that of the reference.
        device: device for resampling, see :func:`resample_onto`.
        max_gib: maximum memory for a volume of that voxel size.

    Raises:
        InputError: if an argument is unusable, a picture is paired with a volume, pictures differ in size, or volumes
            do not overlap.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference: str = "a",
        spacing: str | float | Sequence[float] | None = None,
        plane: str = "axial",
        device: str | torch.device = "cpu",
        max_gib: float = MAX_GIB,
    ) -> None:
        super().__init__(keys)
        if reference not in REFERENCES:
            raise InputError(f"unknown reference {reference!r}: choose one of {', '.join(REFERENCES)}")
        self.reference = reference
        self.spacing = parse_spacing(spacing)
        self.to_slices = ToSlices(plane)
        self.device = torch.device(device)
        self.max_gib = max_gib

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Align."""
        result = {**data, **{key: with_meta(data[key]) for key in self.keys}}
        first = result[self.keys[0]]
        for key in self.keys:
            if result[key].ndim != first.ndim:
                raise InputError(
                    f"{self._name(result, self.keys[0])} and {self._name(result, key)} do not match, one is a picture, "
                    "the other a volume: pair two of the same kind"
                )
        return self._check_pictures(result) if first.ndim == 3 else self._align_volumes(result)

    def _check_pictures(self, result: dict[Hashable, Any]) -> dict[Hashable, Any]:
        first = self.keys[0]
        size = result[first].shape[1:]
        for key in self.keys:
            if result[key].shape[1:] != size:
                raise InputError(
                    f"{self._name(result, first)} is {_size(result[first])} pixels and {self._name(result, key)} "
                    f"{_size(result[key])}: register them and make them the same size first, as docs/faq.md shows"
                )
            result[key] = result[key].clamp(0, 1)
        return result

    def _align_volumes(self, result: dict[Hashable, Any]) -> dict[Hashable, Any]:
        volumes = [result[key] for key in self.keys]
        chosen = finer_of(volumes) if self.reference == "finer" else REFERENCES.index(self.reference)
        reference = grid_with_spacing(volumes[chosen], self.spacing, self.max_gib) if self.spacing else volumes[chosen]
        in_plane = self.to_slices.plane == "in-plane"
        to_slices = ToSlices(plane_of_volume(reference.affine)) if in_plane else self.to_slices
        grid = to_slices.grid(reference)
        fields = [_everywhere(grid)] * len(volumes)
        is_there = [on_same_grid(to_slices.grid(volume), grid) for volume in volumes]
        for index in sorted(range(len(volumes)), key=is_there.__getitem__):  # resampling first: most memory
            key, volume = self.keys[index], volumes[index]
            if is_there[index]:
                moved, field = to_slices(volume), fields[index]
            else:
                moved, field = resample_onto(volume, grid, self.device)
            if (no_data := volume.meta.get("no_data")) is not None:
                field = field & ~self._resampled_mask(MetaTensor(no_data, affine=volume.affine), grid, to_slices)
                moved.meta.pop("no_data", None)
            if not field.any():
                raise InputError(
                    f"{self._name(result, key)} and {self._name(result, self.keys[chosen])} do not overlap in space: "
                    "check that they show one patient in one coordinate system, and register them"
                )
            moved.as_tensor().clamp_(0, 1)  # in its own memory
            if (knee := moved.meta.pop("knee", None)) is not None:  # after resampling, which is linear in HU
                compress_(moved.as_tensor(), knee)
            result[key] = self._traced(moved, volume, is_resampled=not is_there[index])
            fields[index] = field
        if not all(field.all() for field in fields):
            result["covered"] = torch.cat(fields)
        result["grid_affine"] = reference.affine.cpu().numpy().copy()
        result["slice_affine"] = grid.affine.cpu().numpy().copy()
        result["reference_key"] = str(self.keys[chosen])
        return result

    def _traced(self, moved: MetaTensor, volume: MetaTensor, is_resampled: bool) -> MetaTensor:
        way = {"affine": volume.affine.clone(), "is_resampled": is_resampled, "mode": "bilinear"}
        traced: MetaTensor = self.push_transform(moved, orig_size=tuple(volume.shape[1:]), extra_info=way)
        return traced

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the alignment, for sources and for results that carry its trace."""
        result = dict(data)
        for key, image in data.items():
            if isinstance(image, MetaTensor) and any(map(self._transforms_match, image.applied_operations)):
                result[key] = self._inverted(like(image.as_tensor(), image))
        return result

    def _inverted(self, image: MetaTensor) -> MetaTensor:
        trace = self.pop_transform(image)
        way, size = trace[TraceKeys.EXTRA_INFO], trace[TraceKeys.ORIG_SIZE]
        affine = torch.as_tensor(way["affine"]).cpu().double()
        if way["is_resampled"]:
            grid = like(torch.zeros(1).expand(1, *map(int, size)), image, affine)
            return resample_onto(image, grid, self.device, str(way["mode"]))[0]
        axes = torch.linalg.solve(affine, image.affine.cpu().double())[:3, :3].round()  # (array, slices)
        return like(reorder(image.as_tensor(), axes), image, affine)

    def _resampled_mask(self, mask: MetaTensor, grid: MetaTensor, to_slices: ToSlices) -> torch.Tensor:
        """A bool mask (1, X, Y, Z) on the grid of the slices; voxels at least half inside belong to it."""
        if on_same_grid(to_slices.grid(mask), grid):
            return to_slices(mask).as_tensor()
        values = MetaTensor(mask.as_tensor().float(), affine=mask.affine)
        return resample_onto(values, grid, self.device)[0].as_tensor() >= 0.5

    @staticmethod
    def _name(data: Mapping[Hashable, Any], key: Hashable) -> str:
        return str(data[key].meta.get("filename_or_obj", key))
