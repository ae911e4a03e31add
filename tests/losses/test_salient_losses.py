"""The losses of the second recipe: values by hand, and the metric that one of them follows."""

import math

import numpy as np
import pytest
import torch
from references import metrics_reference

from monai_s3im.losses import ConditionalEntropyLoss, GradientTransferLoss, SalientFloorLoss


def flat(value):
    return torch.full((1, 1, 16, 16), value, dtype=torch.float64)


def test_the_floor_counts_what_is_missing_by_brightness():
    sources = torch.cat([flat(0.2), flat(0.8)], dim=1)
    assert SalientFloorLoss(share=0.75)(flat(0.5), sources).item() == pytest.approx(0.8 * (0.6 - 0.5))


def test_the_floor_is_silent_above_it():
    sources = torch.cat([flat(0.2), flat(0.8)], dim=1)
    assert SalientFloorLoss(share=0.75)(flat(0.61), sources).item() == 0


def test_a_fused_image_that_tells_nothing_leaves_the_entropy_of_the_sources():
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
