"""The imaging of the head phantom: one seeded head in CT, T1, T2, SPECT and PET.

Tissue values before blur and noise. They are typical values from general knowledge, not measured by a scanner: CT in
HU, MR in arbitrary units of at most 1000 (T1- and T2-weighted at 1.5 to 3 T), uptake relative to white matter (SPECT as
a perfusion tracer, PET as FDG).

| tissue        |    CT |   T1 |  T2 | SPECT | PET | | tissue        |   CT |  T1 |  T2 | SPECT | PET |
|---------------|------:|-----:|----:|------:|----:|-|---------------|-----:|----:|----:|------:|----:|
| air           | -1000 |    0 |   0 |   0   | 0   | | white matter  |   28 | 800 | 400 |   1   | 1   |
| skin          |    60 |  450 | 300 |   0.5 | 0.5 | | deep nuclei   |   38 | 610 | 460 |   4   | 4   |
| fat           |   -90 | 1000 | 550 |   0.2 | 0.2 | | vitreous      |   10 | 160 | 950 |   0   | 0   |
| muscle        |    55 |  380 | 220 |   0.5 | 0.6 | | dura          |   60 | 450 | 250 |   0.5 | 0.5 |
| cortical bone |  1300 |   40 |  30 |   0.1 | 0.1 | | oedema        |   20 | 550 | 780 |   0.6 | 0.7 |
| diploe        |   650 |  500 | 220 |   0.3 | 0.3 | | tumour        |   42 | 450 | 700 |   1   | 7   |
| petrous bone  |  1600 |   40 |  30 |   0.1 | 0.1 | | haemorrhage   |   65 | 720 | 280 |   0   | 0   |
| CSF           |     5 |  140 |1000 |   0.1 | 0.1 | | calcification |  300 | 200 |  80 |   0.1 | 0.1 |
| grey matter   |    38 |  540 | 580 |   4   | 4   | | table         |  300 |   0 |   0 |   0   | 0   |

Imaging: CT blur 1.5 mm FWHM and noise of 4 HU; MR blur 1.5 mm, a bias field of up to about 20 % and Rician noise of
20 units; SPECT 9 mm and PET 5 mm FWHM after Poisson counts. Volumes are float32 (1, X, Y, Z) in RAS mm. A seed is one
head: the same on every grid, and bit for bit the same on one grid, one machine and one version of torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from monai_s3im.errors import InputError

from .anatomy import paint_head
from .canvas import Canvas, Points
from .subject import Subject, draw_subject

Imaging = Callable[[Tensor, str, tuple[float, ...], torch.Generator], Tensor]

CENTRE_MM = (0.0, -2.0, -10.0)  # of the field of view
SLAB_VOXELS = 200_000
MR_UNITS = 1000.0
MR_NOISE = 20.0
CT_NOISE_HU = 4.0
FWHM_MM = {"ct": 1.5, "t1": 1.5, "t2": 1.5, "spect": 9.0, "pet": 5.0}
COUNTS_PER_ML = {"spect": 150.0, "pet": 1000.0}  # of white matter


@dataclass(frozen=True)
class HeadPhantom:
    """One head in five modalities.

    Args:
        volumes: "ct" (HU), "t1", "t2", "spect", "pet" as float32 and "labels" as uint8 (`phantom.canvas.TISSUES`),
            each a MetaTensor (1, X, Y, Z) with the affine from voxel to RAS mm.
        landmarks: Centre in RAS mm of "right_eye", "left_eye", "pineal" (a calcification), and of "tumour" and
            "haemorrhage", of which a head has one or both.
    """

    volumes: dict[str, MetaTensor]
    landmarks: dict[str, tuple[float, float, float]]


def head_phantom(
    shape: tuple[int, int, int] = (160, 192, 128),
    spacing_mm: tuple[float, float, float] = (1.2, 1.2, 1.5),
    seed: int = 0,
    oblique_deg: float = 0.0,
    modalities: Sequence[str] = tuple(FWHM_MM),
) -> HeadPhantom:
    """Makes the head of a seed on a grid; the default takes about 2 s on one core.

    Args:
        shape: Voxels along x (to the right), y (to the front) and z (to the top).
        spacing_mm: Voxel size in mm along each axis.
        seed: The individual: geometry, lesions and noise. Not negative.
        oblique_deg: Rotates the grid, not the head, about the left-right axis, like a tilted scan.
        modalities: Which of "ct", "t1", "t2", "spect" and "pet" to make; fewer take less time and have the same values.

    Raises:
        InputError: A size or a spacing that is not positive, a negative seed, or an unknown modality.
    """
    if len(shape) != 3 or min(shape) < 1 or len(spacing_mm) != 3 or min(spacing_mm) <= 0 or seed < 0:
        raise InputError(
            f"A phantom of shape {shape}, spacing {spacing_mm} mm and seed {seed} cannot be made: "
            "give three positive sizes, three positive spacings and a seed of 0 or more"
        )
    if unknown := [name for name in modalities if name not in IMAGING]:
        raise InputError(f"A phantom has no {unknown[0]}: choose from {', '.join(IMAGING)}")
    affine = _affine(shape, spacing_mm, oblique_deg)
    subject = draw_subject(seed)
    made = tuple(name for name in IMAGING if name in modalities)
    values, labels = _paint(shape, affine, float(np.mean(spacing_mm)), subject, made)
    volumes = {}
    for name, value in zip(made, values, strict=True):
        generator = torch.Generator().manual_seed(seed * len(IMAGING) + list(IMAGING).index(name))
        volumes[name] = IMAGING[name](value, name, spacing_mm, generator)
    volumes["labels"] = labels
    return HeadPhantom(
        {
            name: MetaTensor(v[None], affine=torch.as_tensor(affine), meta={"space": "RAS"})
            for name, v in volumes.items()
        },
        subject.landmarks,
    )


def _affine(shape: tuple[int, ...], spacing_mm: tuple[float, ...], oblique_deg: float) -> NDArray[np.float64]:
    tilt = np.deg2rad(oblique_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(spacing_mm)
    affine[:3, 3] = np.asarray(CENTRE_MM) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _paint(
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    softness_mm: float,
    subject: Subject,
    modalities: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    """Tissue values (C, X, Y, Z) without blur and noise, and labels (X, Y, Z), computed in slabs that fit the cache."""
    matrix = torch.as_tensor(affine, dtype=torch.float32)
    to_head = subject.rotation.T / subject.scale[:, None]
    values, labels = torch.empty(len(modalities), *shape), torch.empty(shape, dtype=torch.uint8)
    i, j, k = (torch.arange(size, dtype=torch.float32) for size in shape)
    for slab in i.long().split(max(1, SLAB_VOXELS // (shape[1] * shape[2]))):
        index = torch.stack(torch.meshgrid(i[slab], j, k, indexing="ij")).flatten(1)
        world = torch.addmm(matrix[:3, 3:], matrix[:3, :3], index)
        canvas = Canvas(index.shape[1], softness_mm, modalities)
        arc = (world[0] ** 2 + (world[1] + 2) ** 2).sqrt()
        canvas.paint("table", torch.maximum((arc - 112).abs() - 1.5, world[1] + 40))
        paint_head(canvas, Points.at(*(to_head @ (world - subject.shift_mm[:, None])).unbind()), subject)
        values[:, slab] = canvas.values.unflatten(1, (-1, *shape[1:]))
        labels[slab] = canvas.labels.unflatten(0, (-1, *shape[1:]))
    return values, labels


def gaussian_blur(volume: Tensor, spacing_mm: tuple[float, ...], fwhm_mm: float) -> Tensor:
    """Blurs a volume (X, Y, Z) by a Gaussian of a full width at half maximum in mm, one matrix product per axis."""
    along = _blurs(volume.shape, spacing_mm, fwhm_mm)
    volume = along[1] @ (volume @ along[2].T)
    return (along[0] @ volume.flatten(1)).view(volume.shape)


def _blurs(shape: Sequence[int], spacing_mm: tuple[float, ...], fwhm_mm: float) -> list[Tensor]:
    """The blur along each axis as a matrix whose rows add to 1."""
    sigma = fwhm_mm / (8 * np.log(2)) ** 0.5
    along = []
    for size, step in zip(shape, spacing_mm, strict=True):
        at = torch.arange(size) * step
        weight = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
        along.append(weight / weight.sum(dim=1, keepdim=True))
    return along


def _ct(values: Tensor, name: str, spacing_mm: tuple[float, ...], generator: torch.Generator) -> Tensor:
    squares = [float((m**2).sum(dim=1).median()) for m in _blurs(values.shape, spacing_mm, FWHM_MM[name])]
    left = float(np.prod(squares)) ** 0.5  # share of the deviation of white noise after the blur
    noise = torch.randn(values.shape, generator=generator) * (CT_NOISE_HU / left)
    return gaussian_blur(values + noise, spacing_mm, FWHM_MM[name])


def _mr(values: Tensor, name: str, spacing_mm: tuple[float, ...], generator: torch.Generator) -> Tensor:
    slope, bend = torch.rand(2, 3, generator=generator) * 0.2 - 0.1
    axes = [
        torch.linspace(-1, 1, size).view([-1 if a == b else 1 for b in range(3)]) for a, size in enumerate(values.shape)
    ]
    bias = 1 + sum((s * at + b * at**2 for s, b, at in zip(slope, bend, axes, strict=True)), torch.zeros(()))
    signal = gaussian_blur(values, spacing_mm, FWHM_MM[name]) * bias * MR_UNITS
    real = signal + MR_NOISE * torch.randn(values.shape, generator=generator)
    return torch.hypot(real, MR_NOISE * torch.randn(values.shape, generator=generator))


def _emission(values: Tensor, name: str, spacing_mm: tuple[float, ...], generator: torch.Generator) -> Tensor:
    counts = COUNTS_PER_ML[name] * float(np.prod(spacing_mm)) / 1000
    return gaussian_blur(torch.poisson(values * counts, generator=generator) / counts, spacing_mm, FWHM_MM[name])


IMAGING: dict[str, Imaging] = {
    "ct": _ct,
    "t1": _mr,
    "t2": _mr,
    "spect": _emission,
    "pet": _emission,
}
