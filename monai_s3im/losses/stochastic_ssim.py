"""The stochastic structural similarity loss, Eq. (5)."""

import torch
from torch import Tensor

from monai_s3im.functional import draw_positions, shuffled_patches, windowed_ssim

from .base import FusionLoss, check_and_promote


class StochasticSSIMLoss(FusionLoss):
    """S3IM, Eq. (5): one minus the mean SSIM of randomly rearranged pixels.

    M times, ``patch_size``² pixels are drawn from the whole image, the same positions for the fused image and every
    source, laid out as a small image, and scored by the SSIM of Eq. (4) on non-overlapping k x k windows. Each window
    thus compares pixels that are far apart, which no local window does.

    ``loss = 1 - (S_1 + ... + S_N) / N``, S_i the mean SSIM over draws and windows of fused image and source i. The
    printed equation adds the second sum instead of subtracting it, which would reward dissimilarity to the second
    source.

    Args:
        draws: M of the equation.
        patch_size: side in pixels of the rearranged image.
        kernel_size: k, side of an SSIM window, which is also the stride.
        window: ``"uniform"`` or ``"gaussian"`` (sigma 1.5, as in the original S3IM).
        generator: makes the draws reproducible; on the device of the images.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.

    References:
        Eq. (5), https://doi.org/10.1038/s41598-025-93662-6; Xie et al., S3IM, ICCV 2023,
        https://doi.org/10.1109/ICCV51070.2023.01652
    """

    def __init__(
        self,
        draws: int = 10,
        patch_size: int = 64,
        kernel_size: int = 4,
        window: str = "uniform",
        generator: torch.Generator | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.draws = draws
        self.patch_size = patch_size
        self.kernel_size = kernel_size
        self.window = window
        self.generator = generator

    def forward(self, fused: Tensor, sources: Tensor, positions: Tensor | None = None) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1], H * W >= ``patch_size``².
            sources: (B, N, H, W), values in [0, 1], N >= 2.
            positions: (M, ``patch_size``²) flat pixel positions to use; drawn again if None.

        Returns:
            Scalar in [0, 2]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not match or the image has fewer than ``patch_size``² pixels.
        """
        fused, sources = check_and_promote(fused, sources)
        if positions is None:
            height, width = fused.shape[-2:]
            if height * width < self.patch_size**2:
                raise ValueError(
                    f"images of {height} x {width} pixels are too small for this loss, which draws {self.patch_size} x "
                    f"{self.patch_size} of them: train on larger crops (patch_size of the config), or give the loss a "
                    "smaller patch_size of its own (loss#patch_size)"
                )
            positions = draw_positions(height * width, self.patch_size, self.draws, self.generator, fused.device)
        with torch.autocast(fused.device.type, enabled=False):
            fused_patches = shuffled_patches(fused, positions)  # (B, 1, M, P, P)
            source_patches = shuffled_patches(sources, positions)  # (B, N, M, P, P)
            similarity = windowed_ssim(
                fused_patches.expand_as(source_patches), source_patches, self.kernel_size, self.kernel_size, self.window
            )
        return self.reduced(1 - similarity.flatten(1).mean(1))
