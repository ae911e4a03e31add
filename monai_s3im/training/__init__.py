"""Training: components of the bundle's trainer and evaluator that MONAI lacks."""

from .checks import check_sources
from .prepare_batch import PrepareFusionBatch
from .processes import leave_process_group

__all__ = ["PrepareFusionBatch", "check_sources", "leave_process_group"]
