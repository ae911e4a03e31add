"""The detail-texture loss, Eq. (6)."""

import torch
from torch import Tensor

from monai_s3im.functional import sobel_magnitude

from .base import FusionLoss, check_and_promote


class DetailTextureLoss(FusionLoss):
    """Eq. (6): mean over the pixels of ``| max_i |grad I_i| - |grad I_f| |``.

    The gradient is Sobel's ``|gx| + |gy|`` with replicated border; the maximum is taken over the sources at each pixel.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: I_f, (B, 1, H, W), values in [0, 1].
            sources: I_i, (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar >= 0; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            target = sobel_magnitude(sources).amax(dim=1, keepdim=True)
            return self.reduced((target - sobel_magnitude(fused)).abs().mean((1, 2, 3)))
