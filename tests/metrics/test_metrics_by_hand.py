"""Values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from references import metrics_reference
from skimage.metrics import peak_signal_noise_ratio

from monai_s3im.metrics import (
    average_gradient,
    entropy,
    mutual_information,
    peak_signal_to_noise_ratio,
    qabf,
    spatial_frequency,
    standard_deviation,
    structural_similarity,
    sum_of_correlations_of_differences,
    visual_information_fidelity,
)

CHECKERBOARD = torch.tensor([[0.0, 255.0], [255.0, 0.0]], dtype=torch.float64).tile(24, 24)[None, None]
COLUMNS = torch.arange(256, dtype=torch.float64).expand(1, 1, 48, 256)
"""Gray value = column number: a gradient of 1 along the rows."""


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator).double()


def test_entropy_of_a_two_valued_image_is_one_bit():
    assert entropy(CHECKERBOARD, 255.0).item() == 1.0


def test_entropy_of_all_levels_is_eight_bits():
    assert entropy(COLUMNS, 255.0).item() == pytest.approx(8.0, rel=1e-12)


def test_entropy_rounds_half_to_even():
    image = torch.tensor([[0.5, 1.5], [2.5, 2.0]], dtype=torch.float64)[None, None]  # 0, 2, 2, 2
    expected = -0.25 * math.log2(0.25) - 0.75 * math.log2(0.75)
    assert entropy(image, 255.0).item() == pytest.approx(expected, rel=1e-12)


def test_entropy_counts_values_outside_the_range_at_its_ends():
    image = torch.tensor([[-0.4, 0.0], [1.0, 1.3]], dtype=torch.float64)[None, None]
    assert entropy(image).item() == 1.0


def test_average_gradient_of_a_ramp_of_slope_one_is_the_square_root_of_a_half():
    assert average_gradient(COLUMNS, 255.0).item() == pytest.approx(math.sqrt(0.5), rel=1e-12)


def test_spatial_frequency_of_a_ramp_of_slope_one_is_one():
    assert spatial_frequency(COLUMNS, 255.0).item() == 1.0


def test_spatial_frequency_of_a_checkerboard_has_both_directions():
    assert spatial_frequency(CHECKERBOARD, 255.0).item() == pytest.approx(255 * math.sqrt(2), rel=1e-12)


def test_standard_deviation_of_black_and_white_is_half_the_range():
    assert standard_deviation(CHECKERBOARD).item() == pytest.approx(127.5 * 255, rel=1e-12)
    assert standard_deviation(CHECKERBOARD, 255.0).item() == 127.5


def test_mutual_information_with_two_copies_is_twice_the_entropy_in_nats():
    values = mutual_information(COLUMNS, COLUMNS.expand(-1, 2, -1, -1), 255.0)
    assert values.item() == pytest.approx(2 * math.log(256), rel=1e-12)


def test_mutual_information_of_independent_images_is_zero():
    sources = torch.cat([CHECKERBOARD[..., :48, :48].mT * 0 + torch.arange(48).view(48, 1)] * 2, dim=1)
    fused = torch.arange(48, dtype=torch.float64).expand(1, 1, 48, 48)
    assert mutual_information(fused, sources, 255.0).item() == pytest.approx(0.0, abs=1e-12)


def test_ssim_of_two_flat_images_is_their_luminance_term():
    fused, sources = torch.full((1, 1, 9, 9), 100.0), torch.full((1, 2, 9, 9), 50.0)
    c1 = (0.01 * 255) ** 2
    expected = 2 * (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert structural_similarity(fused.double(), sources.double(), 255.0).item() == pytest.approx(expected, rel=1e-12)


def test_ssim_of_the_published_variant_equals_scikit_image_with_range_two():
    fused, sources = noise(1, 1, 40, 40), noise(1, 2, 40, 40, seed=1)
    expected = metrics_reference.ssim(*(x.numpy() for x in (fused[0, 0], *sources[0])), dynamic_range=2.0)
    measured = structural_similarity(fused, sources, 255.0, dynamic_range=2.0).item()
    assert measured == pytest.approx(expected, rel=1e-9)
    assert measured != pytest.approx(structural_similarity(fused, sources, 255.0).item(), rel=1e-3)


def test_ssim_refuses_a_dynamic_range_of_zero():
    with pytest.raises(ValueError, match="dynamic_range"):
        structural_similarity(CHECKERBOARD, CHECKERBOARD.expand(-1, 2, -1, -1), dynamic_range=0.0)


def test_psnr_of_an_error_of_one_tenth_of_the_range_is_20_db():
    fused = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)
    sources = torch.stack([torch.full((8, 8), v, dtype=torch.float64) for v in (0.4, 0.6)])[None]
    assert peak_signal_to_noise_ratio(fused, sources).item() == pytest.approx(20.0, rel=1e-12)


def test_psnr_with_equal_sources_equals_scikit_image():
    fused, source = noise(1, 1, 20, 20), noise(1, 1, 20, 20, seed=1)
    expected = peak_signal_noise_ratio(source.numpy(), fused.numpy(), data_range=255)
    measured = peak_signal_to_noise_ratio(fused, source.expand(-1, 2, -1, -1), 255.0)
    assert measured.item() == pytest.approx(expected, rel=1e-12)


def test_psnr_with_peak_max_takes_the_largest_fused_value_of_each_image():
    fused = torch.tensor([0.5, 1.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    sources = (fused - 0.05).expand(2, 2, 8, 8)
    assert peak_signal_to_noise_ratio(fused, sources, peak="max").tolist() == pytest.approx(
        [20.0, 20 + 20 * math.log10(2)]
    )


def test_psnr_of_a_black_image_with_peak_max_is_minus_infinity():
    black = torch.zeros(1, 1, 8, 8)
    assert peak_signal_to_noise_ratio(black, torch.ones(1, 2, 8, 8), peak="max").item() == -math.inf


def test_psnr_refuses_an_unknown_peak():
    with pytest.raises(ValueError, match="'range' or 'max'"):
        peak_signal_to_noise_ratio(CHECKERBOARD, CHECKERBOARD.expand(-1, 2, -1, -1), peak="mean")


def test_scd_of_the_sum_of_the_sources_is_two():
    sources = noise(1, 2, 16, 16) / 2
    fused = sources.sum(1, keepdim=True)
    assert sum_of_correlations_of_differences(fused, sources, 255.0).item() == pytest.approx(2.0, rel=1e-12)


def test_scd_of_the_sum_of_three_sources_is_three():
    sources = noise(1, 3, 16, 16) / 3
    fused = sources.sum(1, keepdim=True)
    assert sum_of_correlations_of_differences(fused, sources, 255.0).item() == pytest.approx(3.0, rel=1e-12)


def test_scd_of_a_copy_of_one_source_has_no_value():
    sources = noise(1, 2, 16, 16)
    assert sum_of_correlations_of_differences(sources[:, :1], sources, 255.0).isnan().all()


def test_qabf_of_a_copy_of_both_sources_is_the_largest_value_of_the_two_sigmoids():
    image = 2 * noise(1, 1, 16, 16).div(4).floor()  # even levels: no edge of strength below 2
    best = 0.9994 / (1 + math.exp(-15 * 0.5)) * 0.9879 / (1 + math.exp(-22 * 0.2))
    measured = qabf(image, image.expand(-1, 2, -1, -1), 255.0).item()
    assert best < measured <= 0.9994 * 0.9879  # equal strengths count as the strength, above 1


def test_qabf_of_a_black_fused_image_is_what_the_sigmoids_give_at_zero_strength():
    columns = torch.zeros(1, 2, 12, 12, dtype=torch.float64)
    columns[..., 6:] = 100.0
    measured = qabf(torch.zeros(1, 1, 12, 12, dtype=torch.float64), columns, 255.0).item()
    assert measured < 0.9994 * 0.9879 / (1 + math.exp(7.5))


def test_qabf_takes_equal_strengths_below_one_as_the_strength_itself():
    ramp = 0.05 * torch.arange(32, dtype=torch.float64).expand(1, 1, 32, 32)  # Sobel strength 0.4 inside
    fused, sources = ramp, ramp.expand(-1, 2, -1, -1)
    reference = metrics_reference.qabf(*[ramp[0, 0].numpy()] * 3)
    assert qabf(fused, sources, 255.0).item() == pytest.approx(reference, rel=1e-9)
    inside = 0.9994 / (1 + math.exp(-15 * (0.4 - 0.5))) * 0.9879 / (1 + math.exp(-22 * 0.2))
    edges = metrics_reference._edges(ramp[0, 0].numpy())
    quality = metrics_reference._edge_preservation(*edges, *edges)
    assert np.allclose(quality[1:-1, 1:-1], inside)


def test_vif_of_a_copy_with_twice_the_contrast_exceeds_one_a_source():
    image = noise(1, 1, 64, 64) / 2
    values = visual_information_fidelity(2 * image, image.expand(-1, 2, -1, -1), 255.0)
    assert values.item() > 2


def test_vif_of_a_constant_fused_image_is_zero():
    values = visual_information_fidelity(torch.full((1, 1, 64, 64), 9.0), noise(1, 2, 64, 64).float(), 255.0)
    assert values.item() == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize("metric", [visual_information_fidelity, sum_of_correlations_of_differences])
@pytest.mark.parametrize(("span", "has_value"), [(1e-4, False), (0.4, False), (1.0, True), (20.0, True)])
def test_a_source_that_spans_less_than_half_a_gray_level_is_constant(metric, span, has_value):
    full = noise(1, 1, 64, 64)
    faint = noise(1, 1, 64, 64, seed=1) / 255 * span
    value = metric(full, torch.cat([full / 2, faint], 1), 255.0).item()
    assert math.isfinite(value) == has_value
    assert not value > 100  # a ratio to almost nothing
