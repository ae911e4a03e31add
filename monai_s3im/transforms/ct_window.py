"""Choose the window of a CT by its content: the brain window for a head, the soft-tissue window for anything else.

Below, "tissue" is denser than -500 HU, "lung" is -950 to -500 HU, "fat" -150 to -30 HU. A head is recognised by its
cranial cavity: brain, which contains no fat, in a ring of bone in the axial slices. No other body part has such a ring
around so much of its volume. All measurements use blocks of about 3 mm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch.nn import functional

Mask = NDArray[np.bool_]

_BLOCK_MM = 3.0
_TISSUE_HU, _BONE_HU = -500.0, 150.0  # bone in blocks that include some brain
_LUNG_HU, _FAT_HU, _BRAIN_HU = (-950.0, -500.0), (-150.0, -30.0), (0.0, 100.0)
_CUT_OFF = 0.25  # share of tissue along the border of a slice, above which lung may also be cut off
_TABLE_MM, _SUTURE_MM, _AIRWAY_MM = 4.0, 6.0, 6.0  # thinner structures are removed, closed, removed
_LEAST_CAVITY_CM2 = 15.0  # a sinus or a spinal canal is smaller
_LEAST_CAVITY = 0.15  # of the body shown; measured: 0.2 to 0.5 in a head, 0.12 in jaw and skull base, 0 in a body
_LARGEST_HEAD_CM2 = 450.0  # usual: 200 to 300
_LUNG_OF_A_HEAD = 0.05  # at most, if the header says head: sinuses and mastoid cells
_LARGEST_BRAIN_ML = 2500.0
_FAT_OF_BRAIN, _BONE_OF_BRAIN, _LUNG_OF_BRAIN = 0.05, 0.02, 0.01  # at most, of a brain without its skull


@dataclass(frozen=True)
class CTContent:
    """The content of a CT.

    Attributes:
        region: ``"head"`` or ``"body"``.
        window: the window for it, a name of :data:`monai_s3im.modalities.CT_WINDOWS`.
        area_cm2: cross-section of the body in axial slices, the 90th percentile.
        length_mm: length of the body in the field of view, along its long axis.
        brain: share of the body inside a cranial cavity, 0 to 1.
        lung: share of the body that is lung, 0 to 1.
        fat: share of the body that is fat, 0 to 1.
        named: the region named by the header, if any.
    """

    region: str
    window: str
    area_cm2: float
    length_mm: float
    brain: float
    lung: float
    fat: float
    named: str | None = None

    def __str__(self) -> str:
        """In words, for a log."""
        shares = ", ".join(f"{100 * getattr(self, name):.0f} % {name}" for name in ("brain", "lung", "fat"))
        header = "" if self.named is None else f"; its header says {self.named}"
        return f"{self.region} ({self.area_cm2:.0f} cm² across, {self.length_mm:.0f} mm long, {shares}{header})"


def compress_(values: torch.Tensor, knee: float) -> torch.Tensor:
    """Keep values below a knee linear, and compress those above it, in place.

    With ``t = values / knee``, ``u(t) = t / 2`` up to 1 and ``1 - 1 / (2 t)`` above: both meet at 1/2 with slope 1/2,
    so the window takes the lower half and everything above it the upper half. The result is ``u(t) / u(1 / knee)``.

    Args:
        values: any shape, in [0, 1]; modified.
        knee: in (0, 1).

    Returns:
        The same tensor, in [0, 1], 0 where it was 0, 1 where it was 1.
    """
    t = values.div_(knee)
    beyond = t > 1
    compressed = 1 - 0.5 / t[beyond]
    t.mul_(0.5)
    t[beyond] = compressed
    return t.div_(1 - 0.5 * knee)


def ct_content(
    volume: torch.Tensor | NDArray[np.number], spacing: Sequence[float] | None = None, named: str | None = None
) -> CTContent:
    """Determine the content of a CT volume, and the window for it.

    The body is the largest connected piece of tissue, without the table, and everything it encloses. Padding (-2000,
    -3024) counts as air. The header decides only if the content does not: if it says head for a volume without cranial
    cavity, lung or the cross-section of a trunk, or body for soft tissue without a skull.

    Args:
        volume: (X, Y, Z) or (1, X, Y, Z) in HU.
        spacing: voxel size in mm along X, Y, Z, Z being the long axis of the body; None: both from the affine (RAS mm)
            of a MetaTensor.
        named: ``"head"`` or ``"body"``, if a header says so, see :func:`monai_s3im.modalities.region_named`.

    Returns:
        The content; for a volume without tissue, an empty body.

    Raises:
        ValueError: if the volume has another shape, or neither a spacing nor an affine is given.
    """
    tensor = volume.as_tensor() if isinstance(volume, MetaTensor) else torch.as_tensor(volume)
    tensor = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if tensor.ndim != 3:
        raise ValueError(f"a CT volume has the shape (X, Y, Z) or (1, X, Y, Z), got {tuple(volume.shape)}")
    if spacing is None:
        if not isinstance(volume, MetaTensor):
            raise ValueError("a volume without an affine needs its spacing in mm")
        affine = volume.affine.detach().cpu().numpy()
        spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
        long_axis = int(np.argmax(nib.io_orientation(affine)[:, 0] == 2))
        order = [*(axis for axis in range(3) if axis != long_axis), long_axis]
        tensor, spacing = tensor.permute(order), [spacing[axis] for axis in order]
    blocks, size = _blocks(tensor, spacing)
    return _content(blocks, size, named)


def _blocks(volume: torch.Tensor, spacing: Sequence[float]) -> tuple[NDArray[np.float32], list[float]]:
    """Means of blocks of about 3 mm, (Z, Y, X) from -1000 HU up, and their size in mm along X, Y, Z."""
    counts = [max(1, min(extent, round(_BLOCK_MM / step))) for extent, step in zip(volume.shape, spacing, strict=True)]
    slabs = [
        functional.avg_pool3d(slab.detach().cpu().float().clamp(-1000.0, 3000.0)[None], counts)[0, ..., 0].T
        for slab in volume.split(counts[2], dim=2)
        if slab.shape[2] == counts[2]
    ]
    return torch.stack(slabs).numpy(), [count * step for count, step in zip(counts, spacing, strict=True)]


def _content(hu: NDArray[np.float32], size: Sequence[float], named: str | None) -> CTContent:
    body = _body(hu, size)
    if not body.any():
        return CTContent("body", "soft_tissue", 0.0, 0.0, 0.0, 0.0, 0.0, named)
    volume = int(body.sum())
    areas = body.sum(axis=(1, 2)) * size[0] * size[1] / 100
    area = float(np.percentile(areas[areas > 0], 90))
    lung = int(_opened(body & _within(hu, _LUNG_HU), _AIRWAY_MM, size).sum()) / volume
    fat = int((body & _within(hu, _FAT_HU)).sum()) / volume
    bone = body & (hu > _BONE_HU)
    cavity = int(_cranial_cavity(hu, bone, size).sum()) / volume
    is_skull = cavity >= _LEAST_CAVITY and area <= _LARGEST_HEAD_CM2
    cut_off = float(np.mean([_border(piece).mean() for piece in body if piece.any()]))
    is_bare_brain = (
        volume * math.prod(size) / 1000 <= _LARGEST_BRAIN_ML
        and fat <= _FAT_OF_BRAIN
        and lung <= _LUNG_OF_BRAIN
        and int(bone.sum()) <= _BONE_OF_BRAIN * volume
        and cut_off <= _CUT_OFF
        and _BRAIN_HU[0] < float(np.median(hu[body])) < _BRAIN_HU[1]
    )
    is_trunk = lung > _LUNG_OF_A_HEAD or area > _LARGEST_HEAD_CM2
    is_head = is_skull or (is_bare_brain and named != "body") or (named == "head" and not is_trunk)
    region, window = ("head", "brain") if is_head else ("body", "soft_tissue")
    length = float((areas > 0).sum() * size[2])
    return CTContent(region, window, area, length, cavity, lung, fat, named)


def _body(hu: NDArray[np.float32], size: Sequence[float]) -> Mask:
    """The largest piece of tissue, with everything it encloses in each slice and lung cut off by the field of view."""
    pieces = _labels(_opened(hu > _TISSUE_HU, _TABLE_MM, size))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body: Mask = (pieces == sizes.argmax()) & (pieces > 0)
    for index, values in enumerate(hu):
        piece = body[index]
        if piece.any():
            labels = _labels(~piece)
            border = _border(labels)
            outside = np.unique(border[border > 0])
            if (border == 0).mean() >= _CUT_OFF:
                means = np.bincount(labels.ravel(), values.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
                outside = outside[means[outside] < _LUNG_HU[0]]
            body[index] = piece | ~np.isin(labels, outside)
    return body


def _cranial_cavity(hu: NDArray[np.float32], bone: Mask, size: Sequence[float]) -> Mask:
    """Voxels inside rings of bone in each slice with the density of brain."""
    rings = ~_grown(~_grown(bone, _SUTURE_MM, size), _SUTURE_MM, size)
    cavity = np.zeros_like(rings)
    for index, (ring, values) in enumerate(zip(rings, hu, strict=True)):
        if not ring.any():
            continue
        labels = _labels(~ring)
        border = np.unique(_border(labels))
        counts = np.bincount(labels.ravel())
        fat = np.bincount(labels.ravel(), _within(values, _FAT_HU).ravel())
        means = np.bincount(labels.ravel(), values.ravel()) / np.maximum(counts, 1)
        for label in np.flatnonzero(counts * size[0] * size[1] >= 100 * _LEAST_CAVITY_CM2):
            is_brain = _BRAIN_HU[0] <= means[label] <= _BRAIN_HU[1] and fat[label] <= _FAT_OF_BRAIN * counts[label]
            if label and label not in border and is_brain:
                cavity[index] |= labels == label
    return cavity


def _within(hu: NDArray[np.float32], limits: tuple[float, float]) -> Mask:
    return (hu >= limits[0]) & (hu <= limits[1])


def _labels(mask: Mask) -> NDArray[np.uint32]:
    """The connected pieces of a slice or of all slices, numbered from 1; 0 elsewhere."""
    components = sitk.ConnectedComponentImageFilter()
    components.SetNumberOfThreads(1)  # slower with more, for a slice
    labels: NDArray[np.uint32] = sitk.GetArrayFromImage(components.Execute(sitk.GetImageFromArray(mask.view(np.uint8))))
    return labels


def _border(values: NDArray[Any]) -> NDArray[Any]:
    """The values along the four sides of a slice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _opened(mask: Mask, thickness_mm: float, size: Sequence[float]) -> Mask:
    """Remove structures thinner than about twice that in the slice."""
    return _grown(~_grown(~mask, thickness_mm, size), thickness_mm, size)


def _grown(mask: Mask, millimetres: float, size: Sequence[float]) -> Mask:
    """Grow by that on each side in the slice."""
    radii = [round(millimetres / step) for step in (size[1], size[0])]
    slices = torch.from_numpy(mask).float()[:, None]
    grown = functional.max_pool2d(slices, [2 * radius + 1 for radius in radii], stride=1, padding=radii)
    result: Mask = grown[:, 0].numpy() > 0
    return result
