"""The total loss, Eq. (8), and the loss of the ablation study, Eq. (9)."""

import torch
from torch import Tensor

from monai_s3im.functional import windowed_ssim

from .base import FusionLoss, check_and_promote
from .detail_texture import DetailTextureLoss
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss
from .weighted_sum import WeightedSum


class S3IMFusionLoss(WeightedSum):
    """Eq. (8): ``gamma_1 * S3IM + gamma_2 * texture + gamma_3 * smooth``.

    Args:
        gamma_1: weight of Eq. (5), the stochastic structural similarity.
        gamma_2: weight of Eq. (6), the detail texture.
        gamma_3: weight of Eq. (7), the smooth loss.
        draws: M of Eq. (5).
        patch_size: side in pixels of the rearranged image of Eq. (5).
        kernel_size: k of Eq. (4).
        window: ``"uniform"`` or ``"gaussian"``.
        generator: makes the draws of Eq. (5) reproducible.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.

    Raises:
        ValueError: if all weights are 0.
    """

    def __init__(
        self,
        gamma_1: float = 10.0,
        gamma_2: float = 5.0,
        gamma_3: float = 1.0,
        draws: int = 10,
        patch_size: int = 64,
        kernel_size: int = 4,
        window: str = "uniform",
        generator: torch.Generator | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            {
                "s3im": (gamma_1, StochasticSSIMLoss(draws, patch_size, kernel_size, window, generator)),
                "texture": (gamma_2, DetailTextureLoss()),
                "smooth": (gamma_3, SmoothLoss()),
            },
            reduction,
        )


class GaussianSSIMLoss(FusionLoss):
    """One minus the ordinary 11x11 Gaussian SSIM (sigma 1.5), averaged over the sources; the SSIM of Eq. (9).

    The window moves by one pixel and stays inside the image.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1], at least 11 x 11 pixels.
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 2]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match, or the images are smaller than the window.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            similarity = windowed_ssim(fused.expand_as(sources), sources, kernel_size=11, stride=1, window="gaussian")
        return self.reduced(1 - similarity.flatten(1).mean(1))


class AblationLoss(WeightedSum):
    """Eq. (9), L_ab: Eq. (8) with ordinary SSIM instead of S3IM.

    Args:
        gamma_1: weight of the SSIM loss.
        gamma_2: weight of Eq. (6), the detail texture.
        gamma_3: weight of Eq. (7), the smooth loss.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.

    Raises:
        ValueError: if all weights are 0.
    """

    def __init__(
        self, gamma_1: float = 10.0, gamma_2: float = 5.0, gamma_3: float = 1.0, reduction: str = "mean"
    ) -> None:
        terms = {
            "ssim": (gamma_1, GaussianSSIMLoss()),
            "texture": (gamma_2, DetailTextureLoss()),
            "smooth": (gamma_3, SmoothLoss()),
        }
        super().__init__(terms, reduction)
