"""SF: spatial frequency."""

from torch import Tensor

from .base import FusionMetric, nan_unless_finite, prepare_fused


def spatial_frequency(fused: Tensor, data_range: float = 1.0) -> Tensor:
    r"""SF, the root mean square of the differences between neighbours.

    .. math:: SF = \sqrt{\overline{(\Delta_x F)^2} + \overline{(\Delta_y F)^2}}

    Each mean is over the differences that exist, H (W - 1) and (H - 1) W of them.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        data_range: the value that stands for white.

    Returns:
        (B,) on the 0..255 scale. 0 for a constant image, nan where a side is shorter than 2 pixels or
        a pixel is nan or infinite.

    Raises:
        ValueError: if the shape differs, or ``data_range`` is not positive.

    References:
        Eskicioglu, Fisher 1995, https://doi.org/10.1109/26.477498
    """
    fused = prepare_fused(fused, data_range)
    row_frequency = fused.diff(dim=3).square().mean((1, 2, 3))
    column_frequency = fused.diff(dim=2).square().mean((1, 2, 3))
    return nan_unless_finite((row_frequency + column_frequency).sqrt(), fused)


class SpatialFrequencyMetric(FusionMetric):
    """SF as a MONAI metric, see :func:`spatial_frequency`; the sources are not used."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:  # noqa: ARG002
        """SF of each image, (B,)."""
        return spatial_frequency(fused, self.data_range)
