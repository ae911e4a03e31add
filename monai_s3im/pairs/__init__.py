"""Pairs of images: lists, patterns, layouts of data sets, their checks and their download."""

from .inference import fusion_pairs, inference_items
from .training import training_items

__all__ = ["fusion_pairs", "inference_items", "training_items"]
