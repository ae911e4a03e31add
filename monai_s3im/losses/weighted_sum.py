"""The sum of several losses, each with a weight."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .base import FusionLoss


class WeightedSum(FusionLoss):
    """Weighted sum of named losses that keeps its last parts for the log. Losses of weight 0 are skipped.

    Args:
        terms: name -> weight and loss; the losses get the reduction of the sum.
        reduction: see :class:`~monai_s3im.losses.base.FusionLoss`.

    Raises:
        ValueError: if all weights are 0.
    """

    def __init__(self, terms: Mapping[str, tuple[float, nn.Module]], reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weights = {name: weight for name, (weight, _) in terms.items() if weight}
        if not self.weights:
            raise ValueError("all weights of the loss are 0: give at least one that is not")
        self.losses = nn.ModuleDict({name: terms[name][1] for name in self.weights})
        for loss in self.losses.values():
            setattr(loss, "reduction", self.reduction)  # noqa: B010 (mypy takes it for a submodule)
        self.parts: dict[str, Tensor] = {}

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar, or (B,). The unweighted parts stay in ``parts`` (detached, their mean) until the next call.

        Raises:
            ValueError: if the shapes do not match.
        """
        values = {name: loss(fused, sources) for name, loss in self.losses.items()}
        self.parts = {name: value.detach().mean() for name, value in values.items()}
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum(0)
