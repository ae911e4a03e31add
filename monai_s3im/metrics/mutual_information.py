"""MI: mutual information."""

import math

import torch
from torch import Tensor

from .base import GRAY_LEVELS, FusionMetric, histogram_levels, nan_unless_finite, prepare_pair


def mutual_information(fused: Tensor, sources: Tensor, data_range: float = 1.0) -> Tensor:
    r"""MI, the information of the fused image's gray values about each source's, in nats, summed over the sources.

    .. math:: MI = \sum_n I(F; S_n), \quad I(F; S) = H(F) + H(S) - H(F, S)

    from the joint 256 x 256 histogram of the values rounded on the 0..255 scale (half to even), natural logarithm. A
    copy of one source has the largest possible value.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``; values outside are counted as the nearest end.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.

    Returns:
        (B,), at least 0 nats. A constant fused image or source adds 0; nan where a pixel is nan or infinite.

    Raises:
        ValueError: if the shapes do not fit, or ``data_range`` is not positive.

    References:
        Qu, Zhang, Yan 2002, https://doi.org/10.1049/el:20020212
    """
    fused, sources = prepare_pair(fused, sources, data_range)
    batch, n_sources = sources.shape[:2]
    offset = GRAY_LEVELS**2 * torch.arange(batch * n_sources, device=fused.device, dtype=torch.int32).view(
        batch, n_sources, 1, 1
    )
    cell = histogram_levels(fused) * GRAY_LEVELS + histogram_levels(sources) + offset
    counts = torch.bincount(cell.flatten(), minlength=batch * n_sources * GRAY_LEVELS**2)
    joint = counts.view(batch, n_sources, GRAY_LEVELS, GRAY_LEVELS).to(fused.dtype) / math.prod(fused.shape[2:])
    entropy_fused = torch.special.entr(joint.sum(3)).sum(2)
    entropy_source = torch.special.entr(joint.sum(2)).sum(2)
    entropy_joint = torch.special.entr(joint).sum((2, 3))
    information = (entropy_fused + entropy_source - entropy_joint).clamp_min(0)  # (B, N)
    return nan_unless_finite(information.sum(1), fused, sources)


class MutualInformationMetric(FusionMetric):
    """MI in nats as a MONAI metric, see :func:`mutual_information`."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """MI of each image, (B,)."""
        return mutual_information(fused, sources, self.data_range)
