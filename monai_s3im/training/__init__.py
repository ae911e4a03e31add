"""Training: what the trainer and the evaluator of the bundle need beside MONAI."""

from .checks import check_sources
from .prepare_batch import PrepareFusionBatch
from .processes import leave_process_group

__all__ = ["PrepareFusionBatch", "check_sources", "leave_process_group"]
