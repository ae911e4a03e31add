"""The individual of the head phantom: its size, pose, shape and lesions, drawn from a seed.

The HEAD FRAME is in mm with x to the right, y to the front, z to the top and its origin near the middle of the brain.
The template is larger than a typical brain, so it is scaled to 92 % in the head frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .template import Lattice

LATTICE_MM = 3.2
LATTICE_SIZE = 80
TEMPLATE_SCALE = 0.92
TEMPLATE_CENTRE_MM = (0.0, -17.0, 6.0)  # MNI: the origin of the head frame
EYE = (31.0, 68.0, -40.0)
PINEAL = (0.0, -9.0, -4.0)
VENTRICLES = ((0.0, 2.0, 11.0), 24.0)  # region that scales with them: centre and reach, mm


@dataclass(frozen=True)
class Subject:
    """The individual properties of a head, drawn from a seed.

    Args:
        rotation: (3, 3) head frame to world.
        shift_mm: (3,) origin of the head frame in the world, RAS.
        scale: (3,) size of the head along its own axes, about 1.
        skull_mm: Thickness of the skull.
        scalp_mm: Thickness of the fat under the scalp.
        atrophy: Weight of cerebrospinal fluid against tissue, about 1: more of it widens the sulci.
        ventricle: Size of the ventricles, about 1.
        lesions: Centre (head frame, mm) and radius (mm) of "tumour" and "haemorrhage", if present.
        noise: Smooth fields (4, D, H, W): displacement (mm, three) and fine texture.
    """

    rotation: Tensor
    shift_mm: Tensor
    scale: Tensor
    skull_mm: float
    scalp_mm: float
    atrophy: float
    ventricle: float
    lesions: dict[str, tuple[tuple[float, float, float], float]]
    noise: Lattice

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
        atrophy=float(random.uniform(0.8, 1.8)),
        ventricle=float(random.uniform(0.9, 1.35)),
        lesions=lesions,
        noise=_noise_fields(random),
    )


def _noise_fields(random: np.random.Generator) -> Lattice:
    """Band-limited noise (4, D, H, W): a displacement of 90 and 40 mm in length (mm, three), texture of about 12 mm."""
    size = (LATTICE_SIZE,) * 3
    full = torch.fft.fftfreq(LATTICE_SIZE, LATTICE_MM)
    half = torch.fft.rfftfreq(LATTICE_SIZE, LATTICE_MM)
    radius = sum((k**2 for k in torch.meshgrid(full, full, half, indexing="ij")), torch.zeros(())).sqrt()

    def field(*bands: tuple[float, float, float]) -> Tensor:
        """The sum of bands, each of a wavelength in mm, a relative width and a standard deviation."""
        total = torch.zeros(size)
        for wavelength, width, deviation in bands:
            white = torch.fft.rfftn(torch.tensor(random.standard_normal(size, dtype=np.float32)))
            one = torch.fft.irfftn(white * torch.exp(-(((radius * wavelength - 1) / width) ** 2)), s=size)
            total += deviation * one / one.std()
        return total

    fields = [field((90, 0.4, 1.6), (40, 0.3, 0.6)) for _ in range(3)] + [field((12, 0.5, 1.0))]
    half_mm = LATTICE_MM * (LATTICE_SIZE - 1) / 2
    return Lattice(torch.stack(fields), torch.full((3,), -half_mm), LATTICE_MM)
