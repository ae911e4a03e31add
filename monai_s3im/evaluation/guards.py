"""Guards for what the metrics miss: black stays black, bone and uptake stay bright, and nothing is invented."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_DARK = 5.0
_SATURATED = 250.0
_BRIGHTEST = 0.99
_NEIGHBOURHOOD = 7
_TOLERANCE = 0.1 * 255
_PATCH = 8


@dataclass(frozen=True)
class Guard:
    """A bound that a fused image or volume should meet, whatever its metrics.

    Attributes:
        title: what is measured.
        bound: the largest or smallest good value.
        is_upper: whether ``bound`` is the largest one.
        values: function of fused images (B, 1, H, W) and sources (B, 2, H, W) on the 0..255 scale, one value per image;
            nan if there is nothing to measure. For a volume: (1, H, W, D) and (2, H, W, D) on any common scale, one
            value.
    """

    title: str
    bound: float
    is_upper: bool
    values: Callable[[Tensor, Tensor], Tensor]

    def holds(self, value: float) -> bool:
        """Whether a mean value meets the bound."""
        return value <= self.bound if self.is_upper else value >= self.bound


def background(fused: Tensor, sources: Tensor) -> Tensor:
    """Mean of the fused image where both sources are below 5 of 255."""
    return _mean_where(fused, (sources < _DARK).all(1, keepdim=True))


def bone_kept(fused: Tensor, sources: Tensor) -> Tensor:
    """Mean of the fused image over pixels of source B above 250 of 255, divided by 255: saturated bone of a CT."""
    return _mean_where(fused, sources[:, 1:2] > _SATURATED) / 255


def uptake_kept(fused: Tensor, sources: Tensor) -> Tensor:
    """Mean of the fused image over the brightest 1 % of source B, divided by B's mean there; nan if that is 0."""
    brightness = sources[:, 1:2]
    hot = brightness >= torch.quantile(brightness.flatten(1), _BRIGHTEST, dim=1).reshape(-1, 1, 1, 1)
    brightest = _mean_where(brightness, hot)
    return torch.where(brightest > 0, _mean_where(fused, hot) / brightest, torch.nan)


def invented(fused: Tensor, sources: Tensor) -> Tensor:
    """Percentage of pixels more than a tenth of the range outside both sources' values in the 7 x 7 window."""
    pad, size = _NEIGHBOURHOOD // 2, _NEIGHBOURHOOD
    highest = F.max_pool2d(sources, size, stride=1, padding=pad).amax(1, keepdim=True)
    lowest = -F.max_pool2d(-sources, size, stride=1, padding=pad).amax(1, keepdim=True)
    outside = (fused > highest + _TOLERANCE) | (fused < lowest - _TOLERANCE)
    return 100 * outside.to(fused.dtype).mean((1, 2, 3))


def through_plane(fused: Tensor, sources: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring fused slices, divided by that of the noisier source."""
    steps = [volume.diff(dim=-1).abs().double().mean() for volume in (fused[0], *sources)]
    return steps[0] / torch.stack(steps[1:]).amax()


def patch_grid(fused: Tensor, sources: Tensor) -> Tensor:
    """How much stronger the steps at one phase of the patches are in the fused volume than in the sources.

    Steps between neighbouring pixels are averaged by their position modulo the side of a patch, and divided by the mean
    of all; without a patch pattern, that share is 1 at each of the eight positions. The result is the largest ratio of
    the fused volume's share to the larger share of the sources, along rows and columns.
    """
    worst = [
        _shares(fused[0], dim) / torch.stack([_shares(source, dim) for source in sources]).amax(0) for dim in (0, 1)
    ]
    return torch.cat(worst).amax()


def _shares(volume: Tensor, dim: int) -> Tensor:
    """Mean absolute step at each position modulo the patch, divided by the mean, (patch,); volume (H, W, D)."""
    steps = volume.double().diff(dim=dim).abs().movedim(dim, 0).flatten(1).mean(1)
    means = torch.stack([steps[phase::_PATCH].mean() for phase in range(_PATCH)])
    return means / means.mean()


GUARDS: dict[str, Guard] = {
    "background": Guard("background, mean (0 to 255)", 2.0, True, background),
    "bone": Guard("saturated bone kept", 0.85, False, bone_kept),
    "uptake": Guard("uptake kept", 0.9, False, uptake_kept),
    "targets": Guard("hot targets kept", 0.85, False, uptake_kept),
    "invented": Guard("invented pixels, %", 1.0, True, invented),
}
VOLUME_GUARDS: dict[str, Guard] = {
    "calm": Guard("steps between slices, relative to the sources", 1.1, True, through_plane),
    "grid": Guard("steps at one patch phase, relative to the sources", 1.05, True, patch_grid),
}
_SALIENT = {"ct": "bone", "pet": "uptake", "spect": "uptake", "infrared": "targets"}


def guard_values(fused: Tensor, sources: Tensor, modality_b: str) -> dict[str, Tensor]:
    """The guards that apply to a modality of source B.

    Args:
        fused: (B, 1, H, W), 0..255.
        sources: (B, 2, H, W), 0..255.
        modality_b: name of the modality of the second source; bone is for CT, uptake for PET and SPECT, hot
            targets for infrared.

    Returns:
        Guard name -> tensor (B,), nan if an image has nothing to measure.

    Raises:
        ValueError: if the shapes do not match.
    """
    if fused.ndim != 4 or fused.shape[1] != 1 or sources.shape != (len(fused), 2, *fused.shape[-2:]):
        raise ValueError(f"expected (B, 1, H, W) and (B, 2, H, W), got {list(fused.shape)} and {list(sources.shape)}")
    names = ["background", *([_SALIENT[modality_b]] if modality_b in _SALIENT else []), "invented"]
    return {name: GUARDS[name].values(fused, sources) for name in names}


def _mean_where(images: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum((1, 2, 3))
    total = (images * mask).sum((1, 2, 3))
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan)
