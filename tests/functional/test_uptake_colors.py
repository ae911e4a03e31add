"""Uptake by hue, anatomy by lightness: properties for every uptake, luma and suitable map."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.color import deltaE_cie76, rgb2lab

from monai_s3im.functional import (
    arc_of_bar,
    hue_arc,
    plane_colors,
    plane_luma,
    read_uptake,
    rgb_to_ycbcr,
    uptake_colors,
)

OURS = (-30.0, 80.0)
FIT = ["hot", "afmhot", "inferno", "magma", "plasma", "viridis", "jet", "turbo", "rainbow", "nipy_spectral"]
UNFIT = ["gray", "bone", "Blues", "copper", "cubehelix", "hsv", "coolwarm", "prism"]


def colors_of_map(name):
    return torch.tensor(mpl.colormaps[name](range(256))[:, :3].T)


def every(lowest):
    """All uptakes from the lowest on at all lumas, (1, N) each."""
    uptake, luma = torch.meshgrid(torch.linspace(lowest, 1, 93), torch.linspace(0, 1, 52), indexing="ij")
    return uptake.reshape(1, -1), luma.reshape(1, -1)


def in_bytes(colors):
    return (255 * colors).round() / 255


@pytest.mark.parametrize("arc", [OURS, *(hue_arc(colors_of_map(name)) for name in FIT)])
def test_uptake_is_read_right_at_every_luma(arc):
    """The observer of the guard, here by scikit-image: the nearest colour of the bar in CIELAB."""
    bar, plane = uptake_colors(arc)
    uptake, luma = every(0.08)
    shown = in_bytes(plane_colors(plane, uptake, luma))
    read = read_uptake(shown, bar).numpy()
    errors = np.abs(read - uptake[0].numpy())
    assert np.quantile(errors, 0.95) < 0.05
    assert spearmanr(read, uptake[0]).statistic > 0.98
    some = slice(0, None, 97)
    distances = deltaE_cie76(rgb2lab(shown.T[some].numpy())[:, None], rgb2lab(bar.T.numpy())[None])
    nearest = distances.min(1)
    chosen = distances[np.arange(len(distances)), np.rint(255 * read[some]).astype(int)]
    np.testing.assert_allclose(chosen, nearest, rtol=0, atol=0.05)


def test_lightness_is_the_luma_s_and_hardly_the_uptake_s():
    _, plane = uptake_colors(OURS)
    uptake, luma = every(0.08)
    lightness = rgb2lab(in_bytes(plane_colors(plane, uptake, luma)).T.numpy())[:, 0]
    assert np.corrcoef(lightness, luma[0])[0, 1] > 0.98
    by_luma = lightness.reshape(93, 52)
    assert (np.diff(by_luma[5:], axis=1) > -0.8).all()  # in bytes; brighter wherever the luma is
    assert by_luma[5:, 0].max() < 32
    assert by_luma[5:, -1].min() > 68


def test_no_uptake_is_gray_of_exactly_the_luma():
    _, plane = uptake_colors(OURS)
    luma = torch.linspace(0, 1, 1001)[None]
    for uptake in (0.0, 0.01, 0.019):
        colors = plane_colors(plane, torch.full_like(luma, uptake), luma)
        assert torch.equal(colors, luma.expand(3, -1))


def test_colour_comes_in_smoothly():
    _, plane = uptake_colors(OURS)
    uptake = torch.linspace(0, 0.1, 101)[None]
    colors = plane_colors(plane, uptake, torch.full_like(uptake, 0.5))
    assert colors.diff(dim=1).abs().max() < 0.02  # between steps of 0.001
    chroma = colors.amax(0) - colors.amin(0)
    assert chroma[20] == pytest.approx(0, abs=1e-3)
    assert chroma[80] > 0.25


def test_the_bar_has_one_lightness_and_one_chroma_where_colour_is_in():
    bar, _ = uptake_colors(OURS)
    lab = rgb2lab(bar.T.numpy())
    assert np.ptp(lab[:, 0]) < 1
    chroma, hues = np.hypot(lab[:, 1], lab[:, 2]), np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    assert np.ptp(chroma[22:]) < 2
    assert chroma[:5].max() < 1
    np.testing.assert_allclose(hues[22:], np.linspace(*OURS, 256)[22:], rtol=0, atol=1.5)
    assert torch.equal(bar, in_bytes(bar))


def test_values_between_entries_are_interpolated_and_beyond_them_clipped():
    _, plane = uptake_colors(OURS)
    uptake, luma = torch.tensor([[100.5, 100.0, -20.0, 400.0]]) / 255, torch.tensor([[50.0, 50.25, 300.0, -3.0]]) / 255
    expected = torch.stack(
        [
            (plane[:, 100, 50] + plane[:, 101, 50]) / 2,
            0.75 * plane[:, 100, 50] + 0.25 * plane[:, 100, 51],
            plane[:, 0, 255],
            plane[:, 255, 0],
        ],
        1,
    )
    torch.testing.assert_close(plane_colors(plane, uptake, luma), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("arc", [OURS, hue_arc(colors_of_map("jet"))])
def test_the_luma_is_recovered_from_the_colours(arc):
    _, plane = uptake_colors(arc)
    uptake, luma = every(0.0)
    colors = plane_colors(plane, uptake, luma)
    assert (plane_luma(plane, uptake, colors) - luma).abs().max() < 0.003
    assert (plane_luma(plane, uptake, in_bytes(colors)) - luma).abs().max() < 0.01
    assert (rgb_to_ycbcr(colors)[:1] - luma).abs().max() > 0.1  # which is not the luma of the colours


@pytest.mark.parametrize("name", FIT)
def test_a_map_whose_hues_run_one_way_is_fit(name):
    assert hue_arc(colors_of_map(name)) is not None


@pytest.mark.parametrize("name", UNFIT)
def test_a_map_without_hues_that_run_one_way_is_not(name):
    assert hue_arc(colors_of_map(name)) is None


@pytest.mark.parametrize(("name", "first", "last"), [("hot", "red", "yellow"), ("jet", "blue", "red")])
def test_the_ends_of_an_arc_are_those_of_the_map(name, first, last):
    """Hues of the primaries in CIELAB (D65): red 40, yellow 103, blue 306; jet ends in a darker red."""
    hues = {"red": 40.0, "yellow": 102.9, "blue": -53.7}
    arc = hue_arc(colors_of_map(name))
    for found, expected in zip(arc, (first, last), strict=True):
        assert abs((found - hues[expected] + 180) % 360 - 180) < 22
    assert (arc[1] - arc[0]) * {"hot": 1, "jet": -1}[name] > 45


def test_an_arc_turns_with_its_map():
    colors = colors_of_map("viridis")
    forward, backward = hue_arc(colors), hue_arc(colors.flip(1))
    assert forward[1] - forward[0] == pytest.approx(backward[0] - backward[1])


@pytest.mark.parametrize("arc", [OURS, *(hue_arc(colors_of_map(name)) for name in FIT)])
def test_the_arc_comes_back_from_its_bar(arc):
    found = arc_of_bar(uptake_colors(arc)[0])
    turns = 360 * round((arc[0] - found[0]) / 360)
    np.testing.assert_allclose(np.array(found) + turns, arc, rtol=0, atol=1.5)


@pytest.mark.parametrize("name", ["jet", "gray"])
def test_another_bar_has_no_arc(name):
    assert arc_of_bar(colors_of_map(name)) is None
