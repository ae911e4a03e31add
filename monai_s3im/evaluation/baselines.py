"""Fusion rules without learning, as baselines."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def average(sources: Tensor) -> Tensor:
    """Mean of the sources, (B, 1, H, W)."""
    return sources.mean(1, keepdim=True)


def maximum(sources: Tensor) -> Tensor:
    """The brightest source at each pixel, (B, 1, H, W)."""
    return sources.amax(1, keepdim=True)


def laplacian_pyramid(sources: Tensor, levels: int = 5) -> Tensor:
    """The coefficient of the largest magnitude at each level, over the mean of the bases.

    Each level is half the size of the one before, smoothed by the binomial kernel (1, 4, 6, 4, 1) / 16 along both axes.

    Args:
        sources: (B, N, H, W).
        levels: number of bands; fewer if a side would fall below 2 pixels.

    Returns:
        Tensor (B, 1, H, W), within the range of the sources.

    References:
        Burt and Adelson 1983, https://doi.org/10.1109/TCOM.1983.1095851
    """
    bands, base = _pyramid(sources, levels)
    chosen = [band.gather(1, band.abs().argmax(1, keepdim=True)) for band in bands]
    return _joined(chosen, base.mean(1, keepdim=True), sources)


def signal_pyramid(sources: Tensor, levels: int = 6) -> Tensor:
    """The mean of the coefficients at each level, weighted by signal to noise, over the mean of the bases.

    The signal is the square of the coefficient, smoothed; the noise is its median over the content of the source, the
    pixels above 5 of 255 in any source. A faint source with little noise thus keeps its few structures.

    Args:
        sources: (B, N, H, W), values in [0, 1].
        levels: number of bands; fewer if a side would fall below 2 pixels.

    Returns:
        Tensor (B, 1, H, W), within the range of the sources.
    """
    bands, base = _pyramid(sources, levels)
    content = (sources > 5 / 255).any(1, keepdim=True).to(sources.dtype)
    fused = []
    for band in bands:
        energy = _smooth(band.square())
        inside = F.interpolate(content, size=list(band.shape[-2:])) > 0
        within = torch.where(inside, energy, torch.nan).flatten(2)
        noise = torch.nan_to_num(within.nanmedian(2).values, nan=1.0)[..., None, None]
        ratio = energy / noise.clamp(min=1e-6)
        share = ratio / ratio.sum(1, keepdim=True).clamp(min=1e-12)
        fused.append((share * band).sum(1, keepdim=True))
    return _joined(fused, base.mean(1, keepdim=True), sources)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "Average": average,
    "Max": maximum,
    "Laplacian pyramid": laplacian_pyramid,
    "Pyramid by signal to noise": signal_pyramid,
}
"""Rules (B, N, H, W) -> (B, 1, H, W) by name."""


def _pyramid(sources: Tensor, levels: int) -> tuple[list[Tensor], Tensor]:
    """The bands, finest first, and the residual, each (B, N, H, W) in its own size."""
    bands: list[Tensor] = []
    image = sources
    while len(bands) < levels and min(image.shape[-2:]) >= 4:
        smaller = _smooth(image)[..., ::2, ::2]
        bands.append(image - _expanded(smaller, image))
        image = smaller
    return bands, image


def _joined(bands: list[Tensor], base: Tensor, sources: Tensor) -> Tensor:
    """The image of fused bands over a fused base, within the range of the sources."""
    for band in reversed(bands):
        base = _expanded(base, band) + band
    return base.clamp(float(sources.min()), float(sources.max()))


def _smooth(image: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4, 6, 4, 1], dtype=image.dtype, device=image.device) / 16
    channels = image.shape[1]
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 5, 1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, 5).repeat(channels, 1, 1, 1), groups=channels)


def _expanded(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, size=list(like.shape[-2:]), mode="bilinear", align_corners=False)
