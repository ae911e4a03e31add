import numpy as np
import pytest
import torch
from scipy.ndimage import sobel

from monai_s3im.functional import sobel_magnitude


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (11, 16)])
def test_agrees_with_scipy_at_every_pixel_of_every_channel(size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [
        [
            np.abs(sobel(channel, axis=1, mode="nearest")) + np.abs(sobel(channel, axis=0, mode="nearest"))
            for channel in c
        ]
        for c in images.numpy()
    ]
    np.testing.assert_allclose(sobel_magnitude(images).numpy(), np.array(expected), rtol=0, atol=1e-13)


def test_a_step_from_black_to_white_has_magnitude_four_on_both_sides():
    step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 5, 4)
    assert sobel_magnitude(step)[0, 0].tolist() == [[0.0, 4.0, 4.0, 0.0]] * 5


def test_a_constant_image_has_no_gradient_not_even_at_the_border():
    assert sobel_magnitude(torch.full((1, 2, 6, 7), 0.7)).abs().max() < 1e-6


def test_an_image_without_batch_is_refused():
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(8, 8\)"):
        sobel_magnitude(torch.zeros(8, 8))
