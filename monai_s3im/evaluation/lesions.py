"""How much of a lesion's contrast a fused volume keeps: the measure and its bound."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_s3im.functional import rgb_to_lab

LEAST_CONTRAST = 1.0
LEAST_KEPT = 0.85
LEAST_KEPT_OF_A_KIND = 0.6
_ERODED_ABOVE = 400  # voxels
_RING = (2, 5)  # voxels away
_LEAST_RING = 20  # voxels


@dataclass(frozen=True)
class LesionValue:
    """The contrasts of one lesion.

    Attributes:
        pair: such as ``"T1 + CT"``.
        kind: such as ``"haemorrhage"``.
        case: the case it belongs to.
        contrasts: of sources A and B.
        fused: method -> its contrast in the fused volume, your method first.
    """

    pair: str
    kind: str
    case: str
    contrasts: tuple[float, float]
    fused: dict[str, float]

    @property
    def is_seen(self) -> bool:
        """Whether a source has a contrast of 1 or more; other lesions are ignored."""
        return max(self.contrasts) >= LEAST_CONTRAST

    def kept(self, method: str) -> float:
        """The contrast in the fused volume divided by the larger one in the sources."""
        return self.fused[method] / max(self.contrasts)


@dataclass(frozen=True)
class LesionSummary:
    """How well a method keeps many lesions, each counted as 1 at most.

    Attributes:
        mean: over all lesions seen in a source; nan if there are none.
        of_kinds: (pair, kind) -> mean.
    """

    mean: float
    of_kinds: dict[tuple[str, str], float]

    @property
    def lost(self) -> list[tuple[str, str]]:
        """The kinds of lesion in a pair that are kept too little."""
        return [kind for kind, value in self.of_kinds.items() if value < LEAST_KEPT_OF_A_KIND]

    @property
    def holds(self) -> bool:
        """Whether the guard *lesion kept* holds."""
        return self.mean >= LEAST_KEPT and not self.lost


def summarize(values: Sequence[LesionValue], method: str) -> LesionSummary:
    """How well a method keeps the lesions with a contrast of at least 1 in a source."""
    kinds: dict[tuple[str, str], list[float]] = {}
    for value in values:
        if value.is_seen:
            kinds.setdefault((value.pair, value.kind), []).append(min(1.0, value.kept(method)))
    every = [kept for found in kinds.values() for kept in found]
    means = {kind: math.fsum(found) / len(found) for kind, found in kinds.items()}
    return LesionSummary(math.fsum(every) / len(every) if every else math.nan, means)


def lesion_contrast(image: Tensor, lesion: Tensor, tissue: Tensor) -> float:
    """Contrast of a lesion to the tissue around it.

    ``|mean(lesion) - mean(ring)| / sqrt((var(lesion) + var(ring)) / 2)``, population variances; the ring is tissue 2 to
    5 voxels away (the largest of the distances along the axes). A lesion of more than 400 voxels is eroded by one. In
    colour the difference is the distance of the two means in CIELAB, and a variance the mean squared distance to the
    mean. Gray values are used unchanged.

    Args:
        image: (1, X, Y, Z), any scale, or RGB (3, X, Y, Z) in [0, 1].
        lesion: bool (X, Y, Z).
        tissue: bool (X, Y, Z), voxels that may belong to the ring, such as brain without other lesions.

    Returns:
        The contrast; nan without a lesion or with fewer than 20 voxels around it, infinite if neither varies.
    """
    if not lesion.any():
        return math.nan
    part = _around(lesion)
    image, lesion, tissue = image[(slice(None), *part)], lesion[part], tissue[part]
    ring = ring_of(lesion, tissue)
    inside = _grown(lesion, -1) if int(lesion.sum()) > _ERODED_ABOVE else lesion
    if not inside.any() or int(ring.sum()) < _LEAST_RING:
        return math.nan
    first, second = (_values(image, mask) for mask in (inside, ring))
    means = [values.mean(1) for values in (first, second)]
    variances = [values.var(1, correction=0).sum() for values in (first, second)]
    distance = torch.linalg.vector_norm(means[0] - means[1])
    if distance == 0:
        return 0.0
    return float(distance / ((variances[0] + variances[1]) / 2).sqrt())


def ring_of(lesion: Tensor, tissue: Tensor) -> Tensor:
    """Tissue 2 to 5 voxels from a lesion, bool (X, Y, Z)."""
    return _grown(lesion, _RING[1]) & ~_grown(lesion, _RING[0] - 1) & tissue


def _around(lesion: Tensor) -> tuple[slice, ...]:
    """The box of a lesion and its ring."""
    where = lesion.nonzero()
    margin = _RING[1] + 1
    ends = zip(where.amin(0).tolist(), where.amax(0).tolist(), strict=True)
    return tuple(slice(max(0, low - margin), high + margin + 1) for low, high in ends)


def _values(image: Tensor, mask: Tensor) -> Tensor:
    """The values of a mask, (channels, voxels), float64; RGB as CIELAB."""
    values = image[:, mask].double()
    return rgb_to_lab(values.clamp(0, 1)) if len(values) == 3 else values


def _grown(mask: Tensor, voxels: int) -> Tensor:
    """A mask (X, Y, Z) grown by cubes, or shrunk if ``voxels`` is negative; outside the border it is empty."""
    size = 2 * abs(voxels) + 1
    values = (mask if voxels >= 0 else ~mask).float()[None, None]
    for dim in range(3):
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[dim], padding[dim] = size, abs(voxels)
        values = F.max_pool3d(values, kernel, stride=1, padding=padding)
    grown = values[0, 0] > 0
    return grown if voxels >= 0 else ~grown & mask
