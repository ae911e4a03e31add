"""Volumes with lesions at known places: phantom heads with painted lesions, and real volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from torch import Tensor

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image
from monai_s3im.pairs.lists import Pair
from monai_s3im.phantom import HeadPhantom, head_phantom
from monai_s3im.phantom.canvas import TISSUES
from monai_s3im.phantom.imaging import FWHM_MM

from .lesions import ring_of

PHANTOM_PAIRS = (
    ("t1", "ct"),
    ("t2", "ct"),
    ("t1", "t2"),
    ("t1", "pet"),
    ("t1", "spect"),
    ("t2", "pet"),
    ("t2", "spect"),
    ("ct", "pet"),
    ("ct", "spect"),
)
TITLES = {"t1": "T1", "t2": "T2", "ct": "CT", "pet": "PET", "spect": "SPECT"}
_MODALITIES = {"t1": "mr", "t2": "mr"}
_OWN = ("haemorrhage", "tumour", "oedema")
_BRAIN = ("grey matter", "white matter", "deep nuclei")
_SIZES_MM = {"small": (2.0, 5.0), "medium": (6.0, 12.0), "large": (13.0, 30.0)}
_CONTRASTS = (1.2, 6.0)
_APART_MM = 8.0  # between painted lesions, to keep each out of the others' rings
_TRIES = 60
_IN_BRAIN = 0.9  # part of a painted lesion
_LEAST_RING = 50  # voxels


@dataclass(frozen=True)
class LesionCase:
    """Two registered sources and the masks of their lesions.

    Attributes:
        name: name of the case, such as ``"head 3"``.
        pair: such as ``"T1 + CT"``.
        images: A and B as :func:`monai_s3im.fuse` takes them.
        modalities: of A and B.
        lesions: kind of lesion -> masks, bool (X, Y, Z) on A's grid.
        tissue: bool (X, Y, Z), the healthy brain.
    """

    name: str
    pair: str
    images: tuple[MetaTensor, MetaTensor]
    modalities: tuple[str | None, str | None]
    lesions: dict[str, list[Tensor]]
    tissue: Tensor


def phantom_cases(
    heads: int,
    seed: int = 0,
    pairs: Sequence[tuple[str, str]] = PHANTOM_PAIRS,
    shape: tuple[int, int, int] = (160, 192, 128),
    spacing_mm: tuple[float, float, float] = (1.2, 1.2, 1.5),
) -> Iterator[LesionCase]:
    """Phantom heads in pairs of modalities, with their built-in lesions and painted ones.

    A head has a tumour with oedema, a haemorrhage, or both. Six more lesions are painted into each pair: a small (2 to
    5 mm), a medium (6 to 12) and a large one (13 to 30) in each source, brighter or darker, with a contrast of 1.2 to 6
    there. The other source does not show them. A small lesion of an emission image is as wide as the image's resolution
    (5 mm in PET, 9 in SPECT). Their places in the brain are random, including tissue borders.

    Args:
        heads: how many.
        seed: seed of the first head; the others use the following ones.
        pairs: names of the phantom's volumes.
        shape: shape of the heads, voxels.
        spacing_mm: size of the voxels.

    Yields:
        A case for each head and pair.

    Raises:
        InputError: if a phantom cannot be made.
    """
    needed = sorted({name for pair in pairs for name in pair})
    for number in range(seed, seed + heads):
        head = head_phantom(shape, spacing_mm, number, modalities=needed)
        for index, (a, b) in enumerate(pairs):
            random = np.random.default_rng([number, index])
            yield _phantom_case(head, f"head {number}", (a, b), spacing_mm, random)


def volume_cases(pairs: Sequence[Pair], mask: Path) -> Iterator[LesionCase]:
    """Real volumes with the mask of a lesion.

    Tissue is where A is above the 35th percentile of its positive voxels. In brain-extracted MR this is the brain
    without most of the fluid.

    Args:
        pairs: pairs of registered volumes.
        mask: a volume above 0 in the lesion, in the same position, on any grid.

    Raises:
        InputError: a file cannot be read or is not a volume, or the mask is empty within the volume.
    """
    lesion_image = read_image(mask)
    for pair in pairs:
        images = (read_image(pair.image_a), read_image(pair.image_b))
        for file, image in zip((pair.image_a, pair.image_b, mask), (*images, lesion_image), strict=True):
            if image.ndim != 4:
                raise InputError(f"{file} is not a volume: give volumes and the mask of a lesion in them")
        reference = images[0]
        on_grid = SpatialResample(mode="nearest", padding_mode="zeros")(
            lesion_image[:1].float(), reference.affine, reference.shape[1:]
        )
        lesion = on_grid.as_tensor()[0] > 0
        if not lesion.any():
            raise InputError(f"{mask} has no lesion within {pair.image_a}: give the mask of a lesion that is in it")
        values = reference.as_tensor()[0].float()
        inside = values[values > 0].double().numpy()
        tissue = values > float(np.percentile(inside, 35)) if inside.size else values > 0
        yield LesionCase(
            pair.name, pair.name, images, (pair.modality_a, pair.modality_b), {"masked": [lesion]}, tissue & ~lesion
        )


def _phantom_case(
    head: HeadPhantom,
    name: str,
    pair: tuple[str, str],
    spacing_mm: tuple[float, float, float],
    random: np.random.Generator,
) -> LesionCase:
    labels = head.volumes["labels"].as_tensor()[0]
    healthy = torch.isin(labels, torch.tensor([TISSUES[tissue].label for tissue in _BRAIN], dtype=labels.dtype))
    lesions = {kind: [mask] for kind in _OWN if (mask := labels == TISSUES[kind].label).any()}
    images = tuple(head.volumes[modality].clone() for modality in pair)
    free = healthy.clone()
    for modality, image in zip(pair, images, strict=True):
        for size, (low, high) in _SIZES_MM.items():
            width = max(random.uniform(low, high), FWHM_MM[modality] if modality in ("pet", "spect") else 0.0)
            made = _painted(image, free, width, spacing_mm, random)
            if made is None:
                continue
            lesion, around = made
            free &= ~around
            lesions.setdefault(f"{size}, in {TITLES[modality]} alone", []).append(lesion)
    painted = [mask for kind, masks in lesions.items() if kind not in _OWN for mask in masks]
    for mask in painted:
        healthy &= ~mask
    title = " + ".join(TITLES[modality] for modality in pair)
    modalities = (_MODALITIES.get(pair[0], pair[0]), _MODALITIES.get(pair[1], pair[1]))
    return LesionCase(name, title, (images[0], images[1]), modalities, lesions, healthy)


def _painted(
    image: MetaTensor,
    free: Tensor,
    width_mm: float,
    spacing_mm: tuple[float, float, float],
    random: np.random.Generator,
) -> tuple[Tensor, Tensor] | None:
    """Paint a lesion into an image where there is room; return its mask and the mask to keep free.

    The added step gives the lesion the drawn contrast in this image.
    """
    values = image.as_tensor()[0]
    places = free.nonzero()
    shape = random.uniform(0.75, 1.0, 3)
    shape[random.integers(3)] = 1.0
    reach = [int(np.ceil((width_mm / 2 + _APART_MM) / step)) for step in spacing_mm]
    for _ in range(_TRIES):
        centre = places[random.integers(len(places))].tolist()
        part = tuple(slice(max(0, at - r), at + r + 1) for at, r in zip(centre, reach, strict=True))
        relative = torch.zeros(())
        for dim, (at, step) in enumerate(zip(centre, spacing_mm, strict=True)):
            along = (torch.arange(free.shape[dim], dtype=torch.float32)[part[dim]] - at) * step
            relative = relative + (along / (width_mm / 2 * float(shape[dim]))).square().view(_along(dim))
        distance = (relative.sqrt() - 1) * (width_mm / 2)  # about, in mm
        inside, beside = distance <= 0, ring_of(distance <= 0, free[part])
        if float((free[part] & inside).sum()) < _IN_BRAIN * float(inside.sum()) or int(beside.sum()) < _LEAST_RING:
            continue
        first, second = values[part][inside].double(), values[part][beside].double()
        spread = float(((first.var(correction=0) + second.var(correction=0)) / 2).sqrt())
        wanted = random.choice([-1.0, 1.0]) * random.uniform(*_CONTRASTS) * spread
        step = wanted - float(first.mean() - second.mean())
        values[part] += step * (0.5 - distance / float(np.mean(spacing_mm))).clamp(0, 1)
        lesion, around = torch.zeros_like(free), torch.zeros_like(free)
        lesion[part], around[part] = inside, distance <= _APART_MM
        return lesion, around
    return None


def _along(dim: int) -> list[int]:
    return [-1 if dim == other else 1 for other in range(3)]
