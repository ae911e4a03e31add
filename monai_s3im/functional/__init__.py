"""Stateless functions from tensor to tensor: the mathematics that networks, losses, metrics and transforms share."""

from .color import merge_chrominance, rgb_to_ycbcr, ycbcr_to_rgb
from .gradient import sobel_gradient, sobel_magnitude
from .shuffle import draw_positions, shuffled_patches
from .ssim import windowed_ssim

__all__ = [
    "draw_positions",
    "merge_chrominance",
    "rgb_to_ycbcr",
    "shuffled_patches",
    "sobel_gradient",
    "sobel_magnitude",
    "windowed_ssim",
    "ycbcr_to_rgb",
]
