"""Colours that show uptake by hue and anatomy by lightness, in CIELAB, and how a reader decodes them.

A colour combines an uptake and a fused luma, both in [0, 1]:

- hue: the position of the uptake on an arc of hues;
- lightness: the L* of the fused luma, mapped into the range in which sRGB has the hue with a visible chroma;
- chroma: that of the colour bar, or the most that sRGB has at that lightness;
- zero uptake is gray of the fused luma: chroma and range fade in by a smooth step between 2 % and 8 % of uptake.

The colour bar has constant lightness and chroma. So the nearest colour of the bar, in CIELAB, is always that of the
same hue, and anatomy does not disturb the reading.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .lab import lab_to_rgb, rgb_to_lab

ENTRIES = 256
"""Colours of a colour bar."""

_NO_COLOR, _FULL_COLOR = 0.02, 0.08
_BAR_LIGHTNESS, _BAR_CHROMA = 65.0, 45.0
_SEEN_CHROMA, _DARKEST, _LEAST_RANGE = 38.0, 20.0, 45.0
_COLORED, _LEAST_ARC, _LARGEST_ARC, _LEAST_FORWARD = 12.0, 45.0, 310.0, 0.9
_BISECTIONS, _LARGEST_CHROMA, _SMOOTHED = 14, 150.0, 8
_HUES_APART = 5  # the 255 entries after the first make 51 such steps


def hue_arc(colors: Tensor) -> tuple[float, float] | None:
    """The hues of a colour map from low to high, if they are monotonic and can show uptake without brightness.

    Entries of low chroma, such as the black and white ends of ``hot``, are ignored.

    Args:
        colors: RGB in [0, 1], (3, entries), from no to full uptake.

    Returns:
        The first and the last hue, in degrees of CIELAB, unwrapped along the map; None for a map without colours, such
        as ``gray``, of one hue, such as ``Blues``, with hues that go back and forth, such as ``cubehelix``, or full
        circle, such as ``hsv``.
    """
    first, steps = _hues_of(colors)
    arc = float(steps.sum())
    is_forward = abs(arc) >= _LEAST_FORWARD * float(steps.abs().sum())
    return (first, first + arc) if is_forward and _LEAST_ARC <= abs(arc) <= _LARGEST_ARC else None


def arc_of_bar(bar: Tensor) -> tuple[float, float] | None:
    """The arc from which :func:`uptake_colors` made a colour bar, within a degree; None for any other bar.

    Args:
        bar: RGB in [0, 1], (3, 256).
    """
    if (rgb_to_lab(bar.double())[0] - _BAR_LIGHTNESS).abs().max() > 1:
        return None
    begin = math.ceil(_FULL_COLOR * (ENTRIES - 1))
    first, steps = _hues_of(bar[:, begin:])
    step = float(steps.sum()) / len(steps)
    return first - begin * step, first + (ENTRIES - 1 - begin) * step


def _hues_of(colors: Tensor) -> tuple[float, Tensor]:
    """The first hue of the coloured entries, and the steps to the next, in degrees."""
    _, a, b = rgb_to_lab(colors.double())
    hues = torch.rad2deg(torch.atan2(b, a))[torch.hypot(a, b) >= _COLORED]
    return (float(hues[0]) if len(hues) else 0.0), torch.remainder(hues.diff() + 180, 360) - 180


@lru_cache(maxsize=16)
def uptake_colors(arc: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """The colour bar of an arc of hues, and the colours of all uptakes and all fused lumas.

    Args:
        arc: first and last hue, degrees of CIELAB.

    Returns:
        The bar, (3, 256), from no to full uptake, and the plane, (3, 256 uptakes, 256 lumas); RGB in [0, 1], read-only.
        The bar is in whole 255ths, as files store it.
    """
    first, last = (math.radians(hue) for hue in arc)
    hues = torch.linspace(first, last, ENTRIES, dtype=torch.float64)
    uptake = torch.linspace(0, 1, ENTRIES, dtype=torch.float64)
    part = ((uptake - _NO_COLOR) / (_FULL_COLOR - _NO_COLOR)).clamp(0, 1)
    weight = (part**2 * (3 - 2 * part))[:, None]
    largest = _largest_chroma(hues)
    lower, upper = (end[:, None] for end in _visible_range(largest))
    own = rgb_to_lab(uptake.expand(3, -1))[0] / 100  # the gray of each luma
    lightness = weight * lower + (100 + weight * (upper - lower - 100)) * own
    plane = lab_to_rgb(_lab(lightness, weight * _seen_part(lightness, largest), hues[:, None]))
    of_bar = torch.full_like(weight, _BAR_LIGHTNESS)
    bar = lab_to_rgb(_lab(of_bar, weight * _seen_part(of_bar, largest), hues[:, None]))[..., 0]
    return (255 * bar.clamp(0, 1)).round().div(255).float(), plane.clamp(0, 1).float()


def plane_colors(plane: Tensor, uptake: Tensor, luma: Tensor) -> Tensor:
    """The colours of uptake and luma, linearly between the entries of a plane; exactly the gray luma below 2 %.

    Args:
        plane: from :func:`uptake_colors`.
        uptake: (1, ...), clipped to [0, 1].
        luma: (1, ...), clipped to [0, 1].

    Returns:
        RGB in [0, 1], (3, ...).
    """
    places = torch.stack([luma.flatten(), uptake.flatten()], -1).clamp(0, 1).mul_(2).sub_(1)
    colors = F.grid_sample(plane[None].to(places), places[None, None], align_corners=True, padding_mode="border")
    return torch.where(uptake <= _NO_COLOR, luma.clamp(0, 1), colors.reshape(3, *uptake.shape[1:]))


def plane_luma(plane: Tensor, uptake: Tensor, colors: Tensor) -> Tensor:
    """The fused luma that made colours, by their lightness; the inverse of :func:`plane_colors`.

    Args:
        plane: from :func:`uptake_colors`.
        uptake: (1, ...) in [0, 1].
        colors: RGB in [0, 1], (3, ...).

    Returns:
        Luma in [0, 1], (1, ...); of 8-bit colours within about 0.01.
    """
    ends = rgb_to_lab(plane[..., [0, -1]].double())[0].T.to(colors)  # (2, uptakes)
    position = uptake.clamp(0, 1) * (ENTRIES - 1)
    below = position.long().clamp_max(ENTRIES - 2)
    lower, upper = torch.lerp(ends[:, below[0]], ends[:, below[0] + 1], position - below)
    own = ((rgb_to_lab(colors)[0] - lower) / (upper - lower)).clamp(0, 1) * 100
    return lab_to_rgb(torch.stack([own, torch.zeros_like(own), torch.zeros_like(own)]))[:1].clamp(0, 1)


def read_uptake(colors: Tensor, bar: Tensor) -> Tensor:
    """The uptake that a reader decodes from colours: the position of the nearest colour of the bar, in CIELAB.

    Args:
        colors: RGB in [0, 1], (3, N).
        bar: RGB in [0, 1], (3, entries), from no to full uptake.

    Returns:
        (N,) in [0, 1].
    """
    found = []
    entries = rgb_to_lab(bar.double())
    for part in colors.split(2**15, dim=1):
        lab = rgb_to_lab(part.double())
        found.append(((entries**2).sum(0) - 2 * lab.T @ entries).argmin(1))
    return torch.cat(found) / (bar.shape[1] - 1)


def _lab(lightness: Tensor, chroma: Tensor, hues: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(lightness, chroma * torch.cos(hues), chroma * torch.sin(hues)))


def _largest_chroma(hues: Tensor) -> Tensor:
    """The largest chroma of each hue in sRGB at L* 0, 1, ... 100, (hues, 101), by bisection of every fifth."""
    lightness, some = torch.arange(101, dtype=torch.float64)[None], hues[::_HUES_APART, None]
    lower = torch.zeros(len(some), 101, dtype=torch.float64)
    upper = torch.full_like(lower, _LARGEST_CHROMA)
    for _ in range(_BISECTIONS):
        middle = (lower + upper) / 2
        rgb = lab_to_rgb(_lab(lightness, middle, some))
        is_inside = ((rgb >= 0) & (rgb <= 1)).all(0)
        lower, upper = torch.where(is_inside, middle, lower), torch.where(is_inside, upper, middle)
    return F.interpolate(lower[None, None], (len(hues), 101), mode="bilinear", align_corners=True)[0, 0]


def _visible_range(largest: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and highest L* at which each hue is visible, (hues,): chroma 38, or less for a range of 45."""
    lightness = torch.arange(101, dtype=torch.float64)
    chromas = torch.arange(_SEEN_CHROMA, 0, -1, dtype=torch.float64)
    is_seen = (largest >= chromas[:, None, None]) & (lightness >= _DARKEST)  # (chromas, hues, 101)
    lower = torch.where(is_seen, lightness, 100.0).amin(-1)
    upper = torch.where(is_seen, lightness, 0.0).amax(-1)
    first = ((upper - lower) >= _LEAST_RANGE).int().argmax(0, keepdim=True)
    ends = torch.cat([lower.gather(0, first), upper.gather(0, first)])
    lower, upper = F.avg_pool1d(F.pad(ends, (_SMOOTHED, _SMOOTHED), mode="replicate"), 2 * _SMOOTHED + 1, stride=1)
    return lower, upper


def _seen_part(lightness: Tensor, largest: Tensor) -> Tensor:
    """The chroma of the bar, limited to sRGB: (hues, n), from L* (hues, n) and the largest chroma (hues, 101)."""
    below = lightness.long().clamp(0, 99)
    found = torch.lerp(largest.gather(1, below), largest.gather(1, below + 1), lightness - below)
    return found.clamp_max(_BAR_CHROMA)
