import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from monai_s3im.functional import lab_to_rgb, rgb_to_lab

BYTES = st.integers(0, 255)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_the_primaries_of_srgb_are_where_they_are_published(rgb, lab):
    """Lindbloom's tables for D65."""
    found = rgb_to_lab(torch.tensor(rgb, dtype=torch.float64))
    np.testing.assert_allclose(found, lab, rtol=0, atol=0.02)


@given(BYTES, BYTES, BYTES)
def test_the_values_are_those_of_scikit_image(red, green, blue):
    rgb = np.array([red, green, blue]) / 255
    lab = rgb_to_lab(torch.tensor(rgb)).numpy()
    np.testing.assert_allclose(lab, rgb2lab(rgb), rtol=0, atol=0.02)  # its white point has five digits
    np.testing.assert_allclose(lab_to_rgb(torch.tensor(lab)).numpy(), lab2rgb(rgb2lab(rgb)), rtol=0, atol=1e-3)


@given(BYTES, BYTES, BYTES)
def test_there_and_back_gives_the_same_colour(red, green, blue):
    rgb = torch.tensor([red, green, blue], dtype=torch.float64) / 255
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, rtol=0, atol=1e-6)


def test_gray_has_no_colour():
    gray = torch.linspace(0, 1, 256, dtype=torch.float64).expand(3, -1)
    assert rgb_to_lab(gray)[1:].abs().max() < 1e-9


def test_channels_may_stand_in_any_dimension():
    rgb = torch.rand(2, 3, 4)
    torch.testing.assert_close(rgb_to_lab(rgb, 1)[0], rgb_to_lab(rgb[0]))
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb, 1), 1), rgb, rtol=0, atol=1e-4)


@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_rgb])
def test_other_images_are_refused(convert):
    with pytest.raises(ValueError, match="expected 3 channels in dimension 0"):
        convert(torch.rand(2, 4))
    with pytest.raises(ValueError, match="divide bytes by 255 first"):
        convert(torch.zeros(3, 4, dtype=torch.uint8))
