"""Prepare batches of the data loader for the network and the loss."""

from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor


class PrepareFusionBatch(PrepareBatch):
    """Return the sources twice, as the network's input and as the loss's target, since fusion has no ground truth."""

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Move ``batchdata["image"]``, (B, N, H, W) or (B, N, H, W, D), to the device."""
        image = batchdata["image"].to(device=device, non_blocking=non_blocking, **kwargs)
        return image, image
