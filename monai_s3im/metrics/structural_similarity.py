"""SSIM: structural similarity, summed over the sources."""

import torch
from torch import Tensor

from .base import FusionMetric, prepare_pair

WINDOW = 7


def structural_similarity(
    fused: Tensor, sources: Tensor, data_range: float = 1.0, dynamic_range: float = 255.0
) -> Tensor:
    r"""SSIM as fusion papers report it: the sum of the fused image's SSIM with each source.

    .. math:: SSIM(F, S) = \frac{(2 \mu_F \mu_S + C_1)(2 \sigma_{FS} + C_2)}
                                {(\mu_F^2 + \mu_S^2 + C_1)(\sigma_F^2 + \sigma_S^2 + C_2)},
              \quad C_i = (K_i L)^2

    averaged over all positions of a uniform 7 x 7 window that lies wholly inside the image, with the sample covariance
    (divided by 48), K1 = 0.01 and K2 = 0.03.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white: used to convert the input to the 0..255 scale.
        dynamic_range: L in the formula, on the 0..255 scale. 255 is correct. 2 is the "published" variant: since
            CDDFuse many papers measured 0..255 images with L = 2 by accident, and their numbers are comparable only
            with this one. Its C2 is so small that flat regions need float64.

    Returns:
        (B,), at most N; N where all images are equal. nan where a side is shorter than 7 pixels.

    Raises:
        ValueError: if the shapes do not fit, or ``data_range`` or ``dynamic_range`` is not positive.

    References:
        Wang, Bovik, Sheikh, Simoncelli 2004, https://doi.org/10.1109/TIP.2003.819861
    """
    if not dynamic_range > 0:
        raise ValueError(f"dynamic_range must be positive, got {dynamic_range}")
    fused, sources = prepare_pair(fused, sources, data_range)
    if min(fused.shape[2:]) < WINDOW:
        return fused.new_full((fused.shape[0],), torch.nan)
    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    n = WINDOW**2
    sum_f, sum_s = _window_sum(fused), _window_sum(sources)
    variance_f = (_window_sum(fused.square()) - sum_f.square() / n) / (n - 1)
    variance_s = (_window_sum(sources.square()) - sum_s.square() / n) / (n - 1)
    covariance = (_window_sum(fused * sources) - sum_f * sum_s / n) / (n - 1)
    mean_f, mean_s = sum_f / n, sum_s / n
    ssim = (2 * mean_f * mean_s + c1) * (2 * covariance + c2)
    ssim /= (mean_f.square() + mean_s.square() + c1) * (variance_f + variance_s + c2)
    return ssim.mean((2, 3)).sum(1)


def _window_sum(image: Tensor) -> Tensor:
    """Sum over 7 x 7 windows without padding, as 7 = 4 + 2 + 1: for 8-bit values and their squares exact in float32."""
    for axis in (-2, -1):
        n = image.shape[axis]
        twos = image.narrow(axis, 0, n - 1) + image.narrow(axis, 1, n - 1)
        fours = twos.narrow(axis, 0, n - 3) + twos.narrow(axis, 2, n - 3)
        image = fours.narrow(axis, 0, n - 6) + twos.narrow(axis, 4, n - 6) + image.narrow(axis, 6, n - 6)
    return image


class FusionSSIMMetric(FusionMetric):
    """SSIM summed over the sources as a MONAI metric, see :func:`structural_similarity`.

    Args:
        data_range: the value that stands for white in ``y_pred`` and ``y``.
        dynamic_range: L of the formula on the 0..255 scale; 2 for the "published" variant.
        reduction: see :class:`~monai_s3im.metrics.FusionMetric`.
    """

    def __init__(self, data_range: float = 1.0, dynamic_range: float = 255.0, reduction: str = "mean") -> None:
        super().__init__(data_range, reduction)
        self.dynamic_range = dynamic_range

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """SSIM of each image, (B,)."""
        return structural_similarity(fused, sources, self.data_range, self.dynamic_range)
