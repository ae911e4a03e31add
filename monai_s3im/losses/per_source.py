"""Any loss between two images as a fusion loss."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .base import check_and_promote

_OF_TWO_IMAGES = ("monai.losses", "torch.nn")


class PerSourceLoss(nn.Module):
    """A loss between two images, taken between the fused image and each source, ``sum_i w_i loss(I_f, I_i)``.

    It turns any loss of MONAI or PyTorch that compares an image with a target into a fusion loss.

    Args:
        loss: called with the fused image, (B, 1, H, W), and one source, (B, 1, H, W).
        weights: w_i, one for each source; None: 1/N, the mean over the sources.

    Example::

        PerSourceLoss(monai.losses.SSIMLoss(spatial_dims=2))
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], weights: list[float] | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.weights = weights

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: I_f, (B, 1, H, W), values in [0, 1].
            sources: I_i, (B, N, H, W), values in [0, 1].

        Returns:
            The weighted sum of the loss values, in their own shape.

        Raises:
            ValueError: if the shapes or the number of weights do not match.
        """
        fused, sources = check_and_promote(fused, sources)
        count = sources.shape[1]
        weights = self.weights if self.weights is not None else [1 / count] * count
        if len(weights) != count:
            raise ValueError(f"{len(weights)} weights for {count} sources: give one for each source")
        pairs = zip(weights, sources.split(1, dim=1), strict=True)
        return torch.stack([weight * self.loss(fused, source) for weight, source in pairs]).sum(0)


def as_fusion_loss(loss: nn.Module) -> nn.Module:
    """A loss for training on sources: a loss of MONAI or PyTorch is applied per source, any other is kept."""
    return PerSourceLoss(loss) if type(loss).__module__.startswith(_OF_TWO_IMAGES) else loss
