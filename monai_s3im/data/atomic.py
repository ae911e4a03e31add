"""Moved to :mod:`monai_s3im.atomic`."""

from monai_s3im.atomic import remove_leftovers

__all__ = ["remove_leftovers"]
