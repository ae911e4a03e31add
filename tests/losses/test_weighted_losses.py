"""Eq. (7) to (9): values by hand and from other libraries."""

import pickle

import pytest
import torch
from monai.losses import SSIMLoss
from skimage.metrics import structural_similarity

from monai_s3im.losses import AblationLoss, DetailTextureLoss, GaussianSSIMLoss, S3IMFusionLoss, SmoothLoss


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=seeded(seed), dtype=dtype)


def test_eq_8_is_ten_times_s3im_plus_five_times_texture_plus_smooth():
    fused, sources = noise(2, 1, 20, 20), noise(2, 2, 20, 20, seed=1)
    loss = S3IMFusionLoss(patch_size=16, generator=seeded())
    total = loss(fused, sources)
    parts = loss.parts
    torch.testing.assert_close(total, 10 * parts["s3im"] + 5 * parts["texture"] + parts["smooth"])
    assert torch.equal(parts["texture"], DetailTextureLoss()(fused, sources))
    assert torch.equal(parts["smooth"], SmoothLoss()(fused, sources))


def test_eq_9_is_eq_8_with_ordinary_ssim():
    fused, sources = noise(2, 1, 20, 20), noise(2, 2, 20, 20, seed=1)
    loss = AblationLoss()
    total = loss(fused, sources)
    parts = loss.parts
    torch.testing.assert_close(total, 10 * parts["ssim"] + 5 * parts["texture"] + parts["smooth"])
    assert torch.equal(parts["ssim"], GaussianSSIMLoss()(fused, sources))


@pytest.mark.parametrize("loss_class", [S3IMFusionLoss, AblationLoss])
def test_the_weights_are_arguments(loss_class):
    fused, sources = noise(1, 1, 64, 64), noise(1, 2, 64, 64, seed=1)
    assert torch.equal(loss_class(0.0, 0.0, 2.0)(fused, sources), 2 * SmoothLoss()(fused, sources))


@pytest.mark.parametrize("loss_class", [S3IMFusionLoss, AblationLoss])
def test_a_loss_without_any_weight_is_refused(loss_class):
    with pytest.raises(ValueError, match="all weights of the loss are 0"):
        loss_class(0.0, 0.0, 0.0)


@pytest.mark.parametrize("loss_class", [S3IMFusionLoss, AblationLoss])
def test_the_parts_are_detached_and_the_total_is_not(loss_class):
    fused, sources = noise(1, 1, 64, 64).requires_grad_(), noise(1, 2, 64, 64, seed=1)
    loss = loss_class()
    assert loss(fused, sources).requires_grad
    assert len(loss.parts) == 3
    assert not any(part.requires_grad for part in loss.parts.values())


@pytest.mark.parametrize("loss_class", [S3IMFusionLoss, AblationLoss])
def test_a_used_loss_can_be_pickled(loss_class):
    fused, sources = noise(1, 1, 64, 64).requires_grad_(), noise(1, 2, 64, 64, seed=1)
    loss = loss_class()
    loss(fused, sources)
    assert pickle.loads(pickle.dumps(loss)).parts == loss.parts  # noqa: S301


def test_the_arguments_of_eq_5_reach_it():
    generator = seeded()
    s3im = S3IMFusionLoss(draws=2, patch_size=8, kernel_size=2, window="gaussian", generator=generator).losses["s3im"]
    assert (s3im.draws, s3im.patch_size, s3im.kernel_size, s3im.window) == (2, 8, 2, "gaussian")
    assert s3im.generator is generator


def test_the_ssim_of_eq_9_agrees_with_scikit_image():
    fused, sources = noise(2, 1, 24, 19), noise(2, 2, 24, 19, seed=1)
    similarities = [
        structural_similarity(
            fused[b, 0].numpy(),
            sources[b, n].numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for b in range(2)
        for n in range(2)
    ]
    assert GaussianSSIMLoss()(fused, sources).item() == pytest.approx(1 - sum(similarities) / 4, rel=1e-12)


def test_the_ssim_of_eq_9_agrees_with_monai():
    fused, sources = noise(2, 1, 24, 19, dtype=torch.float32), noise(2, 2, 24, 19, seed=1, dtype=torch.float32)
    per_source = [SSIMLoss(spatial_dims=2)(fused, sources[:, n : n + 1]) for n in range(2)]
    torch.testing.assert_close(GaussianSSIMLoss()(fused, sources), sum(per_source) / 2, rtol=0, atol=1e-6)


def test_an_image_smaller_than_the_window_of_eq_9_is_refused():
    with pytest.raises(ValueError, match="smaller than the 11x11 window"):
        GaussianSSIMLoss()(torch.zeros(1, 1, 10, 20), torch.zeros(1, 2, 10, 20))


def test_the_smooth_loss_of_gray_between_black_and_white_is_one():
    # rms 0.5 to each source.
    sources = torch.tensor([0.0, 1.0])[None, :, None, None].expand(3, 2, 7, 9)
    assert SmoothLoss()(torch.full((3, 1, 7, 9), 0.5), sources).item() == pytest.approx(1.0)


def test_the_smooth_loss_does_not_grow_with_the_image():
    fused, sources = noise(1, 1, 6, 6), noise(1, 2, 6, 6, seed=1)
    torch.testing.assert_close(SmoothLoss()(fused.tile(3, 4), sources.tile(3, 4)), SmoothLoss()(fused, sources))


def test_the_texture_loss_of_a_lost_edge_is_the_edge():
    sources = torch.zeros(1, 2, 6, 4)
    sources[:, 0, :, 2:] = 1  # a step: magnitude 4 in two of four columns
    assert DetailTextureLoss()(torch.zeros(1, 1, 6, 4), sources).item() == 2.0


def test_the_texture_loss_takes_the_stronger_edge_of_the_two():
    sources = torch.zeros(1, 2, 6, 4)
    sources[:, 0, :, 2:], sources[:, 1, :, 2:] = 1.0, 0.25
    assert DetailTextureLoss()(sources[:, :1], sources).item() == 0.0
    assert DetailTextureLoss()(sources[:, 1:], sources).item() == 1.5
