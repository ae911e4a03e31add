"""The real anatomy in the head phantom: tissue maps of the ICBM 152 nonlinear symmetric template (2009a).

The maps are the mean of 152 heads, in MNI space: mm, x to the right, y to the front, z to the top, origin at the
anterior commissure. `LICENSE-ICBM152` in the same folder has their notice and references; `.ci/head_template.py` made
them.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FILE = Path(__file__).with_name("icbm152.npz")
CRANIUM_ZERO, CRANIUM_PER_MM = 64, 3  # a distance as a byte


class Lattice(NamedTuple):
    """Values on a regular grid.

    Args:
        values: (C, D, H, W), x along the last axis.
        origin_mm: (3,) position of the first voxel: x, y, z.
        spacing_mm: Between voxels.
    """

    values: Tensor
    origin_mm: Tensor
    spacing_mm: float

    def at(self, points: Tensor, padding: str = "border") -> Tensor:
        """Reads the values at points (3, n) in mm, linearly: (C, n); outside: the nearest ("border") or 0 ("zeros")."""
        size = torch.tensor(self.values.shape[:0:-1])  # (x, y, z)
        half = (size - 1)[:, None] * (self.spacing_mm / 2)
        grid = (points - self.origin_mm[:, None]).div_(half).sub_(1).T
        return F.grid_sample(self.values[None], grid[None, None, None], padding_mode=padding, align_corners=True)[
            0, :, 0, 0
        ]


@cache
def template() -> tuple[Lattice, Lattice]:
    """The probabilities of grey and white matter, and the distance in mm to the inner skull, negative inside."""
    with np.load(FILE) as stored:
        tissues = torch.from_numpy(stored["tissues"]).float() / 255
        cranium = (torch.from_numpy(stored["cranium"]).float()[None] - CRANIUM_ZERO) / CRANIUM_PER_MM
        place = {
            name: (torch.from_numpy(stored[f"{name}_origin"]).float(), float(stored[f"{name}_spacing"]))
            for name in ("tissues", "cranium")
        }
    return Lattice(tissues, *place["tissues"]), Lattice(cranium, *place["cranium"])
