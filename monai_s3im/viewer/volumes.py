"""Volumes for the viewer, small enough to be part of a page."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch.nn.functional import interpolate

_RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_FEWEST_VOXELS = 1000


@dataclass(frozen=True)
class ViewerVolume:
    """A volume for the viewer.

    Attributes:
        base64: gzipped NIfTI of uint8 or RGB24, in base64.
        voxel_mm: its voxel size in mm along each axis.
        is_reduced: whether it is coarser than the original volume.
    """

    base64: str
    voxel_mm: tuple[float, float, float]
    is_reduced: bool


def viewer_volume(
    volume: MetaTensor, most_bytes: int, intensity_range: tuple[float, float] = (0.0, 1.0)
) -> ViewerVolume:
    """Make a volume small enough: 8 bit, with larger voxels if needed.

    Args:
        volume: (1 or 3, X, Y, Z) in [0, 1], with affine.
        most_bytes: largest size of its base64.
        intensity_range: the values that became 0 and 1, with which the viewer shows values in their unit; not for
            colour.
    """
    own_mm = _voxel_mm(volume)
    voxels = min(volume[0].numel(), 4 * most_bytes // volume.shape[0])
    while True:
        smaller = _resized(volume, _shape_of(volume.shape[1:], own_mm, voxels))
        text = base64.b64encode(_nifti(smaller, intensity_range)).decode()
        if len(text) <= most_bytes or voxels <= _FEWEST_VOXELS:
            break
        voxels = min(int(smaller[0].numel() * 0.95 * most_bytes / len(text)), voxels - 1)
    x, y, z = _voxel_mm(smaller).tolist()
    return ViewerVolume(text, (x, y, z), smaller.shape != volume.shape)


def _voxel_mm(volume: MetaTensor) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = np.linalg.norm(volume.affine.cpu().double().numpy()[:3, :3], axis=0)
    return sizes


def _shape_of(shape: Sequence[int], voxel_mm: NDArray[np.float64], voxels: int) -> list[int]:
    """A shape of at most that many voxels, if possible; the finest axes are coarsened first."""
    extent_mm = np.array(shape) * voxel_mm
    finest, coarsest = 0.0, float(extent_mm.max())
    for _ in range(40):  # bisect for the finest allowed voxel size in mm
        middle = (finest + coarsest) / 2
        fits = np.minimum(shape, np.ceil(extent_mm / middle)).prod() <= voxels
        finest, coarsest = (finest, middle) if fits else (middle, coarsest)
    smaller: list[int] = np.minimum(shape, np.ceil(extent_mm / coarsest)).astype(int).tolist()
    return smaller


def _resized(volume: MetaTensor, shape: Sequence[int]) -> MetaTensor:
    """The same field of view in fewer voxels, by averaging."""
    affine = volume.affine.cpu().double()
    ratio = torch.tensor(volume.shape[1:]).double() / torch.tensor(shape)
    to_old = torch.diag(torch.cat([ratio, torch.ones(1)]))
    to_old[:3, 3] = (ratio - 1) / 2
    content = interpolate(volume.as_tensor()[None].float(), size=list(shape), mode="area")[0]
    return MetaTensor(content, affine=affine @ to_old)


def _nifti(volume: MetaTensor, intensity_range: tuple[float, float]) -> bytes:
    """A gzipped 8-bit NIfTI, the same bytes on every run."""
    levels = (255 * volume.as_tensor().clamp(0, 1)).round().to(torch.uint8).movedim(0, -1).contiguous().numpy()
    voxels = levels[..., 0] if levels.shape[-1] == 1 else levels.view(_RGB24)[..., 0]
    image = nib.Nifti1Image(voxels, volume.affine.cpu().numpy())
    if levels.shape[-1] == 1:
        lower, upper = intensity_range
        image.header.set_slope_inter((upper - lower) / 255, lower)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 4, mtime=0)
