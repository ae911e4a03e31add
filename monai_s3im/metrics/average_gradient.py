"""AG: average gradient."""

import torch
from torch import Tensor

from .base import FusionMetric, nan_unless_finite, prepare_fused


def average_gradient(fused: Tensor, data_range: float = 1.0) -> Tensor:
    r"""AG, the mean gradient magnitude, in gray levels per pixel.

    .. math:: AG = \frac{1}{HW} \sum \sqrt{(g_x^2 + g_y^2) / 2}

    with central differences inside and one-sided differences at the border.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        data_range: the value that stands for white.

    Returns:
        (B,) on the 0..255 scale. 0 for a constant image, nan where a side is shorter than 2 pixels or
        a pixel is nan or infinite.

    Raises:
        ValueError: if the shape differs, or ``data_range`` is not positive.

    References:
        Cui, Feng, Xu, Li, Chen 2015, https://doi.org/10.1016/j.optcom.2014.12.032
    """
    fused = prepare_fused(fused, data_range)
    if min(fused.shape[2:]) < 2:
        return fused.new_full((fused.shape[0],), torch.nan)
    gy, gx = torch.gradient(fused, dim=(2, 3))
    return nan_unless_finite(((gx.square() + gy.square()) / 2).sqrt().mean((1, 2, 3)), fused)


class AverageGradientMetric(FusionMetric):
    """AG as a MONAI metric, see :func:`average_gradient`; the sources are not used."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:  # noqa: ARG002
        """AG of each image, (B,)."""
        return average_gradient(fused, self.data_range)
