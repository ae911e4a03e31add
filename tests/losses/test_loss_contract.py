"""The contract of every fusion loss, run over all of them. Draws are the same in each evaluation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import SSIMLoss
from references import losses_reference

from monai_s3im.functional import draw_positions
from monai_s3im.losses import (
    AblationLoss,
    ConditionalEntropyLoss,
    ContentEntropyLoss,
    ContrastLoss,
    DetailTextureLoss,
    DifferenceCorrelationLoss,
    EdgePreservationLoss,
    GaussianSSIMLoss,
    GradientTransferLoss,
    PerSourceLoss,
    S3IMFusionLoss,
    SalientFloorLoss,
    SalientFusionLoss,
    SalientIntensityLoss,
    SmoothLoss,
    SolidLoss,
    StochasticSSIMLoss,
)

DRAWS, PATCH_SIZE = 3, 8


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def the_draws(pixels):
    return draw_positions(pixels, PATCH_SIZE, DRAWS, seeded()).tolist()


MAKE_LOSS = {
    "StochasticSSIMLoss": lambda: StochasticSSIMLoss(draws=DRAWS, patch_size=PATCH_SIZE, generator=seeded()),
    "DetailTextureLoss": DetailTextureLoss,
    "SmoothLoss": SmoothLoss,
    "S3IMFusionLoss": lambda: S3IMFusionLoss(draws=DRAWS, patch_size=PATCH_SIZE, generator=seeded()),
    "AblationLoss": AblationLoss,
    "GaussianSSIMLoss": GaussianSSIMLoss,
    "SalientIntensityLoss": SalientIntensityLoss,
    "SalientFloorLoss": SalientFloorLoss,
    "ConditionalEntropyLoss": ConditionalEntropyLoss,
    "ContentEntropyLoss": ContentEntropyLoss,
    "DifferenceCorrelationLoss": DifferenceCorrelationLoss,
    "ContrastLoss": ContrastLoss,
    "SolidLoss": SolidLoss,
    "GradientTransferLoss": GradientTransferLoss,
    "EdgePreservationLoss": EdgePreservationLoss,
    "SalientFusionLoss": lambda: SalientFusionLoss(draws=DRAWS, patch_size=PATCH_SIZE, generator=seeded()),
    "PerSourceLoss": lambda: PerSourceLoss(torch.nn.L1Loss()),
}
REFERENCE = {
    "StochasticSSIMLoss": lambda f, s: losses_reference.stochastic_ssim(f, s, the_draws(f[0].size)),
    "DetailTextureLoss": losses_reference.detail_texture,
    "SmoothLoss": losses_reference.smooth,
    "S3IMFusionLoss": lambda f, s: losses_reference.s3im_fusion(f, s, the_draws(f[0].size)),
    "AblationLoss": losses_reference.ablation,
    "GaussianSSIMLoss": losses_reference.gaussian_ssim,
    "SalientIntensityLoss": losses_reference.salient_intensity,
    "SalientFloorLoss": losses_reference.salient_floor,
    "ConditionalEntropyLoss": losses_reference.conditional_entropy,
    "ContentEntropyLoss": losses_reference.content_entropy,
    "DifferenceCorrelationLoss": losses_reference.difference_correlation,
    "ContrastLoss": losses_reference.contrast,
    "SolidLoss": losses_reference.solid,
    "GradientTransferLoss": losses_reference.gradient_transfer,
    "EdgePreservationLoss": losses_reference.edge_preservation,
    "SalientFusionLoss": lambda f, s: losses_reference.salient_fusion(f, s, the_draws(f[0].size)),
    "PerSourceLoss": lambda f, s: np.mean([np.abs(f - s[:, index]).mean() for index in range(s.shape[1])]),
}
# At equality the sigmoids of the edge measure leave 1 - 0.9994 * 0.9879 * sigmoid(7.5) * sigmoid(22 * 0.19) = 0.029.
# A pixel that is shared by two bins leaves at most its neighbours undecided: ln 3. A gain of 1.08 leaves 0.08 of the
# gradient, |gx| + |gy| = 1.6 on average in this noise. The entropy is measured against gray levels evenly used, not
# against the sources. What is left of an image less twice itself is its negative.
LEFT_AT_EQUALITY = {
    "EdgePreservationLoss": 0.03,
    "ConditionalEntropyLoss": math.log(3),
    "ContentEntropyLoss": math.log(64),
    "DifferenceCorrelationLoss": 2,
    "SolidLoss": 5 / 255,  # saturated is 250 to 255
    "SalientFusionLoss": 6 * 0.03 + 1.6 * math.log(3) + 20 * 0.08 * 2,
}
every_loss = pytest.mark.parametrize("name", MAKE_LOSS)


def score(name, fused, sources):
    return MAKE_LOSS[name]()(fused, sources)


def images(batch=2, sources=2, size=(13, 16), dtype=torch.float64, seed=0):
    generator = seeded(seed)
    return (
        torch.rand(batch, 1, *size, generator=generator, dtype=dtype),
        torch.rand(batch, sources, *size, generator=generator, dtype=dtype),
    )


def test_every_exported_loss_is_in_this_list():
    import monai_s3im.losses

    assert sorted(MAKE_LOSS) == sorted(monai_s3im.losses.__all__)


@every_loss
@pytest.mark.parametrize("sources", [2, 3])
def test_agrees_with_the_equation_written_as_loops(name, sources):
    fused, sources = images(sources=sources)
    expected = REFERENCE[name](fused[:, 0].numpy(), sources.numpy())
    assert score(name, fused, sources).item() == pytest.approx(expected, rel=1e-12)


own_reduction = pytest.mark.parametrize("name", sorted(MAKE_LOSS.keys() - {"PerSourceLoss"}))


@own_reduction
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_reduces_over_the_batch_as_torch_s_losses_do(name, reduction):
    fused, sources = images(batch=3)
    each = torch.stack([score(name, fused[i : i + 1], sources[i : i + 1]) for i in range(3)])
    loss = MAKE_LOSS[name]()
    assert type(loss)(reduction=reduction).reduction == reduction
    for part in loss.modules():
        part.reduction = reduction
    torch.testing.assert_close(loss(fused, sources), {"none": each, "mean": each.mean(), "sum": each.sum()}[reduction])


def test_a_loss_taken_source_by_source_reduces_and_weighs_by_itself():
    fused, sources = images(batch=3)
    loss = PerSourceLoss(SSIMLoss(spatial_dims=2, win_size=7, reduction="none"), weights=[0.25, 2.0])
    each = [SSIMLoss(spatial_dims=2, win_size=7, reduction="none")(fused, sources[:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(fused, sources), 0.25 * each[0] + 2 * each[1])
    with pytest.raises(ValueError, match="2 weights for 3 sources: give one for each source"):
        loss(*images(sources=3))


@own_reduction
def test_an_unknown_reduction_is_refused(name):
    with pytest.raises(ValueError, match="max"):
        type(MAKE_LOSS[name]())(reduction="max")


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_zero_when_the_fused_image_equals_every_source(name, dtype):
    fused, _ = images(dtype=dtype)
    assert abs(score(name, fused, fused.repeat(1, 3, 1, 1)).item()) < LEFT_AT_EQUALITY.get(name, 0) + 1e-5


@every_loss
def test_the_order_of_the_sources_does_not_matter(name):
    fused, sources = images()
    torch.testing.assert_close(score(name, fused, sources.flip(1)), score(name, fused, sources))


@every_loss
def test_the_order_of_the_images_in_the_batch_does_not_matter(name):
    fused, sources = images(batch=3)
    torch.testing.assert_close(score(name, fused.flip(0), sources.flip(0)), score(name, fused, sources))


@every_loss
def test_the_loss_of_a_batch_is_the_mean_of_its_images(name):
    fused, sources = images(batch=3)
    each = torch.stack([score(name, fused[b : b + 1], sources[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(score(name, fused, sources), each.mean())


@every_loss
@settings(deadline=None, max_examples=25)
@given(levels=st.tuples(*[st.floats(0, 1)] * 3), noise=st.floats(0, 1), seed=st.integers(0, 1000))
def test_is_never_negative(name, levels, noise, seed):
    fused, sources = images(batch=1, dtype=torch.float32, seed=seed)
    fused = (1 - noise) * levels[0] + noise * fused
    sources = (1 - noise) * torch.tensor(levels[1:])[None, :, None, None] + noise * sources
    assert score(name, fused, sources).item() >= -1e-5


@every_loss
def test_is_a_scalar_in_the_precision_of_the_fused_image(name):
    for dtype in (torch.float32, torch.float64):
        loss = score(name, *images(dtype=dtype))
        assert (loss.shape, loss.dtype) == (torch.Size([]), dtype)


@every_loss
def test_its_gradient_is_that_of_finite_differences(name):
    smallest = (11, 11) if name in {"AblationLoss", "GaussianSSIMLoss", "SalientFusionLoss"} else (8, 8)
    fused, sources = images(batch=1, sources=3, size=smallest)
    assert torch.autograd.gradcheck(lambda image: score(name, image, sources), fused.requires_grad_())


@every_loss
@pytest.mark.parametrize("level", [None, 0.0, 1.0])
def test_its_gradient_is_finite_where_the_fused_image_equals_a_source(name, level):
    fused, sources = images(dtype=torch.float32)
    if level is not None:
        sources = torch.full_like(sources, level)
    fused = sources[:, :1].clone().requires_grad_()
    score(name, fused, sources).backward()
    assert fused.grad.isfinite().all()


@every_loss
def test_autocast_does_not_change_the_value(name):
    fused, sources = images(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = score(name, fused, sources)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, score(name, fused, sources))


@every_loss
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_single_precision(name, half):
    fused, sources = images(dtype=half)
    assert torch.equal(score(name, fused, sources), score(name, fused.float(), sources.float()))
    assert torch.equal(score(name, fused, sources.float()), score(name, fused.float(), sources.float()))


WRONG_SHAPES = [
    ((2, 1, 16, 16), (2, 1, 16, 16)),  # one source
    ((2, 2, 16, 16), (2, 2, 16, 16)),  # two fused channels
    ((2, 1, 16, 16), (1, 2, 16, 16)),  # another batch
    ((2, 1, 16, 16), (2, 2, 16, 15)),  # another width
    ((2, 1, 15, 16), (2, 2, 16, 16)),  # another height
    ((1, 16, 16), (2, 16, 16)),  # no batch
    ((2, 1, 16, 16, 4), (2, 2, 16, 16, 4)),  # volumes
]


@every_loss
@pytest.mark.parametrize(("fused", "sources"), WRONG_SHAPES)
def test_shapes_that_do_not_match_are_refused_with_both_named(name, fused, sources):
    with pytest.raises(ValueError, match="fused of shape") as refusal:
        score(name, torch.zeros(fused), torch.zeros(sources))
    assert str(fused) in str(refusal.value)
    assert str(sources) in str(refusal.value)


@every_loss
def test_neither_image_is_changed(name):
    fused, sources = images()
    before = fused.clone(), sources.clone()
    score(name, fused, sources)
    assert torch.equal(fused, before[0])
    assert torch.equal(sources, before[1])


@every_loss
def test_the_number_of_filters_does_not_grow_with_draws_images_or_sources(name, monkeypatch):
    calls = []

    def counted(function):
        return lambda *args, **kwargs: calls.append(1) or function(*args, **kwargs)

    for filter_name in ("conv2d", "avg_pool2d"):
        monkeypatch.setattr(torch.nn.functional, filter_name, counted(getattr(torch.nn.functional, filter_name)))
    score(name, *images(batch=1, sources=2))
    few = len(calls)
    calls.clear()
    loss = MAKE_LOSS[name]()
    for part in loss.modules():
        if isinstance(part, StochasticSSIMLoss):
            part.draws = 7
    loss(*images(batch=4, sources=3))
    # SSIM: all moments in one, a Gaussian along columns and rows. Gradients: of fused and sources. Intensities: none.
    expected = {
        "PerSource": 0,
        "StochasticSSIM": 1,
        "GaussianSSIM": 2,
        "DetailTexture": 2,
        "GradientTransfer": 2,
        "EdgePreservation": 2,
    }
    expected |= {"Smooth": 0, "SalientIntensity": 0, "SalientFloor": 0, "ConditionalEntropy": 0}
    expected |= {"ContentEntropy": 0, "DifferenceCorrelation": 0}
    expected |= {"Contrast": 2 + 3 + 2, "Solid": 0}  # two levels; three images are halved
    expected |= {"S3IMFusion": 3, "Ablation": 4, "SalientFusion": 7}
    assert few == len(calls) == expected[name.removesuffix("Loss")]


def test_the_reference_uses_the_draws_of_the_loss():
    positions = draw_positions(13 * 16, PATCH_SIZE, DRAWS, seeded())
    assert np.array_equal(positions.numpy(), np.array(the_draws(13 * 16)))
