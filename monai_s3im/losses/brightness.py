"""Losses that keep what is bright in a source: bone, and the uptake of a hot spot."""

import torch
from torch import Tensor

from .base import FusionLoss, check_and_promote


class SalientIntensityLoss(FusionLoss):
    """Mean absolute difference to the brightest source at each pixel, ``mean |max_i I_i - I_f|``.

    Eq. (7) draws the fused image to the mean of its sources, which makes saturated bone gray; this keeps it bright.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: I_f, (B, 1, H, W), values in [0, 1].
            sources: I_i, (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 1]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            return self.reduced((fused - sources.amax(dim=1, keepdim=True)).abs().mean((1, 2, 3)))


class SalientFloorLoss(FusionLoss):
    """What the fused image lacks of a share of the brightest source: ``mean m^p max(0, s m - I_f)``, ``m = max_i I_i``.

    It leaves alone what is bright enough, so that it stops the centre of thick bone and the hot spot of an uptake from
    sinking without drawing all else to the maximum.

    Args:
        share: s, in (0, 1].
        power: p, the greater the less does all count that is not nearly white.
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
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            brightest = sources.amax(dim=1, keepdim=True)
            return self.reduced((brightest**self.power * (self.share * brightest - fused).relu()).mean((1, 2, 3)))
