"""The network of Fig. 2, from top to bottom."""

import torch
from torch import Tensor, nn

from monai_s3im.networks.blocks import ComplementaryDetail, GlobalCorrelation, SalientBranch, WeightedBranchFusion


class S3IMFusion(nn.Module):
    """S3IMFusion, Fig. 2: one salient and two complementary-detail branches, related globally, joined by weight.

    Args:
        in_channels: sources, concatenated along the channels; 2 for a pair.
        out_channels: channels of the fused image.
        features: channels of the hybrid features F.
        branch_features: channels of each of the three branches.
        stages: stages of the complementary-detail branches.
        token_features: features of a token of the global-correlation module.
        depth: Transformer units of the global-correlation module.
        heads: attention heads.
        patch_size: side in pixels of the patch that makes a token.

    References:
        Scientific Reports 2025, https://doi.org/10.1038/s41598-025-93662-6, Fig. 2 and Eq. (1) to (3). The paper leaves
        widths, depths and heads open.
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 1,
        features: int = 16,
        branch_features: int = 16,
        stages: int = 3,
        token_features: int = 64,
        depth: int = 2,
        heads: int = 4,
        patch_size: int = 8,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = nn.Conv2d(in_channels, features, kernel_size=3, padding=1)
        self.salient = SalientBranch(features, branch_features)
        self.detail = ComplementaryDetail(features, branch_features, stages)
        self.correlation = GlobalCorrelation(3 * branch_features, token_features, depth, heads, patch_size)
        self.fusion = WeightedBranchFusion(3, branch_features)
        self.reconstruction = nn.Sequential(
            nn.Conv2d(branch_features, features, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, out_channels, kernel_size=3, padding=1),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker with few channels

    def forward(self, image: Tensor) -> Tensor:
        """Fuse.

        Args:
            image: the sources, (B, in_channels, H, W), values in [0, 1], any H and W.

        Returns:
            The fused image, (B, out_channels, H, W), values in (-1, 1); black is 0, and clamping to [0, 1] is the
            caller's part.

        Raises:
            ValueError: if ``image`` has not four dimensions or not ``in_channels`` channels.
        """
        return self._fuse(image)["fused"]

    @torch.jit.export
    def intermediates(self, image: Tensor) -> dict[str, Tensor]:
        """Fuse, and return what the branches did on the way.

        Args:
            image: the sources, (B, in_channels, H, W), values in [0, 1].

        Returns:
            ``hybrid`` features F (B, features, H, W); ``saliency`` map of Eq. (1) in (0, 1); ``salient``, ``fine``
            (3x3) and ``coarse`` (5x5) features (B, branch_features, H, W); ``correlated`` features of all branches
            (B, 3 * branch_features, H, W); ``weights`` of the branches (3, branch_features); ``fused``
            (B, out_channels, H, W).

        Raises:
            ValueError: if ``image`` has not four dimensions or not ``in_channels`` channels.
        """
        found = self._fuse(image)
        salient, fine, coarse = found["branches"].chunk(3, dim=1)
        return {
            "hybrid": found["hybrid"],
            "saliency": found["saliency"],
            "salient": salient,
            "fine": fine,
            "coarse": coarse,
            "correlated": found["branches"] + self.correlation.spread(found["context"], salient),
            "weights": self.fusion.weights(),
            "fused": found["fused"],
        }

    def _fuse(self, image: Tensor) -> dict[str, Tensor]:
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ValueError(f"expected sources of shape (B, {self.in_channels}, H, W), got {list(image.shape)}")
        image = image.contiguous(memory_format=torch.channels_last)
        hybrid = self.stem(image).relu_()  # (B, features, H, W)
        salient, saliency = self.salient(hybrid)  # (B, branch, H, W)
        branches = torch.cat([salient, self.detail(hybrid)], dim=1)  # (B, 3 branch, H, W)
        context = self.correlation.relate(branches)  # (B, 3 branch, H / patch, W / patch)
        if getattr(self.fusion, "is_linear", False):
            joined = self.fusion(branches) + self.correlation.spread(self.fusion(context), branches)
        else:
            joined = self.fusion(branches + self.correlation.spread(context, branches))  # (B, branch, H, W)
        fused = torch.tanh(self.reconstruction(joined))  # (B, out, H, W)
        return {"hybrid": hybrid, "saliency": saliency, "branches": branches, "context": context, "fused": fused}
