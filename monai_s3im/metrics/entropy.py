"""EN: entropy."""

import math

import torch
from torch import Tensor

from .base import GRAY_LEVELS, FusionMetric, histogram_levels, nan_unless_finite, prepare_fused


def entropy(fused: Tensor, data_range: float = 1.0) -> Tensor:
    r"""EN, the entropy of the gray values, in bits.

    .. math:: EN = -\sum_{l=0}^{255} p_l \log_2 p_l

    with p the 256-bin histogram of the values rounded on the 0..255 scale (half to even). More is usually read as
    "more information"; noise raises it as well.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``; values outside are counted as the nearest end.
        data_range: the value that stands for white.

    Returns:
        (B,), 0 to 8 bits. 0 for a constant image, nan for an image with nan or infinite pixels.

    Raises:
        ValueError: if the shape differs, or ``data_range`` is not positive.

    References:
        Roberts, van Aardt, Ahmed 2008, https://doi.org/10.1117/1.2945910
    """
    fused = prepare_fused(fused, data_range)
    batch = fused.shape[0]
    offset = GRAY_LEVELS * torch.arange(batch, device=fused.device, dtype=torch.int32).view(batch, 1, 1, 1)
    counts = torch.bincount((histogram_levels(fused) + offset).flatten(), minlength=batch * GRAY_LEVELS)
    probability = counts.view(batch, GRAY_LEVELS).to(fused.dtype) / math.prod(fused.shape[2:])
    bits = torch.special.entr(probability).sum(1) / math.log(2)
    return nan_unless_finite(bits, fused)


class EntropyMetric(FusionMetric):
    """EN in bits as a MONAI metric, see :func:`entropy`; the sources are not used."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:  # noqa: ARG002
        """EN of each image, (B,)."""
        return entropy(fused, self.data_range)
