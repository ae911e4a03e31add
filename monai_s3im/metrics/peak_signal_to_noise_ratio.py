"""PSNR: peak signal-to-noise ratio."""

from typing import Literal

from torch import Tensor

from .base import FusionMetric, nan_unless_finite, prepare_pair

Peak = Literal["range", "max"]


def peak_signal_to_noise_ratio(fused: Tensor, sources: Tensor, data_range: float = 1.0, peak: Peak = "range") -> Tensor:
    r"""PSNR against all sources at once, in dB.

    .. math:: PSNR = 10 \log_{10} \frac{peak^2}{MSE}, \quad MSE = \frac{1}{N} \sum_n MSE(F, S_n)

    The average of the sources has the best PSNR by construction.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.
        peak: "range" takes 255, the white of the scale. "max" takes the largest value of each fused image, as the
            evaluator common in the field does: a darker image then has a lower PSNR.

    Returns:
        (B,) dB. +inf where the fused image equals every source (nan for peak "max" if they are black as well), -inf
        for peak "max" and a black fused image, nan for a pair with nan or infinite pixels.

    Raises:
        ValueError: if the shapes do not fit, ``data_range`` is not positive, or ``peak`` is unknown.
    """
    if peak not in ("range", "max"):
        raise ValueError(f"peak must be 'range' or 'max', got {peak!r}")
    fused, sources = prepare_pair(fused, sources, data_range)
    mse = (fused - sources).square().mean((1, 2, 3))
    peaks = fused.amax((1, 2, 3)) if peak == "max" else fused.new_tensor(255.0)
    return nan_unless_finite(10 * (peaks.square() / mse).log10(), fused, sources)


class FusionPSNRMetric(FusionMetric):
    """PSNR in dB against all sources as a MONAI metric, see :func:`peak_signal_to_noise_ratio`.

    Args:
        data_range: the value that stands for white in ``y_pred`` and ``y``.
        peak: "range" for 255, "max" for the largest value of each fused image.
        reduction: see :class:`~monai_s3im.metrics.FusionMetric`.
    """

    def __init__(self, data_range: float = 1.0, peak: Peak = "range", reduction: str = "mean") -> None:
        super().__init__(data_range, reduction)
        self.peak: Peak = peak

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """PSNR of each image, (B,)."""
        return peak_signal_to_noise_ratio(fused, sources, self.data_range, self.peak)
