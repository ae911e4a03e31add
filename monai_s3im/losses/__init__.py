"""The losses of Eq. (4) to (9), and those of the second recipe."""

from .detail_texture import DetailTextureLoss
from .fusion import AblationLoss, GaussianSSIMLoss, S3IMFusionLoss
from .salient import (
    ConditionalEntropyLoss,
    ContentEntropyLoss,
    DifferenceCorrelationLoss,
    EdgePreservationLoss,
    GradientTransferLoss,
    SalientFloorLoss,
    SalientFusionLoss,
    SalientIntensityLoss,
)
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss

__all__ = [
    "AblationLoss",
    "ConditionalEntropyLoss",
    "ContentEntropyLoss",
    "DetailTextureLoss",
    "DifferenceCorrelationLoss",
    "EdgePreservationLoss",
    "GaussianSSIMLoss",
    "GradientTransferLoss",
    "S3IMFusionLoss",
    "SalientFloorLoss",
    "SalientFusionLoss",
    "SalientIntensityLoss",
    "SmoothLoss",
    "StochasticSSIMLoss",
]
