"""The two complementary-detail branches."""

import torch
from torch import Tensor, nn


class ComplementaryDetail(nn.Module):
    """Two branches, 3x3 and 5x5, that exchange their features after each stage.

    In each stage both branches see the concatenation of both branches' features, and each adds what it found to what it
    had (the skip connection).

    Args:
        in_channels: channels of the hybrid features F.
        channels: channels of each branch.
        stages: how often the branches exchange features.

    Raises:
        ValueError: if ``stages`` is less than 1.
    """

    def __init__(self, in_channels: int, channels: int, stages: int) -> None:
        super().__init__()
        if stages < 1:
            raise ValueError(f"stages must be at least 1, got {stages}")
        inputs = [in_channels] + [2 * channels] * (stages - 1)
        self.fine = nn.ModuleList([nn.Conv2d(width, channels, kernel_size=3, padding=1) for width in inputs])
        self.coarse = nn.ModuleList([nn.Conv2d(width, channels, kernel_size=5, padding=2) for width in inputs])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Extract details at two scales.

        Args:
            features: F, (B, in_channels, H, W).

        Returns:
            Features of the 3x3 and of the 5x5 branch, (B, channels, H, W) each.
        """
        fine, coarse, shared = torch.zeros(()), torch.zeros(()), features
        for stage, (fine_conv, coarse_conv) in enumerate(zip(self.fine, self.coarse, strict=True)):
            fine_update = torch.relu(fine_conv(shared))
            coarse_update = torch.relu(coarse_conv(shared))
            fine = fine_update if stage == 0 else fine + fine_update
            coarse = coarse_update if stage == 0 else coarse + coarse_update
            shared = torch.cat([fine, coarse], dim=1)  # (B, 2 channels, H, W)
        return fine, coarse
