"""Rules that join the features of the branches. A new rule is a class with this interface and a test.

If a rule is linear in the features (``is_linear``), the network joins the branches and the output of the global
correlation separately, the latter before it is upsampled.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WeightedBranchFusion(nn.Module):
    """Sum of the branches, each channel weighted by a softmax over the branches.

    Args:
        branches: number of branches.
        channels: channels of each branch.
    """

    is_linear: Final = True

    def __init__(self, branches: int, channels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(branches, channels))

    def weights(self) -> Tensor:
        """Weights of the branches, (branches, channels); each column sums to one."""
        return torch.softmax(self.logits, dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """Join the branches.

        Args:
            features: (B, branches * channels, H, W), branch after branch.

        Returns:
            Tensor (B, channels, H, W).
        """
        # one 1x1 convolution, which writes no weighted copy of the features
        identity = torch.eye(self.logits.shape[1], dtype=features.dtype, device=features.device)
        kernel = identity * self.weights()[:, None]  # (branches, channels, channels)
        return F.conv2d(features, kernel.transpose(0, 1).flatten(1)[:, :, None, None])
