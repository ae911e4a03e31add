"""Losses that keep bright structures of a source: bone, and uptake in hot spots."""

import torch
from torch import Tensor

from .base import FusionLoss, check_and_promote


class SalientIntensityLoss(FusionLoss):
    """Mean absolute difference from the brightest source at each pixel, ``mean |max_i I_i - I_f|``.

    Eq. (7) pulls the fused image to the mean of its sources, which makes saturated bone gray; this keeps it bright.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: I_f, (B, 1, H, W), values in [0, 1].
            sources: I_i, (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 1]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            return self.reduced((fused - sources.amax(dim=1, keepdim=True)).abs().mean((1, 2, 3)))


class SalientFloorLoss(FusionLoss):
    """How far the fused image falls short of a share of the brightest source.

    ``mean m^p max(0, s m - I_f)``, ``m = max_i I_i``.

    Pixels that are bright enough cost nothing. This keeps the centre of thick bone and hot spots bright, without
    pulling everything else to the maximum.

    Args:
        share: s, in (0, 1].
        power: p; the larger it is, the less anything but near-white counts.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.
    """

    def __init__(self, share: float = 0.9, power: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.share = share
        self.power = power

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 1]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            brightest = sources.amax(dim=1, keepdim=True)
            return self.reduced((brightest**self.power * (self.share * brightest - fused).relu()).mean((1, 2, 3)))
