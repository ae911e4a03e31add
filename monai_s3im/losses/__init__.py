"""The losses of Eq. (4) to (9)."""

from .detail_texture import DetailTextureLoss
from .fusion import AblationLoss, S3IMFusionLoss
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss

__all__ = ["AblationLoss", "DetailTextureLoss", "S3IMFusionLoss", "SmoothLoss", "StochasticSSIMLoss"]
