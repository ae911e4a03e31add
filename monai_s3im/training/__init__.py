"""Training: what the trainer and the evaluator of the bundle need beside MONAI."""

from .checks import check_sources
from .prepare_batch import PrepareFusionBatch

__all__ = ["PrepareFusionBatch", "check_sources"]
