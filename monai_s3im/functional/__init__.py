"""Stateless functions on tensors: the mathematics shared by networks, losses, metrics and transforms."""

from .color import merge_chrominance, rgb_to_ycbcr, ycbcr_to_rgb
from .gradient import sobel_gradient, sobel_magnitude
from .intensity import guess_modality, intensity_range, is_hounsfield, is_surely_ct, padding_of
from .lab import lab_to_rgb, rgb_to_lab
from .shuffle import draw_positions, shuffled_patches
from .ssim import windowed_ssim
from .uptake_colors import arc_of_bar, hue_arc, plane_colors, plane_luma, read_uptake, uptake_colors

__all__ = [
    "arc_of_bar",
    "draw_positions",
    "guess_modality",
    "hue_arc",
    "intensity_range",
    "is_hounsfield",
    "is_surely_ct",
    "lab_to_rgb",
    "merge_chrominance",
    "padding_of",
    "plane_colors",
    "plane_luma",
    "read_uptake",
    "rgb_to_lab",
    "rgb_to_ycbcr",
    "shuffled_patches",
    "sobel_gradient",
    "sobel_magnitude",
    "uptake_colors",
    "windowed_ssim",
    "ycbcr_to_rgb",
]
