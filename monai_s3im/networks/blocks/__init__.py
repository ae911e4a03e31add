"""Parts of the network: branches, global correlation, fusion rules."""

from .complementary_detail import ComplementaryDetail
from .fusion_rules import WeightedBranchFusion
from .global_correlation import GlobalCorrelation, TransformerUnit
from .salient import SalientBranch

__all__ = ["ComplementaryDetail", "GlobalCorrelation", "SalientBranch", "TransformerUnit", "WeightedBranchFusion"]
