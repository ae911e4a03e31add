"""Information losses from differentiable histograms: mutual information, and entropy of the content."""

import math

import torch
from torch import Tensor

from .base import FusionLoss, check_and_promote


class ConditionalEntropyLoss(FusionLoss):
    """Information about the sources missing from the fused image, ``mean_i H(I_i | I_f)`` in nats.

    ``H(I_i | I_f) = H(I_i) - I(I_i; I_f)``, and the first term does not depend on the fused image: it falls as the
    mutual information (the metric MI) rises. The joint histogram of each image pair splits a pixel between the two
    nearest bins by distance, which makes it differentiable.

    Args:
        bins: of each axis of the histogram, their centres from 0 to 1.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.
    """

    def __init__(self, bins: int = 32, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.bins = bins

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1]; values outside count as the nearer end.
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, ln bins]; 0 when every source equals the fused image and all values are bin centres.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            shares_fused = _bin_shares(fused.flatten(2), self.bins)  # (B, 1, H W, bins)
            shares = _bin_shares(sources.flatten(2), self.bins)  # (B, N, H W, bins)
            joint = shares.transpose(2, 3) @ shares_fused / shares.shape[2]  # (B, N, bins of I_i, bins of I_f)
            of_fused = joint.sum(dim=2, keepdim=True)
            return self.reduced((_negative_entropy(of_fused) - _negative_entropy(joint)).mean(1))


class ContentEntropyLoss(FusionLoss):
    """How far the gray levels of the fused image are from uniform, ``c (ln bins - H(I_f))`` in nats.

    The histogram (and so the entropy H, the metric EN) covers the content, the pixels where a source is above the
    background; c is the share of such pixels. Noise in the black would also raise EN, but gains nothing here.

    Args:
        bins: of the histogram, their centres from 0 to 1.
        background: values up to it, in all sources, are background.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.
    """

    def __init__(self, bins: int = 64, background: float = 5 / 255, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.bins = bins
        self.background = background

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1]; values outside count as the nearer end.
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, ln bins]; 0 without content, or when the fused image uses all bins equally there.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            content = (sources.amax(dim=1) > self.background).to(fused.dtype).flatten(1)[:, None]  # (B, 1, H W)
            counts = content @ _bin_shares(fused.flatten(2), self.bins)[:, 0]  # (B, 1, bins)
            pixels = content.sum(2, keepdim=True)
            missing = math.log(self.bins) + _negative_entropy(counts[:, None] / pixels[:, None].clamp(min=1))
            return self.reduced(content.mean((1, 2)) * missing[:, 0])


def _bin_shares(values: Tensor, bins: int) -> Tensor:
    """Split each value between the two nearest bins, centred from 0 to 1, (..., bins)."""
    centres = torch.linspace(0, 1, bins, dtype=values.dtype, device=values.device)
    return (1 - (bins - 1) * (values.clamp(0, 1)[..., None] - centres).abs()).relu()


def _negative_entropy(histogram: Tensor) -> Tensor:
    """``sum p ln p`` over the last two dimensions, with a finite gradient where p = 0."""
    return (histogram * histogram.clamp_min(1e-30).log()).sum((2, 3))
