"""Whether uptake can be read from fused colours with the colour bar, and whether anatomy stays visible."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_s3im.functional import read_uptake, rgb_to_lab, rgb_to_ycbcr

LEAST_UPTAKE = 0.08
"""Below it colour fades in and cannot be read."""

_COLDER = 0.3
_PAIRS = 1_000_000
_FEWEST = 100
_LEVELS = 256


@dataclass(frozen=True)
class Reading:
    """The values an observer reads, for each voxel with at least 8 % of uptake.

    Attributes:
        true: the uptake, (N,) in [0, 1].
        read: the place of the nearest colour of the bar in CIELAB, (N,) in [0, 1].
        lightness: displayed L*, (N,).
        luma: fused luma, (N,) in [0, 1].
    """

    true: Tensor
    read: Tensor
    lightness: Tensor
    luma: Tensor


def reading_of(colors: Tensor, bar: Tensor, uptake: Tensor, luma: Tensor) -> Reading:
    """Read fused colours.

    Args:
        colors: RGB in [0, 1], (3, ...).
        bar: RGB in [0, 1], (3, entries), from no to full uptake.
        uptake: (1, ...) in [0, 1].
        luma: fused luma in [0, 1], (1, ...).
    """
    is_hot = uptake[0] >= LEAST_UPTAKE
    shown = colors[:, is_hot].double()
    read = read_uptake(shown, bar)
    return Reading(uptake[0][is_hot].double().clamp_max(1), read, rgb_to_lab(shown)[0], luma[0][is_hot].double())


def rank_correlation(reading: Reading) -> float:
    """Spearman's rank correlation of read and true uptake; ties share the mean of their ranks."""
    return _correlation(_ranks(reading.read), _ranks(reading.true))


def largest_errors(reading: Reading) -> float:
    """The 95th percentile of the absolute error of the read uptake."""
    errors = (reading.read - reading.true).abs().sort().values
    return errors[math.ceil(0.95 * len(errors)) - 1].item()


def reversed_pairs(reading: Reading) -> float:
    """Percentage of a million random voxel pairs in which the voxel colder by 0.3 is read as the hotter one."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(len(reading.true), (2, _PAIRS), generator=generator)
    is_colder = reading.true[first] <= reading.true[second] - _COLDER
    if not is_colder.any():
        return 0.0
    is_reversed = reading.read[first] > reading.read[second]
    return 100 * is_reversed[is_colder].double().mean().item()


def anatomy_shown(reading: Reading) -> float:
    """Pearson's correlation of the displayed lightness with the fused luma."""
    return _correlation(reading.lightness, reading.luma)


@dataclass(frozen=True)
class ReadingGuard:
    """A bound that the colours of a fused image should meet.

    Attributes:
        title: what is measured.
        bound: the largest or smallest good value.
        is_upper: whether ``bound`` is the largest one.
        value: function of a reading.
    """

    title: str
    bound: float
    is_upper: bool
    value: Callable[[Reading], float]

    def holds(self, value: float) -> bool:
        """Whether a value meets the bound."""
        return value <= self.bound if self.is_upper else value >= self.bound


READING_GUARDS: dict[str, ReadingGuard] = {
    "read": ReadingGuard("read and true uptake, Spearman", 0.97, False, rank_correlation),
    "read error": ReadingGuard("error of read uptake, 95 %", 0.10, True, largest_errors),
    "reversed": ReadingGuard("hot and cold reversed, % of pairs", 1.0, True, reversed_pairs),
    "anatomy": ReadingGuard("shown lightness and fused luma", 0.95, False, anatomy_shown),
}


def reading_values(colors: Tensor, bar: Tensor, uptake: Tensor, luma: Tensor) -> dict[str, float]:
    """The guards of :data:`READING_GUARDS`, nan if fewer than 100 voxels are hot; see :func:`reading_of`."""
    reading = reading_of(colors, bar, uptake, luma)
    if len(reading.true) < _FEWEST:
        return dict.fromkeys(READING_GUARDS, math.nan)
    return {name: guard.value(reading) for name, guard in READING_GUARDS.items()}


def picture_readings(fused: Tensor, luma: Tensor, source: Tensor) -> dict[str, float]:
    """The guards of a picture with an unknown colour bar: the source's own colours, sorted by luma, replace it.

    Args:
        fused: RGB in [0, 1], (3, H, W).
        luma: fused luma, (1, H, W).
        source: the coloured source, RGB in [0, 1], (3, H, W).
    """
    brightness = rgb_to_ycbcr(source)[:1].clamp(0, 1)
    level = (brightness.flatten() * (_LEVELS - 1)).round().long()
    count = torch.bincount(level, minlength=_LEVELS)
    colors = torch.stack([torch.bincount(level, channel.flatten(), _LEVELS) for channel in source.double()])
    is_there = count > 0
    known = (colors / count.clamp_min(1))[:, is_there]
    levels = is_there.nonzero()[:, 0].double() / (_LEVELS - 1)
    reading = reading_of(fused, known, brightness, luma)
    if len(reading.true) < _FEWEST:
        return dict.fromkeys(READING_GUARDS, math.nan)
    places = (reading.read * (len(levels) - 1)).round().long()
    reading = Reading(reading.true, levels[places], reading.lightness, reading.luma)
    return {name: guard.value(reading) for name, guard in READING_GUARDS.items()}


def _ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[inverse]


def _correlation(first: Tensor, second: Tensor) -> float:
    return torch.corrcoef(torch.stack([first, second]))[0, 1].item()
