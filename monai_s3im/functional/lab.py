"""Convert RGB and CIELAB: lightness and two colour axes, in which equal steps look about equal."""

import torch
from torch import Tensor

# IEC 61966-2-1, linear sRGB to XYZ (D65); the white point is that of RGB (1, 1, 1), so gray has a = b = 0.
_RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_KNEE = 6 / 29  # of the cube root, CIE 15


def rgb_to_lab(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Convert sRGB to CIELAB (1976).

    Args:
        image: RGB in [0, 1], 3 channels in dimension ``channel_dim``, any number of other dimensions.
        channel_dim: where the channels are.

    Returns:
        Tensor of the same shape: L* in [0, 100], a* and b* in about [-128, 128].

    Raises:
        ValueError: if dimension ``channel_dim`` does not have 3 channels, or the values are integers.

    References:
        CIE 15:2004, Colorimetry; IEC 61966-2-1:1999, sRGB.
    """
    rgb = _channels_first(image, channel_dim)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp_min(0) ** 2.4)
    matrix = _matrix(image)
    xyz = torch.tensordot(matrix / matrix.sum(1, keepdim=True), linear, dims=1)
    root = xyz.clamp_min(0) ** (1 / 3)
    x, y, z = torch.where(xyz > _KNEE**3, root, xyz / (3 * _KNEE**2) + 4 / 29)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).movedim(0, channel_dim)


def lab_to_rgb(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Convert CIELAB to sRGB; the inverse of :func:`rgb_to_lab`, not clipped.

    Args:
        image: L* in [0, 100], a* and b*, 3 channels in dimension ``channel_dim``.
        channel_dim: where the channels are.

    Returns:
        RGB of the same shape. Values leave [0, 1] where sRGB has no such colour.

    Raises:
        ValueError: if dimension ``channel_dim`` does not have 3 channels, or the values are integers.
    """
    lightness, a, b = _channels_first(image, channel_dim)
    y = (lightness + 16) / 116
    roots = torch.stack([y + a / 500, y, y - b / 200])
    xyz = torch.where(roots > _KNEE, roots**3, 3 * _KNEE**2 * (roots - 4 / 29))
    matrix = _matrix(image)
    linear = torch.tensordot(torch.linalg.inv(matrix), xyz * matrix.sum(1).view(3, *[1] * (xyz.ndim - 1)), dims=1)
    bent = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, bent).movedim(0, channel_dim)


def _channels_first(image: Tensor, channel_dim: int) -> Tensor:
    if image.shape[channel_dim] != 3:
        raise ValueError(f"expected 3 channels in dimension {channel_dim}, got an image of shape {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"expected floating-point values, got {image.dtype}; divide bytes by 255 first")
    return image.movedim(channel_dim, 0)


def _matrix(image: Tensor) -> Tensor:
    return torch.tensor(_RGB_TO_XYZ, dtype=image.dtype, device=image.device)
