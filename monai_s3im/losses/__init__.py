"""The losses of Eq. (4) to (9)."""

from .detail_texture import DetailTextureLoss
from .fusion import AblationLoss, GaussianSSIMLoss, S3IMFusionLoss
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss

__all__ = [
    "AblationLoss",
    "DetailTextureLoss",
    "GaussianSSIMLoss",
    "S3IMFusionLoss",
    "SmoothLoss",
    "StochasticSSIMLoss",
]
