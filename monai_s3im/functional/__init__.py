"""Stateless functions of tensors: the mathematics that networks, losses, metrics and transforms share."""

from .color import merge_chrominance, rgb_to_ycbcr, ycbcr_to_rgb
from .gradient import sobel_gradient, sobel_magnitude
from .intensity import guess_modality, intensity_range, is_hounsfield, padding_of
from .shuffle import draw_positions, shuffled_patches
from .ssim import windowed_ssim

__all__ = [
    "draw_positions",
    "guess_modality",
    "intensity_range",
    "is_hounsfield",
    "merge_chrominance",
    "padding_of",
    "rgb_to_ycbcr",
    "shuffled_patches",
    "sobel_gradient",
    "sobel_magnitude",
    "windowed_ssim",
    "ycbcr_to_rgb",
]
