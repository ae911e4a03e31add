"""Transforms around the network: intensity, alignment, chrominance; ``Foo`` on a tensor, ``Food`` on a dictionary."""

from .alignment import (
    PLANES,
    AlignSourcesd,
    RandSliced,
    RestoreGridd,
    ToSlices,
    resample_onto,
)
from .chrominance import ColorMap, ColorMapd, RestoreChrominanced, SplitChrominanced
from .intensity import NormalizeModality, NormalizeModalityd

__all__ = [
    "PLANES",
    "AlignSourcesd",
    "ColorMap",
    "ColorMapd",
    "NormalizeModality",
    "NormalizeModalityd",
    "RandSliced",
    "RestoreChrominanced",
    "RestoreGridd",
    "SplitChrominanced",
    "ToSlices",
    "resample_onto",
]
