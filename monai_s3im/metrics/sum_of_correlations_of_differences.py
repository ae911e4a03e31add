"""SCD: sum of the correlations of differences."""

import torch
from torch import Tensor

from .base import FusionMetric, is_constant, prepare_pair


def sum_of_correlations_of_differences(fused: Tensor, sources: Tensor, data_range: float = 1.0) -> Tensor:
    r"""SCD: how well each source correlates with what the fused image adds to the other sources.

    .. math:: SCD = corr(A, F - B) + corr(B, F - A)

    with Pearson's correlation over the image; for N sources, the sum of corr(S_n, F - sum of the others).

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.

    Returns:
        (B,), -N to N. nan where a source spans less than half a gray level or a difference is constant, including a
        fused image that equals one of two sources: Pearson's correlation is undefined there.

    Raises:
        ValueError: if the shapes do not fit, or ``data_range`` is not positive.

    References:
        Aslantas, Bendes 2015, https://doi.org/10.1016/j.aeue.2015.09.004
    """
    fused, sources = prepare_pair(fused, sources, data_range)
    differences = fused - (sources.sum(1, keepdim=True) - sources)
    x = sources - sources.mean((2, 3), keepdim=True)
    y = differences - differences.mean((2, 3), keepdim=True)
    deviation_x, deviation_y = (z.square().mean((2, 3)).sqrt() for z in (x, y))  # (B, N)
    correlation = (x * y).mean((2, 3)) / (deviation_x * deviation_y)
    rounding_error = 255 * 8 * torch.finfo(x.dtype).eps
    is_undefined = is_constant(sources) | (deviation_y <= rounding_error)
    return correlation.masked_fill(is_undefined, torch.nan).sum(1)


class SCDMetric(FusionMetric):
    """SCD as a MONAI metric, see :func:`sum_of_correlations_of_differences`."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """SCD of each image, (B,)."""
        return sum_of_correlations_of_differences(fused, sources, self.data_range)
