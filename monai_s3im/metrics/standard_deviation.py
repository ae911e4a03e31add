"""SD: standard deviation."""

from torch import Tensor

from .base import FusionMetric, prepare_fused


def standard_deviation(fused: Tensor, data_range: float = 1.0) -> Tensor:
    r"""SD, the population standard deviation of the gray values: global contrast.

    .. math:: SD = \sqrt{\overline{(F - \overline{F})^2}}

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        data_range: the value that stands for white.

    Returns:
        (B,), 0 to 127.5 on the 0..255 scale. 0, to rounding, for a constant image.

    Raises:
        ValueError: if the shape differs, or ``data_range`` is not positive.
    """
    return prepare_fused(fused, data_range).std((1, 2, 3), correction=0)


class StandardDeviationMetric(FusionMetric):
    """SD as a MONAI metric, see :func:`standard_deviation`; the sources are not used."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:  # noqa: ARG002
        """SD of each image, (B,)."""
        return standard_deviation(fused, self.data_range)
