"""Training: what the trainer and the evaluator of the bundle need beside MONAI."""

from .prepare_batch import PrepareFusionBatch

__all__ = ["PrepareFusionBatch"]
