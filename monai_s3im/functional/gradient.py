"""Sobel gradients, as in Eq. (6)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sobel_gradient(image: Tensor) -> Tensor:
    """Gradient (gx, gy) of 3x3 Sobel filters with replicated border.

    The kernels are the plain ones ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] and its transpose), so a step from 0 to 1 has
    strength 4.

    Args:
        image: (B, C, H, W), any range; each channel is filtered separately.

    Returns:
        Tensor (2, B, C, H, W): along the columns (gx), along the rows (gy).

    Raises:
        ValueError: if ``image`` does not have four dimensions.
    """
    if image.ndim != 4:
        raise ValueError(f"expected an image of shape (B, C, H, W), got {tuple(image.shape)}")
    channels = image.shape[1]
    smooth = torch.tensor([1.0, 2.0, 1.0], dtype=image.dtype, device=image.device)
    difference = torch.tensor([-1.0, 0.0, 1.0], dtype=image.dtype, device=image.device)
    horizontal = torch.outer(smooth, difference)
    kernels = torch.stack([horizontal, horizontal.T])[:, None].repeat(channels, 1, 1, 1)  # (2C, 1, 3, 3)
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    gradients = F.conv2d(padded, kernels, groups=channels)  # (B, 2C, H, W): gx and gy of each channel in turn
    return gradients.unflatten(1, (channels, 2)).movedim(2, 0)


def sobel_magnitude(image: Tensor) -> Tensor:
    """Gradient magnitude ``|gx| + |gy|`` of :func:`sobel_gradient`, Eq. (6).

    Args:
        image: (B, C, H, W), any range; each channel is filtered separately.

    Returns:
        Tensor (B, C, H, W), >= 0.

    Raises:
        ValueError: if ``image`` does not have four dimensions.
    """
    return sobel_gradient(image).abs().sum(0)
