import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monai_s3im.functional import merge_chrominance, rgb_to_ycbcr, ycbcr_to_rgb

UNIT = st.floats(0, 1)


@settings(deadline=None)
@given(st.lists(st.tuples(UNIT, UNIT, UNIT), min_size=1, max_size=8))
def test_a_round_trip_gives_the_colours_back(colors):
    rgb = torch.tensor(colors, dtype=torch.float64).T
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(rgb)), rgb, rtol=0, atol=1e-14)


@settings(deadline=None)
@given(UNIT, UNIT, UNIT)
def test_luma_and_chrominance_stay_in_their_ranges(red, green, blue):
    luma, cb, cr = rgb_to_ycbcr(torch.tensor([red, green, blue], dtype=torch.float64)).tolist()
    assert -1e-15 <= luma <= 1 + 1e-15
    assert max(abs(cb), abs(cr)) <= 0.5 + 1e-15


def test_agrees_with_pillow_within_its_rounding():
    # Pillow adds three table entries, each off by less than 1/64, and rounds the sum down.
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(rgb).convert("YCbCr"), dtype=np.float64)
    ycbcr = rgb_to_ycbcr(torch.from_numpy(rgb / 255.0), channel_dim=-1).numpy() * 255 + [0, 128, 128]
    excess = ycbcr.clip(0, 255) - expected
    assert excess.min() > -3 / 64
    assert excess.max() < 1 + 3 / 64


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (1, 0, 0)),
        ((1, 0, 0), (0.299, -0.168736, 0.5)),
        ((0, 1, 0), (0.587, -0.331264, -0.418688)),
        ((0, 0, 1), (0.114, 0.5, -0.081312)),
    ],
)
def test_known_colours_have_the_values_of_the_jfif_standard(rgb, ycbcr):
    found = rgb_to_ycbcr(torch.tensor(rgb, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(ycbcr, dtype=torch.float64), rtol=0, atol=1e-6)


@settings(deadline=None)
@given(UNIT)
def test_gray_has_no_chrominance_and_its_own_value_as_luma(value):
    luma, cb, cr = rgb_to_ycbcr(torch.full((3,), value, dtype=torch.float64)).tolist()
    assert luma == pytest.approx(value, abs=1e-15)
    assert max(abs(cb), abs(cr)) < 1e-15


def test_the_channels_may_be_in_any_dimension():
    rgb = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([rgb_to_ycbcr(image) for image in rgb])
    torch.testing.assert_close(rgb_to_ycbcr(rgb, channel_dim=1), expected)
    torch.testing.assert_close(rgb_to_ycbcr(rgb.movedim(1, -1), channel_dim=-1).movedim(-1, 1), expected)


@pytest.mark.parametrize("convert", [rgb_to_ycbcr, ycbcr_to_rgb])
def test_other_than_three_channels_are_refused(convert):
    with pytest.raises(ValueError, match=r"3 channels in dimension 0, got an image of shape \(4, 8, 8\)"):
        convert(torch.zeros(4, 8, 8))


@pytest.mark.parametrize("convert", [rgb_to_ycbcr, ycbcr_to_rgb])
def test_bytes_are_refused_with_the_remedy(convert):
    with pytest.raises(ValueError, match=r"got torch.uint8; divide bytes by 255"):
        convert(torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_gray_and_colour_give_the_chrominance_of_the_colour():
    color = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.testing.assert_close(merge_chrominance(torch.stack([torch.zeros_like(color), color])), color)


def test_two_colours_are_weighted_by_their_saturation():
    merged = merge_chrominance(torch.tensor([[0.1, -0.3], [0.4, 0.1]]))
    # (0.1 * 0.1 + 0.4 * 0.4) / 0.5 and (0.3 * -0.3 + 0.1 * 0.1) / 0.4
    torch.testing.assert_close(merged, torch.tensor([0.34, -0.2]))


def test_gray_sources_give_gray():
    assert not merge_chrominance(torch.zeros(3, 2, 4, 4)).any()
