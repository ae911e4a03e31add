"""Analyse the values of a volume: modality, padding, and the range that becomes 0 to 1."""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from monai_s3im.modalities import MODALITIES, Modality

_AIR_HU, _TISSUE_HU, _BONE_HU, _METAL_HU = (-1100.0, -900.0), -500.0, 300.0, 4000.0
_MOST_METAL = 0.01  # part of the voxels
_LEAST_AIR_OF_A_CT, _LEAST_AIR_OF_A_GUESS, _LEAST_AIR, _LEAST_LUNG = 0.02, 5e-3, 1e-3, 0.05  # parts of the voxels
_LEAST_PADDING, _LEAST_GAP, _LARGE_GAP, _LEAST_HIGH_PADDING = 1e-3, 100.0, 500.0, 30_000.0
_MOST_SAMPLES = 10_000_000


def guess_modality(volume: Tensor) -> Modality:
    """Guess from the values: CT if air forms a peak, bone is present and nothing is far below air, else generic.

    Extremes alone prove nothing: an MR resampled by splines has voxels far below 0, and padding, or metal in a CT, may
    have any value.

    Args:
        volume: (1, X, Y, Z) in the file's unit; NaN where there is no value.
    """
    values = _measured(volume)
    below, between, air = _shares(values)
    is_air_a_peak = air >= _LEAST_AIR_OF_A_GUESS and air >= between / 2 and below <= air / 10
    is_range_of_ct = values.max(initial=0.0) >= _BONE_HU and float((values > _METAL_HU).mean()) <= _MOST_METAL
    return MODALITIES["ct" if is_air_a_peak and is_range_of_ct else "generic"]


def is_hounsfield(volume: Tensor) -> bool:
    """Whether a CT volume is in HU: it has a peak of air around -1000 HU, or a good part below -500 HU, like lung.

    Padding and NaN are ignored.

    Args:
        volume: (1, ...) in the file's unit.
    """
    _, between, air = _shares(_measured(volume))
    return (air >= _LEAST_AIR and air > 0.75 * between) or air + between >= _LEAST_LUNG


def is_surely_ct(volume: Tensor) -> bool:
    """Whether the values are almost certainly HU: a clear peak of air at -1000, with fat and bone present.

    Args:
        volume: (1, ...) in the file's unit.
    """
    if float(volume.amin()) > _AIR_HU[1]:
        return False
    values = _measured(volume)
    _, between, air = _shares(values)
    is_padding = float(((values > _AIR_HU[1]) & (values < 0)).mean()) < _LEAST_AIR
    return (
        not is_padding
        and air >= _LEAST_AIR_OF_A_CT
        and air > 0.75 * between
        and guess_modality(volume).window is not None
    )


def padding_of(volume: Tensor, modality: Modality | None = None) -> list[float]:
    """The values that mean "not measured", such as -2000, -3024, -32768, 63536 or 65535.

    Padding is a single value at either end, or two at the low end, each in at least 0.1 % of the voxels and far from
    all others: at the low end it is negative and at least 100 apart, and 500 or half of the range of all others; at the
    high end it is at least 30,000 and twice the next one. In a CT, -1100 and above is not padding but air or the value
    of clipping.

    Args:
        volume: (1, ...) in the file's unit; NaN where there is no value.
        modality: how the volume will be treated; None: not known yet.
    """
    return _padding_in(_sampled(volume), modality)


def _padding_in(values: NDArray[np.float32], modality: Modality | None) -> list[float]:
    found: list[float] = []
    for turn, sign in enumerate((1.0, 1.0, -1.0)):  # the low end, again if there was padding, and the high end
        if turn == 1 and not found:
            continue
        ends = sign * values
        end = float(ends.min(initial=0.0))
        rest = ends[ends > end]
        if not rest.size or values.size - rest.size < _LEAST_PADDING * values.size:
            continue
        gap = float(rest.min()) - end
        is_air = end >= _AIR_HU[0] and (modality is None or modality.window is not None)
        is_apart = gap >= max(_LEAST_GAP, min(_LARGE_GAP, float(rest.max() - rest.min()) / 2))
        is_low = end < 0 and is_apart and not is_air
        is_high = -end >= _LEAST_HIGH_PADDING and gap >= -end / 2
        if is_low if sign > 0 else is_high:
            found.append(sign * end)
            values = values[values != sign * end]
    return found


def _sampled(volume: Tensor) -> NDArray[np.float32]:
    """The values without NaN; for more than 10 million, every n-th."""
    values = volume.detach().cpu().numpy().ravel()
    values = values[:: math.ceil(values.size / _MOST_SAMPLES)]
    finite = np.isfinite(values)
    measured: NDArray[np.float32] = values if finite.all() else values[finite]
    return measured


def _measured(volume: Tensor, modality: Modality | None = None) -> NDArray[np.float32]:
    """The values without NaN and padding."""
    values = _sampled(volume)
    for padding in _padding_in(values, modality):
        values = values[values != padding]
    return values


def _shares(values: NDArray[np.float32]) -> tuple[float, float, float]:
    """The shares of the values below air, between air and -500 HU, and in air."""
    if not values.size:
        return 0.0, 0.0, 0.0
    lowest, highest = _AIR_HU
    below = float((values < lowest).mean())
    air = float((values <= highest).mean()) - below
    return below, float((values <= _TISSUE_HU).mean()) - air - below, air


def intensity_range(volume: Tensor, modality: Modality) -> tuple[float, float]:
    """The values that become 0 and 1: the modality's window, or robust percentiles of the whole volume.

    The foreground is everything above half-way between the darkest and the mean value, both without outliers. This
    excludes air, even with bias and noise (Otsu's threshold would also exclude the dark half of a head). A CT that is
    not in HU is scaled by percentiles. NaN and padding (:func:`padding_of`) are ignored. For more than 10 million
    voxels, every n-th is used.

    Args:
        volume: (1, ...) in the file's unit, not constant.
        modality: how to treat it.

    Returns:
        (lower, upper) in the file's unit, lower < upper.
    """
    if modality.window is not None and is_hounsfield(volume):
        return modality.window
    values = _measured(volume, modality)
    outlier = 1.0 if modality.lower_percentile is None else modality.lower_percentile
    darkest, brightest = np.percentile(values, (outlier, modality.upper_percentile))
    mean = values.clip(darkest, brightest).mean(dtype=np.float64)
    foreground = values[values > (darkest + mean) / 2]
    lower = 0.0 if modality.lower_percentile is None else float(darkest)
    upper = float(np.percentile(foreground, modality.upper_percentile)) if foreground.size else lower
    if not upper > lower:  # nearly empty: a few bright voxels only
        lower, upper = float(values.min()), float(values.max())
    return lower, upper
