"""Losses that keep the direction of edges as well as their strength; Eq. (6) keeps only strength."""

import torch
from torch import Tensor

from monai_s3im.functional import sobel_gradient

from .base import FusionLoss, check_and_promote


class GradientTransferLoss(FusionLoss):
    """Mean absolute difference of the Sobel gradient vector from that of the source with the strongest edge.

    ``mean (|gx_f - g gx_s| + |gy_f - g gy_s|)``, s the source of the largest ``gx² + gy²`` at each pixel. Eq. (6)
    compares only strengths; here the direction of an edge counts too, and so does the sign of its contrast.

    Args:
        gain: g; slightly above 1 it offsets the contrast lost by fitting absolute differences.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.
    """

    def __init__(self, gain: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.gain = gain

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar >= 0; with a gain of 1, 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            gradients = sobel_gradient(sources)  # (2, B, N, H, W)
            strongest = gradients.square().sum(0).argmax(dim=1, keepdim=True)  # (B, 1, H, W)
            target = gradients.gather(2, strongest[None].expand(2, *strongest.shape))
            return self.reduced((sobel_gradient(fused) - self.gain * target).abs().sum(0).mean((1, 2, 3)))


class EdgePreservationLoss(FusionLoss):
    """One minus a differentiable form of the edge preservation of Xydeas and Petrovic (the metric Qabf).

    The strength ratio and alignment of the fused image's Sobel gradient with each source's pass through the metric's
    two sigmoids; the mean is weighted by the sources' edge strengths. Unlike the metric, the border is replicated,
    strengths are ``sqrt(gx² + gy² + 1)`` on the 0..255 scale, which is smooth at 0, and alignment is taken from the
    angle between the gradients.

    References:
        Xydeas and Petrovic 2000, https://doi.org/10.1049/el:20000267
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in (0, 1]. When every source equals the fused image about 0.03 if there are edges everywhere, more
            the fewer there are, and 1 if it is flat.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            of_fused, of_sources = 255 * sobel_gradient(fused), 255 * sobel_gradient(sources)  # (2, B, 1 or N, H, W)
            strength_fused = (of_fused.square().sum(0) + 1).sqrt()
            strength = (of_sources.square().sum(0) + 1).sqrt()  # (B, N, H, W)
            ratio = torch.minimum(strength_fused / strength, strength / strength_fused)
            cosine = ((of_fused * of_sources).sum(0).abs() / (strength_fused * strength)).clamp(max=1 - 1e-4)
            alignment = 1 - torch.acos(cosine) * (2 / torch.pi)
            kept = 0.9994 * torch.sigmoid(15 * (ratio - 0.5)) * 0.9879 * torch.sigmoid(22 * (alignment - 0.8))
            return self.reduced(1 - (kept * strength).sum((1, 2, 3)) / strength.sum((1, 2, 3)))
