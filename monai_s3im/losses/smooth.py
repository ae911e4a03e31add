"""The smooth loss, Eq. (7)."""

import torch
from torch import Tensor

from .base import FusionLoss, check_and_promote


class SmoothLoss(FusionLoss):
    """Eq. (7): the distance of the fused image to the sources, ``sum_i rms(I_i - I_f)``.

    The L2 norm of the equation is taken per pixel, as the root mean square over an image, so the loss does not grow
    with the image size; then the mean over the batch.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: I_f, (B, 1, H, W), values in [0, 1].
            sources: I_i, (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, N]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            # vector_norm has gradient 0, not nan, where the images are equal.
            distance = torch.linalg.vector_norm((sources - fused).flatten(2), dim=2)  # (B, N)
            return self.reduced(distance.sum(1)) / (fused.shape[-2] * fused.shape[-1]) ** 0.5
