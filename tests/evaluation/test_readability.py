"""The observer with the colour bar, against scikit-image and scipy, and on colours that mislead."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from skimage.color import rgb2lab

from monai_s3im.evaluation import READING_GUARDS, reading_values
from monai_s3im.evaluation.readability import Reading, picture_readings, reversed_pairs
from monai_s3im.functional import plane_colors, rgb_to_ycbcr, ycbcr_to_rgb
from monai_s3im.transforms.color_map import colors_by, colors_of

SHAPE = (1, 12, 11, 10)


def uptake_and_luma():
    random = torch.Generator().manual_seed(3)
    return torch.rand(SHAPE, generator=random), torch.rand(SHAPE, generator=random)


def in_bytes(colors):
    return (255 * colors.clamp(0, 1)).round() / 255


def fused_by_chrominance(name, uptake, luma):
    """As Fig. 4 does: the luma of the map is replaced."""
    colors = colors_by(name, "ycbcr")
    chrominance = rgb_to_ycbcr(colors_of(uptake, colors.table))[1:]
    return in_bytes(ycbcr_to_rgb(torch.cat([luma, chrominance]))), colors.bar


def test_the_guards_are_those_of_other_libraries():
    uptake, luma = uptake_and_luma()
    shown, bar = fused_by_chrominance("jet", uptake, luma)
    found = reading_values(shown, bar, uptake, luma)
    hot = uptake[0].numpy() >= 0.08
    lab, entries = rgb2lab(shown[:, torch.tensor(hot)].T.numpy()), rgb2lab(bar.T.numpy())
    read = np.linalg.norm(lab[:, None] - entries[None], axis=-1).argmin(1) / (len(entries) - 1)
    true = uptake[0].numpy()[hot]
    assert found["read"] == pytest.approx(spearmanr(read, true).statistic, abs=0.01)
    assert found["read error"] == pytest.approx(np.quantile(np.abs(read - true), 0.95), abs=0.01)
    assert found["anatomy"] == pytest.approx(pearsonr(lab[:, 0], luma[0].numpy()[hot]).statistic, abs=1e-3)
    colder = true[:, None] <= true[None] - 0.3
    assert found["reversed"] == pytest.approx(100 * (read[:, None] > read[None])[colder].mean(), abs=0.3)


def test_uptake_by_hue_keeps_every_bound():
    uptake, luma = uptake_and_luma()
    colors = colors_by("magenta-gold", "lab")
    found = reading_values(in_bytes(plane_colors(colors.table, uptake, luma)), colors.bar, uptake, luma)
    assert [name for name, value in found.items() if not READING_GUARDS[name].holds(value)] == []


def test_a_map_of_brightness_whose_brightness_is_replaced_breaks_what_is_read():
    uptake, luma = uptake_and_luma()
    found = reading_values(*fused_by_chrominance("afmhot", uptake, luma), uptake, luma)
    broken = [name for name, value in found.items() if not READING_GUARDS[name].holds(value)]
    assert broken[:3] == ["read", "read error", "reversed"]


def test_colour_that_hides_anatomy_breaks_that():
    uptake, luma = uptake_and_luma()
    bar = colors_by("magenta-gold", "lab").bar
    found = reading_values(colors_of(uptake, bar), bar, uptake, luma)
    assert [name for name, value in found.items() if not READING_GUARDS[name].holds(value)] == ["anatomy"]


def test_pairs_are_counted_as_reversed_where_the_colder_by_three_tenths_is_read_as_hotter():
    """Of the pairs (0.1, 0.5), (0.1, 0.9), (0.5, 0.9) the first alone is reversed."""
    true, read = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.4, 0.3, 0.9])
    assert reversed_pairs(Reading(true, read, true, true)) == pytest.approx(100 / 3, abs=0.5)
    assert reversed_pairs(Reading(true, true, true, true)) == 0
    assert reversed_pairs(Reading(true[:1], read[:1], true[:1], true[:1])) == 0


def test_without_uptake_there_is_nothing_to_read():
    nothing = torch.zeros(SHAPE)
    found = reading_values(nothing.expand(3, -1, -1, -1), colors_by("jet", "lab").bar, nothing, nothing)
    assert all(math.isnan(value) for value in found.values())


def test_a_picture_is_read_by_the_colours_of_its_source():
    """Which are in the right order when nothing was changed, and not when black and white are exchanged."""
    source = colors_of(torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64), colors_by("afmhot", "ycbcr").table).clamp(0, 1)
    brightness = rgb_to_ycbcr(source)[:1]
    found = picture_readings(source, brightness, source)
    assert found["read"] > 0.99
    assert found["read error"] < 0.02
    assert picture_readings(1 - source, brightness, source)["read"] < 0.5
