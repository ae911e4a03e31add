"""Convert RGB and YCbCr: fusion works on the luma Y, and the chrominance Cb, Cr is restored (Fig. 4)."""

import torch
from torch import Tensor

# ITU-R BT.601, full range, as in JPEG: Y in [0, 1], Cb and Cr in [-0.5, 0.5].
_RGB_TO_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.299 / 1.772, -0.587 / 1.772, 0.5),
    (0.5, -0.587 / 1.402, -0.114 / 1.402),
)
_YCBCR_TO_RGB = (
    (1.0, 0.0, 1.402),
    (1.0, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587),
    (1.0, 1.772, 0.0),
)


def _transform(image: Tensor, matrix: tuple[tuple[float, ...], ...], channel_dim: int) -> Tensor:
    if image.shape[channel_dim] != 3:
        raise ValueError(f"expected 3 channels in dimension {channel_dim}, got an image of shape {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"expected floating-point values in [0, 1], got {image.dtype}; divide bytes by 255 first")
    weights = torch.tensor(matrix, dtype=image.dtype, device=image.device)
    return torch.tensordot(weights, image.movedim(channel_dim, 0), dims=1).movedim(0, channel_dim)


def rgb_to_ycbcr(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Convert RGB to YCbCr (ITU-R BT.601, full range).

    Args:
        image: RGB in [0, 1], 3 channels in dimension ``channel_dim``, any number of other dimensions.
        channel_dim: where the channels are.

    Returns:
        Tensor of the same shape: Y in [0, 1], Cb and Cr in [-0.5, 0.5].

    Raises:
        ValueError: if dimension ``channel_dim`` does not have 3 channels, or the values are integers.
    """
    return _transform(image, _RGB_TO_YCBCR, channel_dim)


def ycbcr_to_rgb(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Convert YCbCr (ITU-R BT.601, full range) to RGB; the inverse of :func:`rgb_to_ycbcr`, not clipped.

    Args:
        image: Y in [0, 1], Cb and Cr in [-0.5, 0.5], 3 channels in dimension ``channel_dim``.
        channel_dim: where the channels are.

    Returns:
        RGB of the same shape. Values leave [0, 1] where luma and chrominance do not match.

    Raises:
        ValueError: if dimension ``channel_dim`` does not have 3 channels, or the values are integers.
    """
    return _transform(image, _YCBCR_TO_RGB, channel_dim)


def merge_chrominance(chrominances: Tensor) -> Tensor:
    """Mean of several sources' chrominance, each weighted by its own saturation ``|C|``.

    A gray source has zero chrominance and so zero weight; with one coloured source, its chrominance is returned.

    Args:
        chrominances: Cb and Cr in [-0.5, 0.5] of N sources, shape (N, 2, ...).

    Returns:
        Tensor (2, ...), zero where every source is gray.
    """
    weights = chrominances.abs()
    total = weights.sum(0)
    return torch.where(total > 0, (chrominances * weights).sum(0) / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)
