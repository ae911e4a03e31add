"""A loss for the sum of correlations of differences (the metric SCD)."""

import torch
from torch import Tensor

from .base import FusionLoss, check_and_promote


class DifferenceCorrelationLoss(FusionLoss):
    """One minus the correlation of what a source has added with that source, ``mean_i (1 - r(I_f - sum_j I_j, I_i))``.

    The sum is that of the other sources. With two it is the metric SCD: ``1 - SCD / 2``. Each variance is taken with
    1e-4 added, so that a source without contrast has a correlation of 0 and a gradient that stays bounded.

    References:
        Aslantas and Bendes 2015, https://doi.org/10.1016/j.aeue.2015.09.004
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in (0, 2); 1 when the differences have nothing of the sources.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            added = (fused + sources - sources.sum(dim=1, keepdim=True)).flatten(2)  # (B, N, H W)
            added = added - added.mean(2, keepdim=True)
            deviations = sources.flatten(2)
            deviations = deviations - deviations.mean(2, keepdim=True)
            variances = (added.square().mean(2) + 1e-4) * (deviations.square().mean(2) + 1e-4)
            return self.reduced(1 - ((added * deviations).mean(2) / variances.sqrt()).mean(1))
