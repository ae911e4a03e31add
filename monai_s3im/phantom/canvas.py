"""The painting tools of the head phantom: tissues, soft shapes, and the canvas.

Every shape is a signed distance in mm (negative inside). A voxel on a boundary belongs to both tissues in proportion
(partial volume).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Point = tuple[float, float, float]


class Tissue(NamedTuple):
    """The label of one tissue and its CT (HU), T1, T2, SPECT and PET values (arbitrary units)."""

    label: int
    ct: float
    t1: float
    t2: float
    spect: float
    pet: float


TISSUES: dict[str, Tissue] = {
    "air": Tissue(0, -1000, 0.0, 0.0, 0.0, 0.0),
    "skin": Tissue(1, 60, 0.45, 0.30, 0.5, 0.5),
    "fat": Tissue(2, -90, 1.00, 0.55, 0.2, 0.2),
    "muscle": Tissue(3, 55, 0.38, 0.22, 0.5, 0.6),
    "cortical bone": Tissue(4, 1300, 0.04, 0.03, 0.1, 0.1),
    "diploe": Tissue(5, 650, 0.50, 0.22, 0.3, 0.3),
    "petrous bone": Tissue(6, 1600, 0.04, 0.03, 0.1, 0.1),
    "csf": Tissue(7, 5, 0.14, 1.00, 0.1, 0.1),
    "grey matter": Tissue(8, 38, 0.54, 0.58, 4.0, 4.0),
    "white matter": Tissue(9, 28, 0.80, 0.40, 1.0, 1.0),
    "deep nuclei": Tissue(10, 38, 0.61, 0.46, 4.0, 4.0),
    "vitreous": Tissue(11, 10, 0.16, 0.95, 0.0, 0.0),
    "dura": Tissue(12, 60, 0.45, 0.25, 0.5, 0.5),
    "oedema": Tissue(13, 20, 0.55, 0.78, 0.6, 0.7),
    "tumour": Tissue(14, 42, 0.45, 0.70, 1.0, 7.0),
    "haemorrhage": Tissue(15, 65, 0.72, 0.28, 0.0, 0.0),
    "calcification": Tissue(16, 300, 0.20, 0.08, 0.1, 0.1),
    "table": Tissue(17, 300, 0.0, 0.0, 0.0, 0.0),
}


class Points(NamedTuple):
    """Points in the head frame, each (n,) in mm; `side` is |x|, the mirrored coordinate of paired structures."""

    x: Tensor
    y: Tensor
    z: Tensor
    side: Tensor

    @classmethod
    def at(cls, x: Tensor, y: Tensor, z: Tensor) -> "Points":
        """Points from their coordinates."""
        return cls(x, y, z, x.abs())


def ellipsoid(p: Points, centre: Point, axes: Point, paired: bool = False) -> Tensor:
    """Distance to an ellipsoid with the given half axes in mm; `paired` gives one on either side."""
    x, y, z = (p.side if paired else p.x) - centre[0], p.y - centre[1], p.z - centre[2]
    unit = ((x / axes[0]) ** 2 + (y / axes[1]) ** 2 + (z / axes[2]) ** 2).sqrt_()
    return (unit - 1) * (x * x + y * y + z * z).sqrt_() / unit.clamp_(min=0.05)


def rod(p: Points, start: Point, end: Point, radii: tuple[float, float], paired: bool = True) -> Tensor:
    """Distance to a rod between two points, whose radius changes linearly from end to end."""
    (ax, ay, az), (bx, by, bz) = start, end
    dx, dy, dz = bx - ax, by - ay, bz - az
    x, y, z = (p.side if paired else p.x) - ax, p.y - ay, p.z - az
    t = ((x * dx + y * dy + z * dz) / (dx * dx + dy * dy + dz * dz)).clamp_(0, 1)
    gap = ((x - t * dx) ** 2 + (y - t * dy) ** 2 + (z - t * dz) ** 2).sqrt_()
    return gap - (radii[0] + (radii[1] - radii[0]) * t)


def union(*distances: Tensor) -> Tensor:
    """Union of shapes."""
    result = distances[0]
    for distance in distances[1:]:
        result = torch.minimum(result, distance)
    return result


def within(*distances: Tensor) -> Tensor:
    """Intersection of shapes."""
    result = distances[0]
    for distance in distances[1:]:
        result = torch.maximum(result, distance)
    return result


class Canvas:
    """Points painted with one tissue after another, each over the ones before.

    Args:
        points: Number of points n.
        softness_mm: Width of a boundary, about one voxel.
        modalities: The fields of `Tissue` to paint.
    """

    def __init__(self, points: int, softness_mm: float, modalities: tuple[str, ...]) -> None:
        self.modalities = modalities
        self.colors = {name: [getattr(tissue, m) for m in modalities] for name, tissue in TISSUES.items()}
        self.values = torch.tensor(self.colors["air"])[:, None].repeat(1, points)
        self.labels = torch.zeros(points, dtype=torch.uint8)
        self.softness_mm = softness_mm

    def paint_part(self, where: Tensor, painter: Callable[..., None], *fields: Points | Tensor) -> None:
        """Applies `painter(canvas, *fields)` to the points of a mask only."""
        index = where.nonzero()[:, 0]
        if len(index) == 0:
            return
        part = Canvas(0, self.softness_mm, self.modalities)
        part.values, part.labels = self.values.index_select(1, index), self.labels.index_select(0, index)
        painter(
            part,
            *(
                Points(*(f.index_select(0, index) for f in field))
                if isinstance(field, Points)
                else field.index_select(0, index)
                for field in fields
            ),
        )
        self.values.index_copy_(1, index, part.values)
        self.labels.index_copy_(0, index, part.labels)

    def paint(self, tissue: str, distance: Tensor, opacity: Tensor | float = 1.0) -> None:
        """Paints a tissue over the inside (negative) of a shape."""
        weight = (0.5 - distance / self.softness_mm).clamp_(0, 1).mul_(opacity)
        if weight.any():
            self.values.lerp_(torch.tensor(self.colors[tissue])[:, None], weight)
            self.labels.masked_fill_(weight > 0.5, TISSUES[tissue].label)

    def blend(self, tissues: tuple[str, ...], fractions: Tensor) -> None:
        """Paints a mixture of tissues.

        Args:
            tissues: k names.
            fractions: (k, n), in [0, 1], at most 1 in sum; the rest keeps the earlier paint.
        """
        colors = torch.tensor([self.colors[tissue] for tissue in tissues])
        self.values.mul_(1 - fractions.sum(dim=0))
        for color, fraction in zip(colors, fractions, strict=True):  # a matrix product rounds by size
            self.values.addcmul_(color[:, None], fraction)
        most, which = fractions.max(dim=0)
        labels = torch.tensor([TISSUES[tissue].label for tissue in tissues], dtype=torch.uint8)[which]
        self.labels = torch.where(most > 1 - fractions.sum(dim=0), labels, self.labels)
