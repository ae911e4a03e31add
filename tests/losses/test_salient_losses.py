"""The losses of the second recipe: values by hand, and the metric that one of them follows."""

import math

import numpy as np
import pytest
import torch
from references import metrics_reference

from monai_s3im.losses import (
    ConditionalEntropyLoss,
    ContentEntropyLoss,
    DifferenceCorrelationLoss,
    GradientTransferLoss,
    SalientFloorLoss,
    SalientFusionLoss,
)


def flat(value):
    return torch.full((1, 1, 16, 16), value, dtype=torch.float64)


def test_the_floor_counts_what_is_missing_by_brightness():
    sources = torch.cat([flat(0.2), flat(0.8)], dim=1)
    assert SalientFloorLoss(share=0.75)(flat(0.5), sources).item() == pytest.approx(0.8 * (0.6 - 0.5))


def test_the_floor_is_silent_above_it():
    sources = torch.cat([flat(0.2), flat(0.8)], dim=1)
    assert SalientFloorLoss(share=0.75)(flat(0.61), sources).item() == 0


def test_with_a_high_power_the_floor_counts_little_but_what_is_nearly_white():
    gray, white = torch.cat([flat(0.2), flat(0.5)], dim=1), torch.cat([flat(0.2), flat(1.0)], dim=1)
    loss = SalientFloorLoss(share=0.8, power=4)
    assert loss(flat(0.3), gray).item() == pytest.approx(0.5**4 * 0.1)
    assert loss(flat(0.7), white).item() == pytest.approx(0.1)


def test_a_fused_image_without_information_leaves_the_entropy_of_the_sources():
    levels = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(128).reshape(1, 1, 16, 16)
    assert ConditionalEntropyLoss()(flat(0.5), levels.repeat(1, 2, 1, 1)).item() == pytest.approx(math.log(2))


def test_the_conditional_entropy_falls_by_what_the_metric_mi_rises():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 8, (3, 20, 20), generator=generator)  # on the centres of 8 bins
    sources = torch.stack([levels[0], (levels[0] + levels[1]) // 2])
    loss = ConditionalEntropyLoss(bins=8)

    def scores(fused):
        images = (fused.double() / 7)[None, None], (sources.double() / 7)[None]
        gray = [np.asarray(image * 36, dtype=np.float64) for image in (fused, *sources)]
        return 2 * loss(*images).item(), metrics_reference.mi(*gray)

    (loss_near, mi_near), (loss_far, mi_far) = scores(sources[1]), scores(levels[2])
    assert mi_near > mi_far + 0.5
    assert loss_far - loss_near == pytest.approx(mi_near - mi_far, rel=1e-9)


def test_a_gain_asks_for_a_steeper_edge():
    ramp = torch.linspace(0, 0.5, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    sources = ramp.repeat(1, 2, 1, 1)
    loss = GradientTransferLoss(gain=1.2)
    assert loss(1.2 * ramp, sources).item() == pytest.approx(0, abs=1e-12)
    assert loss(ramp, sources).item() > 0.001


def test_the_content_entropy_falls_by_what_the_metric_en_rises():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 8, (20, 20), generator=generator)  # on the centres of 8 bins
    sources = torch.ones(1, 2, 20, 20, dtype=torch.float64)
    loss = ContentEntropyLoss(bins=8)
    for image in (levels, levels // 2, levels * 0):
        entropy = metrics_reference.en(image.double().numpy() * 36) * math.log(2)
        assert loss(image.double()[None, None] / 7, sources).item() == pytest.approx(math.log(8) - entropy, abs=1e-12)


def test_noise_in_the_black_earns_no_content_entropy():
    generator = torch.Generator().manual_seed(0)
    black = torch.rand(1, 1, 16, 16, generator=generator, dtype=torch.float64)
    content = torch.rand(1, 1, 16, 16, generator=generator, dtype=torch.float64)
    sources = torch.cat([torch.zeros_like(content), content + 0.1], dim=3).repeat(1, 2, 1, 1)
    loss = ContentEntropyLoss()
    alone = loss(content, sources[..., 16:]).item()
    for background in (black, 0 * black):
        assert loss(torch.cat([background, content], dim=3), sources).item() == pytest.approx(alone / 2)
    assert loss(black, sources[..., :16]).item() == 0


def test_with_two_sources_the_difference_correlation_is_the_metric_scd():
    generator = torch.Generator().manual_seed(0)
    sources = torch.rand(1, 2, 20, 20, generator=generator, dtype=torch.float64)
    gray = [255 * source.numpy() for source in sources[0]]
    for fused in (sources.amax(1, keepdim=True), sources.mean(1, keepdim=True), 1 - sources[:, :1]):
        scd = metrics_reference.scd(255 * fused[0, 0].numpy(), *gray)
        assert DifferenceCorrelationLoss()(fused, sources).item() == pytest.approx(1 - scd / 2, abs=2e-3)


def test_a_source_without_contrast_does_not_shake_the_difference_correlation():
    generator = torch.Generator().manual_seed(0)
    sources = torch.cat([torch.rand(1, 1, 16, 16, generator=generator), torch.full((1, 1, 16, 16), 0.3)], dim=1)
    fused = (sources[:, 1:] + 1e-4 * sources[:, :1]).requires_grad_()
    loss = DifferenceCorrelationLoss()(fused, sources)
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=0.02)
    assert fused.grad.abs().max() < 1


def test_a_part_that_weighs_nothing_is_not_computed():
    sources = torch.cat([flat(0.2), flat(0.8)], dim=1)
    loss = SalientFusionLoss(floor=0.0, smooth=2.0, patch_size=16)
    loss(flat(0.5), sources)
    assert "floor" not in loss.parts
    assert "entropy" not in loss.parts
    assert loss.parts["smooth"].item() == pytest.approx(0.3 + 0.3)
