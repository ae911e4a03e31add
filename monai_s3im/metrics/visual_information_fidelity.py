"""VIF: visual information fidelity."""

import math

import torch
from torch import Tensor
from torch.nn.functional import threshold

from .base import FusionMetric, is_constant, prepare_pair

WINDOWS = (17, 9, 5, 3)
NOISE_VARIANCE = 2.0
SMALLEST_SIDE = 41
_EPS = 1e-10


def visual_information_fidelity(fused: Tensor, sources: Tensor, data_range: float = 1.0) -> Tensor:
    r"""VIF in the pixel domain, summed over the sources, with the fused image as their distorted copy.

    .. math:: VIF(S, F) = \frac{\sum \log_{10} (1 + g^2 \sigma_S^2 / (\sigma_v^2 + 2))}
                              {\sum \log_{10} (1 + \sigma_S^2 / 2)}, \quad
              g = \sigma_{SF} / \sigma_S^2, \quad \sigma_v^2 = \sigma_F^2 - g \sigma_{SF}

    and nothing kept where the covariance is negative. The sums run over four scales with Gaussian windows of 17, 9, 5
    and 3 pixels, sigma a fifth of that, on the 0..255 scale without padding; before each further scale the images are
    filtered with its window and halved. The variances are small differences of large numbers, so they are computed in
    float64 for every input (except on MPS, which lacks it): float32 would lose the fourth digit.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.

    Returns:
        (B,), at least 0; N if the fused image equals every source, more if it has more contrast. nan where a source
        spans less than half a gray level (it has no information to keep) and where a side is shorter than 41 pixels
        (the fourth scale would be empty).

    Raises:
        ValueError: if the shapes do not fit, or ``data_range`` is not positive.

    References:
        Sheikh, Bovik 2006, https://doi.org/10.1109/TIP.2005.859378
    """
    fused, sources = prepare_pair(fused, sources, data_range)
    if min(fused.shape[2:]) < SMALLEST_SIDE:
        return fused.new_full((fused.shape[0],), torch.nan)
    kept = sources.new_zeros(sources.shape[:2])
    available = torch.zeros_like(kept)
    is_empty = is_constant(sources)
    if fused.device.type != "mps":
        fused, sources = fused.double(), sources.double()
    for size in WINDOWS:
        window = _gaussian(size)
        if size < WINDOWS[0]:
            fused, sources = _filtered(fused, window, step=2), _filtered(sources, window, step=2)
        snr_kept, snr_available = _signal_to_noise(fused, sources, window)
        kept += snr_kept.to(kept.dtype).log1p_().sum((2, 3))
        available += snr_available.to(kept.dtype).log1p_().sum((2, 3))
    return (kept / available).masked_fill(is_empty, torch.nan).sum(1)


def _signal_to_noise(fused: Tensor, sources: Tensor, window: list[float]) -> tuple[Tensor, Tensor]:
    """The arguments of the logarithms at one scale, for the fused image and the sources, (B, N, H', W') each."""
    mean_f, mean_s = _filtered(fused, window), _filtered(sources, window)
    variance_f = _filtered(fused.square(), window).addcmul_(mean_f, mean_f, value=-1)
    variance_s = _filtered(sources.square(), window).addcmul_(mean_s, mean_s, value=-1)
    covariance = _filtered(fused * sources, window).addcmul_(mean_f, mean_s, value=-1).clamp_min_(0)
    variance_s = threshold(variance_s, _EPS, 0.0, inplace=True)  # rounding residue in flat regions
    gain = covariance / (variance_s + _EPS)
    residual = variance_f.addcmul(gain, covariance, value=-1).clamp_min_(0)
    kept = gain.square_().mul_(variance_s).div_(residual.add_(NOISE_VARIANCE))
    return kept, variance_s.div_(NOISE_VARIANCE)


def _filtered(image: Tensor, weights: list[float], step: int = 1) -> Tensor:
    """Filter both axes without padding, and keep every step-th position: (..., H, W) -> (..., H - k + 1, W - k + 1).

    Adds shifted copies, which on the CPU is several times faster than a one-channel convolution.
    """
    for axis in (-2, -1):
        shifted = image.unfold(axis, len(weights), step)  # a view: k shifted copies, last
        total = shifted[..., 0] * weights[0]
        for offset, weight in enumerate(weights[1:], start=1):
            total.add_(shifted[..., offset], alpha=weight)
        image = total
    return image


def _gaussian(size: int) -> list[float]:
    weights = [math.exp(-((i - (size - 1) / 2) ** 2) / (2 * (size / 5) ** 2)) for i in range(size)]
    return [weight / sum(weights) for weight in weights]


class VIFMetric(FusionMetric):
    """VIF as a MONAI metric, see :func:`visual_information_fidelity`."""

    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """VIF of each image, (B,)."""
        return visual_information_fidelity(fused, sources, self.data_range)
