"""Losses that keep findings: the contrast of each source at every scale, and flat saturated solids."""

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_s3im.functional import sobel_gradient

from .base import FusionLoss, check_and_promote


class ContrastLoss(FusionLoss):
    """How far the fused image falls short of the sources' contrast at 1, 2, 4, ... pixels.

    Eq. (6) on a pyramid, with direction and sign. At each level, for the Sobel gradients g_i of the sources and g of
    the fused image, ``r_i = max(0, 1 - g . g_i / |g_i|²)`` is the missing share of a contrast. The loss is the mean of
    r_i over pixels and sources, weighted by ``|g_i|² / (|g_i|² + t²)``, which is near 1 above the noise, and by
    ``|g_i|² / sum_j |g_j|²``, which lets the stronger source win where contrasts oppose each other. A faint lesion thus
    counts as much as the edge of bone. Extra contrast costs nothing, nor does brightness: low frequencies may shift to
    fit the contrasts of both sources.

    Where a source is saturated (250 of 255 and above), the others' contrast is ignored: a white solid should be
    seen there.

    Args:
        levels: of the pyramid, each half the size of the one before; those below 4 x 4 pixels are left out.
        threshold: t, the Sobel strength |g| above which a contrast counts; a step of height h has 4 h.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.

    References:
        Burt and Adelson 1983, https://doi.org/10.1109/TCOM.1983.1095851, for the pyramid.
    """

    def __init__(self, levels: int = 5, threshold: float = 0.15, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.levels = levels
        self.threshold = threshold

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar >= 0, 1 for a flat fused image; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            visible = 1 - _saturated_elsewhere(sources)  # (B, N, H, W)
            found = []
            for level in range(self.levels):
                if level:
                    if min(fused.shape[-2:]) < 8:  # the next one would be below 4 x 4
                        break
                    fused, sources, visible = (F.avg_pool2d(image, 2) for image in (fused, sources, visible))
                found.append(self._missing(sobel_gradient(fused), sobel_gradient(sources), visible))
            return self.reduced(torch.stack(found).mean(0))

    def _missing(self, of_fused: Tensor, of_sources: Tensor, visible: Tensor) -> Tensor:
        """The weighted mean at one level, (B,), of gradients (2, B, 1 or N, H, W)."""
        energy = of_sources.square().sum(0)  # (B, N, H, W)
        share = energy / energy.sum(1, keepdim=True).clamp(min=1e-12)
        weight = visible * share * energy / (energy + self.threshold**2)
        kept = (of_fused * of_sources).sum(0) / energy.clamp(min=1e-12)
        missing = (1 - kept).relu()
        return (weight * missing).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1e-12)


class SolidLoss(FusionLoss):
    """Mean absolute step between neighbouring pixels that are both saturated (250 of 255 or more) in one source.

    White bone in CT is one solid to a reader; texture or a rim from MR there would look like damage.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 1]; 0 when the fused image is flat there, or nothing is saturated.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            solid = (sources >= _SATURATED).to(fused.dtype)
            total, count = fused.new_zeros(len(fused)), fused.new_zeros(len(fused))
            for dim in (2, 3):
                size = fused.shape[dim] - 1
                both = (solid.narrow(dim, 1, size) * solid.narrow(dim, 0, size)).amax(1, keepdim=True)
                total = total + (both * fused.diff(dim=dim).abs()).sum((1, 2, 3))
                count = count + both.sum((1, 2, 3))
            return self.reduced(total / count.clamp(min=1))


_SATURATED = 250 / 255


def _saturated_elsewhere(sources: Tensor) -> Tensor:
    """1 where another source is saturated and this one is not, (B, N, H, W)."""
    saturated = (sources >= _SATURATED).to(sources.dtype)
    return saturated.amax(1, keepdim=True) * (1 - saturated)
