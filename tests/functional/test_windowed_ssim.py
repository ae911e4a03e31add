import numpy as np
import pytest
import torch
from monai.metrics.regression import compute_ssim_and_cs
from references.functional_reference import gaussian_window, ssim_map, uniform_window

from monai_s3im.functional import windowed_ssim


def image_pair(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, *shape, generator=generator, dtype=dtype).unbind(0)


@pytest.mark.parametrize("kernel_size", [2, 4, 7])
@pytest.mark.parametrize("size", [(16, 16), (17, 30), (7, 7)])
def test_uniform_windows_agree_with_every_kth_window_of_monai(size, kernel_size):
    image, reference = image_pair(2, 1, *size, dtype=torch.float32)
    k = kernel_size
    dense, _ = compute_ssim_and_cs(image, reference, 2, (k, k), (1.5, 1.5), kernel_type="uniform")
    torch.testing.assert_close(windowed_ssim(image, reference, k, k), dense[..., ::k, ::k], rtol=0, atol=1e-5)


def test_gaussian_windows_agree_with_monai():
    image, reference = image_pair(2, 1, 15, 20, dtype=torch.float32)
    dense, _ = compute_ssim_and_cs(image, reference, 2, (11, 11), (1.5, 1.5), kernel_type="gaussian")
    similarity = windowed_ssim(image, reference, kernel_size=11, stride=1, window="gaussian")
    torch.testing.assert_close(similarity, dense, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("window", "make_window"), [("uniform", uniform_window), ("gaussian", None)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(4, 4), (4, 1), (5, 3)])
def test_every_window_agrees_with_a_loop(window, make_window, kernel_size, stride):
    image, reference = image_pair(9, 14)
    weights = make_window(kernel_size) if make_window else gaussian_window(kernel_size, 2.0)
    expected = ssim_map(image.numpy(), reference.numpy(), weights, stride)
    found = windowed_ssim(image[None], reference[None], kernel_size, stride, window, sigma=2.0)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_the_data_range_scales_with_the_values():
    image, reference = image_pair(1, 12, 12)
    torch.testing.assert_close(
        windowed_ssim(255 * image, 255 * reference, data_range=255.0), windowed_ssim(image, reference)
    )


def test_an_image_is_fully_similar_to_itself():
    image, _ = image_pair(3, 16, 16)
    torch.testing.assert_close(windowed_ssim(image, image), torch.ones(3, 4, 4, dtype=torch.float64))


def test_black_against_white_has_the_similarity_of_the_constants_alone():
    # Means 0 and 1, no variance: c1 / (1 + c1).
    similarity = windowed_ssim(torch.zeros(1, 4, 4), torch.ones(1, 4, 4))
    torch.testing.assert_close(similarity, torch.full((1, 1, 1), 1e-4 / 1.0001))


def test_a_contrast_reversed_window_is_dissimilar():
    checkerboard = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).tile(2, 2)[None]
    # Equal means; variance 1/4 each, covariance -1/4.
    expected = (-0.5 + 9e-4) / (0.5 + 9e-4)
    torch.testing.assert_close(windowed_ssim(checkerboard, 1 - checkerboard), torch.full((1, 1, 1), expected))


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 3, 4)])
def test_leading_dimensions_are_free(leading):
    image, reference = image_pair(*leading, 10, 13)
    assert windowed_ssim(image, reference).shape == (*leading, 2, 3)


def test_different_shapes_are_refused_with_both_named():
    with pytest.raises(ValueError, match=r"\(1, 8, 8\).*\(1, 8, 9\)"):
        windowed_ssim(torch.zeros(1, 8, 8), torch.zeros(1, 8, 9))


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 8, 3\) is smaller than the 4x4 window"):
        windowed_ssim(torch.zeros(1, 8, 3), torch.zeros(1, 8, 3))


def test_an_unknown_window_is_refused():
    with pytest.raises(ValueError, match="'uniform' or 'gaussian', got 'hann'"):
        windowed_ssim(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), window="hann")
