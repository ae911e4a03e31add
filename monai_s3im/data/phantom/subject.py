"""The individual of the head phantom: its size, pose, folding and lesions, drawn from a seed.

The HEAD FRAME is in mm with x to the right, y to the front, z to the top and its origin near the middle of the brain.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LATTICE_MM = 3.2
LATTICE_SIZE = 80
LATTICE_HALF_MM = LATTICE_MM * (LATTICE_SIZE - 1) / 2
EYE = (31.0, 70.0, -32.0)
PINEAL = (0.0, -30.0, 1.0)


@dataclass(frozen=True)
class Subject:
    """One individual: what differs between heads, drawn from a seed.

    Args:
        rotation: (3, 3) head frame to world.
        shift_mm: (3,) origin of the head frame in the world, RAS.
        scale: (3,) size of the head along its own axes, about 1.
        skull_mm: Thickness of the skull.
        scalp_mm: Thickness of the fat under the scalp.
        sulcus_mm: Half width of the sulci: atrophy widens them.
        ventricle: Size of the ventricles, about 1.
        lesions: Centre (head frame, mm) and radius (mm) of "tumour" and "haemorrhage", where there is one.
        noise: (5, D, H, W) smooth fields on the lattice: displacement (mm, three), fine texture, sulcus distance (mm).
    """

    rotation: Tensor
    shift_mm: Tensor
    scale: Tensor
    skull_mm: float
    scalp_mm: float
    sulcus_mm: float
    ventricle: float
    lesions: dict[str, tuple[tuple[float, float, float], float]]
    noise: Tensor

    @property
    def landmarks(self) -> dict[str, tuple[float, float, float]]:
        """Centres of structures in the world (RAS, mm): both eyes, the pineal calcification and the lesions."""
        places = {"right_eye": EYE, "left_eye": (-EYE[0], *EYE[1:]), "pineal": PINEAL}
        places |= {name: centre for name, (centre, _) in self.lesions.items()}
        world = {name: self.rotation @ (torch.tensor(c) * self.scale) + self.shift_mm for name, c in places.items()}
        return {name: (float(p[0]), float(p[1]), float(p[2])) for name, p in world.items()}


def draw_subject(seed: int) -> Subject:
    """Draws the individual of a seed: the same seed is the same head on every grid."""
    random = np.random.default_rng(seed)
    angles = np.deg2rad(random.uniform(-4, 4, 3))
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        rotation = turn @ rotation
    side = float(random.choice([-1.0, 1.0]))
    tumour = (side * random.uniform(26, 38), random.uniform(-40, 40), random.uniform(14, 32)), random.uniform(7, 13)
    bleed = (-side * random.uniform(24, 36), random.uniform(-35, 30), random.uniform(2, 30)), random.uniform(6, 11)
    kind = random.integers(3)
    lesions = {k: v for k, v, absent in (("tumour", tumour, 1), ("haemorrhage", bleed, 2)) if kind != absent}
    size = random.uniform(0.95, 1.04)
    return Subject(
        rotation=torch.tensor(rotation, dtype=torch.float32),
        shift_mm=torch.tensor(random.uniform(-3, 3, 3), dtype=torch.float32),
        scale=torch.tensor(size * random.uniform(0.97, 1.03, 3), dtype=torch.float32),
        skull_mm=float(random.uniform(5.5, 8.0)),
        scalp_mm=float(random.uniform(1.5, 4.5)),
        sulcus_mm=float(random.uniform(0.4, 1.0)),
        ventricle=float(random.uniform(0.8, 1.45)),
        lesions=lesions,
        noise=_noise_fields(random, gyrus_mm=float(random.uniform(19, 23))),
    )


def _noise_fields(random: np.random.Generator, gyrus_mm: float) -> Tensor:
    """Band-limited noise on the lattice, (5, D, H, W): displacement in mm (3), texture of about 12 mm, sulci."""
    size = (LATTICE_SIZE,) * 3
    full = torch.fft.fftfreq(LATTICE_SIZE, LATTICE_MM)
    half = torch.fft.rfftfreq(LATTICE_SIZE, LATTICE_MM)
    k = torch.stack(torch.meshgrid(full, full, half, indexing="ij"))  # (3, x, y, z) cycles/mm
    radius = (k**2).sum(dim=0).sqrt()

    def band(wavelength: float, width: float) -> Tensor:
        white = torch.fft.rfftn(torch.tensor(random.standard_normal(size, dtype=np.float32)))
        spectrum: Tensor = white * torch.exp(-(((radius * wavelength - 1) / width) ** 2))
        return spectrum

    def in_space(spectrum: Tensor) -> Tensor:
        field: Tensor = torch.fft.irfftn(spectrum, s=size)
        return field

    smooth = [in_space(band(90, 0.4)) for _ in range(3)]
    texture = in_space(band(12, 0.5))
    folding = band(gyrus_mm, 0.22)
    slope = sum((in_space(2j * torch.pi * k[axis] * folding) ** 2 for axis in range(3)), torch.zeros(())).sqrt()
    sulci = in_space(folding) / (slope + 0.25 * slope.mean())  # about the distance to the zero sheet, in mm
    fields = [1.2 * f / f.std() for f in smooth] + [texture / texture.std(), sulci]
    return torch.stack(fields).permute(0, 3, 2, 1).contiguous()  # grid_sample: x is the last axis


def sample(field: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Reads lattice fields (C, D, H, W) at points in the head frame: (C, n)."""
    grid = torch.stack([x, y, z], dim=-1) / LATTICE_HALF_MM
    return F.grid_sample(field[None], grid[None, None, None], padding_mode="border", align_corners=True)[0, :, 0, 0]
