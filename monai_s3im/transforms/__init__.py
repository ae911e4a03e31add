"""Transforms around the network: intensity, alignment, chrominance; ``Foo`` on a tensor, ``Food`` on a dictionary."""

from .alignment import AlignSourcesd, on_same_grid, resample_onto
from .cautions import CautionSourcesd
from .chrominance import FillUncoveredd, JoinSourcesd, RestoreChrominanced, SplitChrominanced
from .color_map import ARCS, ColorMap, ColorMapd, colors_of, in_color
from .ct_window import CTContent, ct_content
from .intensity import NormalizeModality, NormalizeModalityd
from .loading import CompareSeriesd, LoadSourcesd
from .movement import read_movement
from .output import CheckOutputd
from .pair import PairItemd
from .registration import Register, RegisterSourcesd
from .saving import DescribeSourcesd, SaveFusedd, pipeline_settings
from .slices import PLANES, RandSliced, RestoreGridd, ToSlices
from .task import ChooseTaskd

__all__ = [
    "ARCS",
    "PLANES",
    "AlignSourcesd",
    "CTContent",
    "CautionSourcesd",
    "CheckOutputd",
    "ChooseTaskd",
    "ColorMap",
    "ColorMapd",
    "CompareSeriesd",
    "DescribeSourcesd",
    "FillUncoveredd",
    "JoinSourcesd",
    "LoadSourcesd",
    "NormalizeModality",
    "NormalizeModalityd",
    "PairItemd",
    "RandSliced",
    "Register",
    "RegisterSourcesd",
    "RestoreChrominanced",
    "RestoreGridd",
    "SaveFusedd",
    "SplitChrominanced",
    "ToSlices",
    "colors_of",
    "ct_content",
    "in_color",
    "on_same_grid",
    "pipeline_settings",
    "read_movement",
    "resample_onto",
]
