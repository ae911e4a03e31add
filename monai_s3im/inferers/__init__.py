"""Inferers."""

from .slice_wise import SliceWiseInferer

__all__ = ["SliceWiseInferer"]
