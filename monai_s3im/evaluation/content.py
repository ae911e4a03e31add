"""The metrics on the content only, so a raised or noisy background gains nothing."""

import torch
from torch import Tensor

from monai_s3im.metrics import fusion_metrics

DARK = 5.0
SUFFIX = " on content"


def content_metrics(fused: Tensor, sources: Tensor) -> dict[str, Tensor]:
    """The fusion metrics with the fused image set to 0 where both sources are below 5 of 255.

    EN is computed over the other pixels only; nan if there are none.

    Args:
        fused: (B, 1, H, W), 0..255.
        sources: (B, 2, H, W), 0..255.

    Returns:
        Name of the metric, followed by ``" on content"`` -> tensor (B,).
    """
    content = (sources >= DARK).any(1, keepdim=True)
    blackened = torch.where(content, fused, 0.0)
    found = fusion_metrics(blackened, sources, data_range=255.0) | {"EN": _entropy(fused, content)}
    return {f"{name}{SUFFIX}": value for name, value in found.items()}


def _entropy(fused: Tensor, mask: Tensor) -> Tensor:
    """Entropy in bits of the rounded values of a mask, (B,)."""
    levels = fused.round().clamp(0, 255).long() + 256 * torch.arange(len(fused), device=fused.device).view(-1, 1, 1, 1)
    counts = torch.bincount(levels[mask], minlength=256 * len(fused)).reshape(len(fused), 256).to(fused.dtype)
    shares = counts / counts.sum(1, keepdim=True)  # nan without content
    return -torch.xlogy(shares, shares).sum(1) / torch.log(torch.tensor(2.0, dtype=fused.dtype, device=fused.device))
