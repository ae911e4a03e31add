"""A loss for the sum of correlations of differences (the metric SCD)."""

import torch
from torch import Tensor

from .base import FusionLoss, check_and_promote


class DifferenceCorrelationLoss(FusionLoss):
    """One minus the correlation of each source with its contribution, ``mean_i (1 - r(I_f - sum_j I_j, I_i))``.

    The sum is over the other sources. With two sources it equals ``1 - SCD / 2``, SCD being the metric. Each variance
    has 1e-4 added, so a source without contrast has a correlation of 0 and a bounded gradient.

    References:
        Aslantas and Bendes 2015, https://doi.org/10.1016/j.aeue.2015.09.004
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in (0, 2); 1 when the differences are uncorrelated with the sources.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            added = (fused + sources - sources.sum(dim=1, keepdim=True)).flatten(2)  # (B, N, H W)
            added = added - added.mean(2, keepdim=True)
            deviations = sources.flatten(2)
            deviations = deviations - deviations.mean(2, keepdim=True)
            variances = (added.square().mean(2) + 1e-4) * (deviations.square().mean(2) + 1e-4)
            return self.reduced(1 - ((added * deviations).mean(2) / variances.sqrt()).mean(1))
