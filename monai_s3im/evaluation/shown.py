"""Whether a reader sees both sources, which no usual metric shows; measured on the 0..255 scale."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .guards import Guard

_SATURATED = 250.0
_BRAIN_IN_CT = (25.0, 160.0)
_HEAD_IN_MR = 12.0
_UPTAKE, _CLEAR_UPTAKE = 40.0, 60.0
_SIGMA = 3.0  # pixels
_FEWEST = 20  # pixels


def uneven_bone(fused: Tensor, sources: Tensor) -> Tensor:
    """Standard deviation of the fused image within bone, where B is above 250 of 255, eroded by one pixel."""
    bone = _eroded(sources[:, 1:2] > _SATURATED, 1)
    count = bone.sum((1, 2, 3))
    mean = (fused * bone).sum((1, 2, 3)) / count
    squares = ((fused - mean.reshape(-1, 1, 1, 1)).square() * bone).sum((1, 2, 3))
    return torch.where(count >= _FEWEST, (squares / count).sqrt(), torch.nan)


def rim_of_bone(fused: Tensor, sources: Tensor) -> Tensor:
    """Difference between the outermost pixels of thick bone and its core, divided by 255.

    The core is the bone eroded by two pixels; thick bone is everything within two pixels of the core.
    """
    bone = sources[:, 1:2] > _SATURATED
    core = _eroded(bone, 2)
    thick = bone & ~_eroded(~core, 2)
    rim = thick & ~_eroded(bone, 1)
    counts = [mask.sum((1, 2, 3)) for mask in (rim, core)]
    means = [(fused * mask).sum((1, 2, 3)) / count for mask, count in zip((rim, core), counts, strict=True)]
    return torch.where(torch.minimum(*counts) >= _FEWEST, (means[0] - means[1]).abs() / 255, torch.nan)


def brain_shown(fused: Tensor, sources: Tensor, source: int) -> Tensor:
    """Correlation with a source in the brain: B between 25 and 160 and A above 12, eroded by two pixels."""
    lower, upper = _BRAIN_IN_CT
    brain = (sources[:, 1:2] > lower) & (sources[:, 1:2] < upper) & (sources[:, :1] > _HEAD_IN_MR)
    return _correlation(fused, sources[:, source : source + 1], _eroded(brain, 2))


def uptake_shown(fused: Tensor, sources: Tensor) -> Tensor:
    """Correlation of fused image and B, both smoothed (sigma 3 pixels), where B is above 40."""
    return _correlation(_smooth(fused), _smooth(sources[:, 1:2]), sources[:, 1:2] > _UPTAKE)


def detail_in_uptake(fused: Tensor, sources: Tensor) -> Tensor:
    """Correlation of the high-pass of fused image and A (minus a Gaussian, sigma 3 pixels) where B is above 60."""
    return _correlation(_detail(fused), _detail(sources[:, :1]), sources[:, 1:2] > _CLEAR_UPTAKE)


def detail_shown(fused: Tensor, sources: Tensor, source: int) -> Tensor:
    """Correlation of the high-pass of fused image and a source, over the whole picture."""
    first, second = _detail(fused), _detail(sources[:, source : source + 1])
    return _correlation(first, second, torch.ones_like(first, dtype=torch.bool))


SHOWN: dict[str, Guard] = {
    "uneven bone": Guard("deviation within saturated bone, of 255", 14.0, True, uneven_bone),
    "rim": Guard("rim of thick bone, of 1", 0.05, True, rim_of_bone),
    "MR in brain": Guard("correlation with MR in the brain", 0.85, False, partial(brain_shown, source=0)),
    "CT in brain": Guard("correlation with CT in the brain", 0.15, False, partial(brain_shown, source=1)),
    "SPECT shown": Guard("correlation with smoothed uptake", 0.75, False, uptake_shown),
    "PET shown": Guard("correlation with smoothed uptake", 0.80, False, uptake_shown),
    "MR in uptake": Guard("correlation with MR's detail in uptake", 0.70, False, detail_in_uptake),
    "visible shown": Guard("correlation with visible detail", 0.60, False, partial(detail_shown, source=0)),
    "infrared shown": Guard("correlation with infrared detail", 0.60, False, partial(detail_shown, source=1)),
}
"""Guards by name; the modality of B decides which are measured."""

_OF_MODALITY = {
    "ct": ("uneven bone", "rim", "MR in brain", "CT in brain"),
    "spect": ("SPECT shown", "MR in uptake"),
    "pet": ("PET shown", "MR in uptake"),
    "infrared": ("visible shown", "infrared shown"),
}


def shown_values(fused: Tensor, sources: Tensor, modality_b: str) -> dict[str, Tensor]:
    """How well both sources are shown.

    Args:
        fused: (B, 1, H, W), 0..255.
        sources: (B, 2, H, W), 0..255: MR with CT, SPECT or PET, or visible with infrared light.
        modality_b: of the second source.

    Returns:
        Name in ``SHOWN`` -> tensor (B,), nan if an image has too little to measure; empty for other modalities.
    """
    return {name: SHOWN[name].values(fused, sources) for name in _OF_MODALITY.get(modality_b, ())}


def _correlation(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Pearson's correlation over a mask, (B,); nan with fewer than 20 pixels or a constant image."""
    count = mask.sum((1, 2, 3))
    centred = []
    for image in (first, second):
        mean = ((image * mask).sum((1, 2, 3)) / count).reshape(-1, 1, 1, 1)
        centred.append((image - mean) * mask)
    squares = [image.square().sum((1, 2, 3)) for image in centred]
    value = (centred[0] * centred[1]).sum((1, 2, 3)) / (squares[0] * squares[1]).sqrt()
    is_defined = (count >= _FEWEST) & (torch.minimum(*squares) > 1e-6 * count)
    return torch.where(is_defined, value, torch.nan)


def _eroded(mask: Tensor, pixels: int) -> Tensor:
    """A mask (B, 1, H, W) eroded by some pixels; the image border does not erode it."""
    return F.max_pool2d((~mask).float(), 2 * pixels + 1, stride=1, padding=pixels) == 0


def _smooth(image: Tensor) -> Tensor:
    """A Gaussian of sigma 3 pixels, up to four sigmas, with replicated border."""
    reach = int(4 * _SIGMA)
    at = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(at**2) / (2 * _SIGMA**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(image, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))


def _detail(image: Tensor) -> Tensor:
    return image - _smooth(image)
