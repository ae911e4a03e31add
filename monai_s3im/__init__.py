"""S3IMFusion: stochastic structural similarity guided fusion of multi-modal medical images.

Paper: A stochastic structural similarity guided approach for multi-modal medical image fusion,
Scientific Reports 2025, https://doi.org/10.1038/s41598-025-93662-6.

The names below are loaded when they are first used, so that ``import monai_s3im`` does not wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_s3im.evaluation.evaluate import evaluate

    from .batch import fuse_batch
    from .pipeline import Fuser, fuse
    from .record import FusionRecord
    from .settings import FusionSettings

__version__ = "0.1.0"

__all__ = ["Fuser", "FusionRecord", "FusionSettings", "__version__", "evaluate", "fuse", "fuse_batch"]

_HOMES = {
    "FusionRecord": "record",
    "FusionSettings": "settings",
    "Fuser": "pipeline",
    "evaluate": "evaluation.evaluate",
    "fuse": "pipeline",
    "fuse_batch": "batch",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
