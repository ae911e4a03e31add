"""The losses of Eq. (4) to (9), and those of the second recipe."""

from .brightness import SalientFloorLoss, SalientIntensityLoss
from .contrast import ContrastLoss, SolidLoss
from .detail_texture import DetailTextureLoss
from .difference_correlation import DifferenceCorrelationLoss
from .edges import EdgePreservationLoss, GradientTransferLoss
from .entropy import ConditionalEntropyLoss, ContentEntropyLoss
from .fusion import AblationLoss, GaussianSSIMLoss, S3IMFusionLoss
from .per_source import PerSourceLoss
from .salient import SalientFusionLoss
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss

__all__ = [
    "AblationLoss",
    "ConditionalEntropyLoss",
    "ContentEntropyLoss",
    "ContrastLoss",
    "DetailTextureLoss",
    "DifferenceCorrelationLoss",
    "EdgePreservationLoss",
    "GaussianSSIMLoss",
    "GradientTransferLoss",
    "PerSourceLoss",
    "S3IMFusionLoss",
    "SalientFloorLoss",
    "SalientFusionLoss",
    "SalientIntensityLoss",
    "SmoothLoss",
    "SolidLoss",
    "StochasticSSIMLoss",
]
