"""The two complementary-detail branches."""

import torch
from torch import Tensor, nn

from .recording import must_keep


class ComplementaryDetail(nn.Module):
    """Two branches, 3x3 and 5x5, that exchange their features after each stage.

    In each stage each branch takes the concatenated features of both, and adds its result to its own features (the skip
    connection).

    Args:
        in_channels: channels of the hybrid features F.
        channels: channels of each branch.
        stages: number of exchanges between the branches.

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

    def forward(self, features: Tensor) -> Tensor:
        """Extract details at two scales.

        Args:
            features: F, (B, in_channels, H, W).

        Returns:
            Features of the 3x3 branch, then of the 5x5 branch, (B, 2 channels, H, W).
        """
        details = features
        for stage, (fine, coarse) in enumerate(zip(self.fine, self.coarse, strict=True)):
            found = [fine(details).relu_(), coarse(details).relu_()]  # (B, channels, H, W) each
            if stage == 0:
                details = torch.cat(found, dim=1)
            elif must_keep():
                details = details + torch.cat(found, dim=1)
            else:
                details[:, : found[0].shape[1]].add_(found[0])
                details[:, found[0].shape[1] :].add_(found[1])
        return details
