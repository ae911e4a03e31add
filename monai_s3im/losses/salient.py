"""The total loss of the second recipe, which adds brightness and the direction of edges to the published one."""

import torch

from .brightness import SalientFloorLoss, SalientIntensityLoss
from .contrast import ContrastLoss, SolidLoss
from .difference_correlation import DifferenceCorrelationLoss
from .edges import EdgePreservationLoss, GradientTransferLoss
from .entropy import ConditionalEntropyLoss, ContentEntropyLoss
from .fusion import GaussianSSIMLoss
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss
from .weighted_sum import WeightedSum


class SalientFusionLoss(WeightedSum):
    """The loss of the second recipe: a weighted sum, with one weight per argument.

    Args:
        s3im: weight of Eq. (5).
        gradient: weight of :class:`GradientTransferLoss`.
        intensity: weight of :class:`SalientIntensityLoss`.
        floor: weight of :class:`SalientFloorLoss`.
        floor_share: share of the brightest source that the floor keeps.
        floor_power: power of the brightest source that weights the floor.
        information: weight of :class:`ConditionalEntropyLoss`.
        ssim: weight of :class:`GaussianSSIMLoss`.
        edge: weight of :class:`EdgePreservationLoss`.
        smooth: weight of Eq. (7), :class:`SmoothLoss`.
        entropy: weight of :class:`ContentEntropyLoss`.
        difference: weight of :class:`DifferenceCorrelationLoss`.
        contrast: weight of :class:`ContrastLoss`.
        solid: weight of :class:`SolidLoss`.
        gradient_gain: gain of the gradient transfer.
        draws: M of Eq. (5).
        patch_size: side in pixels of the rearranged image of Eq. (5).
        generator: makes the draws of Eq. (5) reproducible.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.

    Raises:
        ValueError: if all weights are 0.
    """

    def __init__(
        self,
        s3im: float = 3.0,
        gradient: float = 20.0,
        intensity: float = 6.0,
        floor: float = 15.0,
        floor_share: float = 0.9,
        floor_power: float = 1.0,
        information: float = 1.6,
        ssim: float = 4.0,
        edge: float = 6.0,
        smooth: float = 0.0,
        entropy: float = 0.0,
        difference: float = 0.0,
        contrast: float = 0.0,
        solid: float = 0.0,
        gradient_gain: float = 1.08,
        draws: int = 10,
        patch_size: int = 64,
        generator: torch.Generator | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            {
                "s3im": (s3im, StochasticSSIMLoss(draws, patch_size, generator=generator)),
                "gradient": (gradient, GradientTransferLoss(gradient_gain)),
                "intensity": (intensity, SalientIntensityLoss()),
                "floor": (floor, SalientFloorLoss(floor_share, floor_power)),
                "information": (information, ConditionalEntropyLoss()),
                "ssim": (ssim, GaussianSSIMLoss()),
                "edge": (edge, EdgePreservationLoss()),
                "smooth": (smooth, SmoothLoss()),
                "entropy": (entropy, ContentEntropyLoss()),
                "difference": (difference, DifferenceCorrelationLoss()),
                "contrast": (contrast, ContrastLoss()),
                "solid": (solid, SolidLoss()),
            },
            reduction,
        )
