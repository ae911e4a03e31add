"""The losses that keep contrast: values by hand."""

import pytest
import torch
from references import losses_reference

from monai_s3im.losses import ContrastLoss, SolidLoss


def flat(value, size=32):
    return torch.full((1, 1, size, size), value, dtype=torch.float64)


def with_square(base, step, size=32, half=6):
    image, middle = flat(base, size), size // 2
    image[..., middle - half : middle + half, middle - half : middle + half] += step
    return image


def test_a_flat_fused_image_misses_all_contrast_and_any_brightness_is_free():
    sources = torch.cat([with_square(0.2, 0.3), flat(0.5)], dim=1)
    assert ContrastLoss()(flat(0.7), sources).item() == pytest.approx(1)
    assert ContrastLoss()(with_square(0.6, 0.3), sources).item() == pytest.approx(0, abs=1e-12)
    assert ContrastLoss()(with_square(0.6, 0.4), sources).item() == pytest.approx(0, abs=1e-12)  # more is free


def test_half_a_step_misses_half_and_an_inverted_one_twice():
    sources = torch.cat([with_square(0.2, 0.3), flat(0.5)], dim=1)
    assert ContrastLoss()(with_square(0.6, 0.15), sources).item() == pytest.approx(0.5)
    assert ContrastLoss()(with_square(0.6, -0.3), sources).item() == pytest.approx(2)


def test_a_faint_lesion_counts_next_to_strong_bone():
    lesion = with_square(0.4, 0.1)
    bone = lesion.clone()
    bone[..., :4, :] = 0.9
    lost = flat(0.4)
    lost[..., :4, :] = 0.9
    sources = torch.cat([bone, flat(0.5)], dim=1)
    without = ContrastLoss()(lost, sources).item()
    assert without > 0.25  # by energy alone it would be a hundredth
    assert ContrastLoss()(bone, sources).item() == pytest.approx(0, abs=1e-12)


def test_contrast_lost_only_at_coarse_levels_counts_only_there():
    lesion = with_square(0.4, 0.3, size=64, half=16)
    edges = lesion - torch.nn.functional.avg_pool2d(lesion, 9, stride=1, padding=4, count_include_pad=False) + 0.5
    sources = torch.cat([lesion, flat(0.5, 64)], dim=1)
    assert ContrastLoss(levels=1)(edges, sources).item() < 0.3
    assert ContrastLoss(levels=5)(edges, sources).item() > 0.4


def test_the_texture_of_mr_is_ignored_where_ct_is_saturated():
    torch.manual_seed(0)
    white = flat(1.0)
    texture = torch.rand(1, 1, 32, 32, dtype=torch.float64) * 0.8
    assert ContrastLoss()(flat(1.0), torch.cat([texture, white], dim=1)).item() == 0
    assert ContrastLoss()(flat(0.9), torch.cat([texture, 0.9 * white], dim=1)).item() == pytest.approx(1)


def test_solid_is_the_mean_step_within_saturated_bone():
    bone = with_square(0.0, 1.0, half=2)  # 4 x 4 pixels: 24 pairs of neighbours
    fused = flat(0.5)
    fused[..., 16, 16] = 0.74  # four steps of 0.24 within bone
    fused[..., 0, 0] = 1.0  # elsewhere
    assert SolidLoss()(fused, torch.cat([flat(0.3), bone], dim=1)).item() == pytest.approx(4 * 0.24 / 24)
    assert SolidLoss()(fused, torch.cat([flat(0.3), 0.97 * bone], dim=1)).item() == 0


def test_both_agree_with_the_loops_where_much_is_saturated():
    torch.manual_seed(1)
    fused = torch.rand(2, 1, 17, 20, dtype=torch.float64)
    sources = (2 * torch.rand(2, 3, 17, 20, dtype=torch.float64)).clamp(max=1)
    arrays = fused[:, 0].numpy(), sources.numpy()
    assert ContrastLoss()(fused, sources).item() == pytest.approx(losses_reference.contrast(*arrays), rel=1e-12)
    assert SolidLoss()(fused, sources).item() == pytest.approx(losses_reference.solid(*arrays), rel=1e-12)
    assert losses_reference.solid(*arrays) > 0.1
