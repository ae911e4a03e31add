"""The global-correlation module: Transformer units over patches, Eq. (2) and (3)."""

import torch
import torch.nn.functional as F
from einops.layers.torch import Rearrange
from monai.networks.blocks import MLPBlock
from torch import Tensor, nn

from .recording import is_compiled, is_recorded, is_written_as_onnx


class TransformerUnit(nn.Module):
    """Pre-norm Transformer unit: ``x + MSA(LN(x))``, Eq. (2), then ``x + MLP(LN(x))``, Eq. (3).

    Args:
        dim: features of a token.
        heads: attention heads; divides ``dim``.
        mlp_ratio: hidden features of the MLP as a multiple of ``dim``.

    Raises:
        ValueError: if ``heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: int = 2) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} token features")
        self.attention_norm = nn.LayerNorm(dim)
        self.to_query_key_value = nn.Sequential(
            nn.Linear(dim, 3 * dim), Rearrange("b n (three h d) -> three b h n d", three=3, h=heads)
        )
        self.to_output = nn.Sequential(Rearrange("b h n d -> b n (h d)"), nn.Linear(dim, dim))
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLPBlock(hidden_size=dim, mlp_dim=mlp_ratio * dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Relate the tokens to each other.

        Args:
            tokens: (B, N, dim).

        Returns:
            Tensor (B, N, dim).
        """
        query, key, value = self.to_query_key_value(self.attention_norm(tokens)).unbind(0)  # (B, heads, N, dim/heads)
        tokens = tokens + self.to_output(F.scaled_dot_product_attention(query, key, value))
        return tokens + self.mlp(self.mlp_norm(tokens))


class GlobalCorrelation(nn.Module):
    """Adds global context to each branch.

    The branches' features are cut into patches, each patch becomes a token, Transformer units relate the tokens, and
    the result is upsampled by bilinear interpolation, which leaves no grid at patch borders. A depthwise convolution
    over the grid of tokens encodes position for any image size.

    Args:
        channels: channels of all branches together.
        dim: features of a token.
        depth: Transformer units.
        heads: attention heads.
        patch_size: side of a patch in pixels.
    """

    def __init__(self, channels: int, dim: int, depth: int, heads: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.to_tokens = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)
        self.position = nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim)
        self.units = nn.Sequential(*[TransformerUnit(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.to_channels = nn.Conv2d(dim, channels, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Relate every patch to every other.

        Args:
            features: (B, channels, H, W), any H and W.

        Returns:
            Tensor (B, channels, H, W).
        """
        return features + self.spread(self.relate(features), features)

    def relate(self, features: Tensor) -> Tensor:
        """The global context of each patch.

        Args:
            features: (B, channels, H, W), any H and W.

        Returns:
            Tensor (B, channels, rows, columns), one value per patch; the last patches are padded.
        """
        grid = self.to_tokens(self._whole_patches(features))  # (B, dim, rows, columns)
        grid = grid + self.position(grid)
        tokens = self.norm(self.units(grid.flatten(2).transpose(1, 2)))  # (B, N, dim)
        return self.to_channels(tokens.transpose(1, 2).reshape(grid.shape))

    def spread(self, grid: Tensor, features: Tensor) -> Tensor:
        """Upsample values per patch to a smooth map.

        Args:
            grid: (B, C, rows, columns), any C.
            features: (B, channels, H, W); the map gets their height and width.

        Returns:
            Tensor (B, C, H, W).
        """
        side = self.patch_size
        if is_compiled() and not is_written_as_onnx():  # crops nothing, which torch.export would record as a constraint
            height, width = features.shape[-2:]
            return torch.ops.aten.upsample_bilinear2d(grid, [height, width], False, float(side), float(side))
        if is_compiled():  # one more than needed, so every size has something to crop
            grid = F.pad(grid, (0, 1, 0, 1), mode="replicate")
        size = [grid.shape[-2] * side, grid.shape[-1] * side]
        smooth = F.interpolate(grid, size=size, mode="bilinear", align_corners=False)
        return smooth[..., : features.shape[-2], : features.shape[-1]]

    def _whole_patches(self, features: Tensor) -> Tensor:
        height, width, side = features.shape[-2], features.shape[-1], self.patch_size
        if is_compiled():  # by the same amount for every size: the patches ignore the excess
            return F.pad(features, (0, side - 1, 0, side - 1), mode="replicate")
        below, right = -height % side, -width % side
        if not is_recorded() and below == 0 and right == 0:
            return features
        return F.pad(features, (0, right, 0, below), mode="replicate")
