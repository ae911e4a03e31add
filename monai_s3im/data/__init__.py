"""Finding, reading and writing images, and the embedded phantom."""

from .inference import fusion_pairs, inference_items
from .loading import CompareSeriesd, LoadSourcesd
from .prepare_batch import PrepareFusionBatch
from .saving import DescribeSourcesd, SaveFusedd, pipeline_settings
from .training import training_items

__all__ = [
    "CompareSeriesd",
    "DescribeSourcesd",
    "LoadSourcesd",
    "PrepareFusionBatch",
    "SaveFusedd",
    "fusion_pairs",
    "inference_items",
    "pipeline_settings",
    "training_items",
]
