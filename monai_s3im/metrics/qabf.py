"""Qabf: how much of the sources' edges is kept."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from .base import FusionMetric, prepare_pair


def qabf(fused: Tensor, sources: Tensor, data_range: float = 1.0) -> Tensor:
    r"""Qabf of Xydeas and Petrovic: edge strength and orientation kept from the sources.

    .. math:: Q^{ABF} = \frac{\sum_n \sum Q_g Q_a g_n}{\sum_n \sum g_n}, \quad
              Q_g = \frac{0.9994}{1 + e^{-15 (G - 0.5)}}, \quad Q_a = \frac{0.9879}{1 + e^{-22 (A - 0.8)}}

    with Sobel strength g and orientation a = atan(gy / gx) of a true convolution with zero padding (a = pi/2 where
    gx = 0), G the smaller strength over the larger, A = 1 - abs(a_n - a_F) / (pi/2), weighted by the source's strength.

    Where the two strengths are equal, G is the strength itself, not 1: the rule of the evaluator common in the field,
    kept for comparable numbers. On the 0..255 scale it matters for equal strengths below 1 only. Zero padding makes the
    image border an edge.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.

    Returns:
        (B,), 0 to 0.987. nan where no source has an edge (all are black, or one pixel): there is nothing to keep.

    Raises:
        ValueError: if the shapes do not fit, or ``data_range`` is not positive.

    References:
        Xydeas, Petrovic 2000, https://doi.org/10.1049/el:20000267
    """
    fused, sources = prepare_pair(fused, sources, data_range)
    strength_f, angle_f = _sobel(fused)
    strength, angle = _sobel(sources)
    ratio = torch.minimum(strength, strength_f) / torch.maximum(strength, strength_f)
    ratio = torch.where(strength == strength_f, strength, ratio)
    alignment = 1 - (angle - angle_f).abs_().div_(math.pi / 2)
    kept = ratio.sub_(0.5).mul_(15).sigmoid_().mul_(alignment.sub_(0.8).mul_(22).sigmoid_()).mul_(strength)
    return 0.9994 * 0.9879 * kept.sum((1, 2, 3)) / strength.sum((1, 2, 3))


def _sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Strength and orientation in radians, (-pi/2, pi/2], (B, C, H, W) each."""
    padded = pad(image, (1, 1, 1, 1))
    across_rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    across_columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    gx = across_rows[..., :-2] - across_rows[..., 2:]
    gy = across_columns[..., 2:, :] - across_columns[..., :-2, :]
    angle = torch.where(gx == 0, math.pi / 2, (gy / gx).atan())
    return gx.square_().add_(gy.square_()).sqrt_(), angle


class QabfMetric(FusionMetric):
    """Qabf as a MONAI metric, see :func:`qabf`."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Qabf of each image, (B,)."""
        return qabf(fused, sources, self.data_range)
