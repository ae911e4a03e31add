"""Properties of every fusion metric."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.metrics.utils import do_metric_reduction
from references.metrics_reference import REFERENCES
from torch import Tensor

from monai_s3im import metrics
from monai_s3im.metrics import FUSION_METRICS, NO_REFERENCE_METRICS, fusion_metrics

CLASSES = {
    "EN": metrics.EntropyMetric,
    "AG": metrics.AverageGradientMetric,
    "MI": metrics.MutualInformationMetric,
    "SSIM": metrics.FusionSSIMMetric,
    "PSNR": metrics.FusionPSNRMetric,
    "Qabf": metrics.QabfMetric,
    "SCD": metrics.SCDMetric,
    "SF": metrics.SpatialFrequencyMetric,
    "SD": metrics.StandardDeviationMetric,
    "VIF": metrics.VIFMetric,
}
every_metric = pytest.mark.parametrize("name", list(FUSION_METRICS))


def measure(name: str, fused: Tensor, sources: Tensor, data_range: float = 1.0) -> Tensor:
    if name in NO_REFERENCE_METRICS:
        return FUSION_METRICS[name](fused, data_range=data_range)
    return FUSION_METRICS[name](fused, sources, data_range=data_range)


def random_pairs(batch=3, height=48, width=57, n_sources=2, seed=0) -> tuple[Tensor, Tensor]:
    """8-bit values in [0, 1], float64, with some structure in common."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 1 + n_sources, height, width, generator=generator, dtype=torch.float64)
    images = (images + torch.linspace(0, 2, width, dtype=torch.float64)).div(3)
    images = (255 * images).round() / 255
    return images[:, :1], images[:, 1:]


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    return random_pairs()


def test_the_papers_eight_metrics_come_first_and_in_its_order():
    assert list(FUSION_METRICS) == ["EN", "AG", "MI", "SSIM", "PSNR", "Qabf", "SCD", "SF", "SD", "VIF"]
    assert CLASSES.keys() == FUSION_METRICS.keys() == REFERENCES.keys()


@every_metric
@given(seed=st.integers(0, 2**31), height=st.integers(41, 60), width=st.integers(41, 60))
def test_equals_the_naive_per_image_twin(name, seed, height, width):
    fused, sources = random_pairs(batch=1, height=height, width=width, seed=seed)
    on_255 = [(255 * image).round().numpy() for image in (fused[0, 0], sources[0, 0], sources[0, 1])]
    assert measure(name, fused, sources).item() == pytest.approx(REFERENCES[name](*on_255), rel=1e-6)


@every_metric
def test_equals_the_naive_twin_for_values_between_the_gray_levels(name):
    generator = np.random.default_rng(3)
    images = generator.random((3, 50, 45)) * 255
    tensors = torch.from_numpy(images)[None]
    measured = measure(name, tensors[:, :1], tensors[:, 1:], data_range=255.0)
    assert measured.item() == pytest.approx(REFERENCES[name](*images), rel=1e-6)


@every_metric
def test_a_batch_equals_the_single_images(name, pairs):
    fused, sources = pairs
    single = torch.cat([measure(name, fused[i : i + 1], sources[i : i + 1]) for i in range(len(fused))])
    torch.testing.assert_close(measure(name, fused, sources), single, rtol=1e-12, atol=0)


@every_metric
def test_the_order_of_the_sources_does_not_matter(name, pairs):
    fused, sources = pairs
    torch.testing.assert_close(measure(name, fused, sources.flip(1)), measure(name, fused, sources), rtol=1e-12, atol=0)


@every_metric
def test_is_one_finite_value_per_image_for_three_sources(name):
    values = measure(name, *random_pairs(n_sources=3))
    assert values.shape == (3,)
    assert values.isfinite().all()


@every_metric
def test_float32_is_close_to_float64(name, pairs):
    exact = measure(name, *pairs)
    values = measure(name, *(image.float() for image in pairs))
    assert (values.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(values.double(), exact, rtol=1e-4, atol=0)


@every_metric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_narrow_types_are_computed_in_float32(name, dtype, pairs):
    narrow = [(100 * image).to(dtype) for image in pairs]
    values = measure(name, *narrow, data_range=255.0)
    assert values.dtype == torch.float32
    wide = measure(name, *(image.float() for image in narrow), data_range=255.0)
    torch.testing.assert_close(values, wide, rtol=0, atol=0)


@every_metric
def test_the_data_range_is_a_mere_scale(name, pairs):
    fused, sources = pairs
    scaled = measure(name, 255 * fused, 255 * sources, data_range=255.0)
    torch.testing.assert_close(measure(name, fused, sources), scaled, rtol=1e-9, atol=0)


@every_metric
def test_does_not_change_its_input(name, pairs):
    fused, sources = (255 * image for image in pairs)
    before = fused.clone(), sources.clone()
    measure(name, fused, sources, data_range=255.0)
    assert fused.equal(before[0])
    assert sources.equal(before[1])


@every_metric
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_images_give_a_documented_value(name, level, dtype):
    constant = torch.full((2, 3, 48, 48), level, dtype=dtype)
    expected = {"EN": 0, "AG": 0, "MI": 0, "SSIM": 2, "PSNR": math.inf, "SCD": math.nan, "SF": 0, "SD": 0}
    # equal strengths above 1 give Qg = 0.9994; equal orientations Qa = 0.9879 / (1 + exp(-4.4)): the border is an edge
    expected |= {"Qabf": 0.9994 * 0.9879 / (1 + math.exp(-4.4)) if level else math.nan, "VIF": math.nan}
    values = measure(name, constant[:, :1], constant[:, 1:])
    torch.testing.assert_close(
        values, torch.full((2,), expected[name], dtype=dtype), rtol=1e-3, atol=1e-4, equal_nan=True
    )


@every_metric
def test_a_fused_image_equal_to_all_sources_has_the_documented_value(name, pairs):
    fused, _ = pairs
    values = measure(name, fused, fused.expand(-1, 2, -1, -1))
    entropy_in_nats = measure("EN", *pairs) * math.log(2)
    expected = {"MI": 2 * entropy_in_nats, "SSIM": 2.0, "PSNR": math.inf, "SCD": math.nan, "VIF": 2.0}
    if name in expected:
        wanted = torch.as_tensor(expected[name], dtype=values.dtype).expand(3)
        torch.testing.assert_close(values, wanted, rtol=1e-9, atol=0, equal_nan=True)
    else:
        assert values.isfinite().all()


@every_metric
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (6, 60), (7, 7), (40, 60)])
def test_images_smaller_than_the_window_have_no_value(name, size):
    values = measure(name, *random_pairs(height=size[0], width=size[1]))
    smallest = {"AG": 2, "SF": 2, "SSIM": 7, "VIF": 41}.get(name, 1)
    if size != (1, 1) or name not in {"SCD", "Qabf"}:  # one pixel is constant, and its Sobel window sums to zero
        assert values.isnan().all() == (min(size) < smallest)
    assert values.shape == (3,)


@every_metric
@pytest.mark.parametrize("pixel", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [(20, 20), (0, 0)])
def test_a_pixel_that_is_not_finite_makes_the_value_of_its_image_nan_and_of_no_other(name, pixel, position, pairs):
    for damaged in range(1 if name in NO_REFERENCE_METRICS else 2):
        images = [image.clone() for image in pairs]
        images[damaged][1, -1, *position] = pixel
        assert measure(name, *images).isnan().tolist() == [False, True, False]


@every_metric
@pytest.mark.parametrize(
    ("fused_shape", "sources_shape"),
    [
        ((2, 48, 48), (2, 2, 48, 48)),
        ((2, 3, 48, 48), (2, 2, 48, 48)),
        ((2, 1, 48, 48), (2, 1, 48, 48)),
        ((2, 1, 48, 48), (3, 2, 48, 48)),
        ((2, 1, 48, 48), (2, 2, 48, 47)),
    ],
)
def test_wrong_shapes_are_refused_with_both_shapes_named(name, fused_shape, sources_shape):
    fused, sources = torch.rand(fused_shape), torch.rand(sources_shape)
    with pytest.raises(ValueError, match="sources") as caught:
        CLASSES[name]()(y_pred=fused, y=sources)
    assert str(fused_shape) in str(caught.value)
    assert str(sources_shape) in str(caught.value)
    if name not in NO_REFERENCE_METRICS:
        with pytest.raises(ValueError, match="sources") as caught:
            measure(name, fused, sources)
        assert str(fused_shape) in str(caught.value)
        assert str(sources_shape) in str(caught.value)


@pytest.mark.parametrize("name", sorted(NO_REFERENCE_METRICS))
def test_a_wrong_fused_shape_is_refused_where_no_sources_are_needed(name):
    with pytest.raises(ValueError, match=r"\(2, 3, 48, 48\)"):
        FUSION_METRICS[name](torch.rand(2, 3, 48, 48))


@every_metric
@pytest.mark.parametrize("data_range", [0.0, -1.0, math.nan])
def test_a_data_range_that_is_not_positive_is_refused(name, data_range, pairs):
    with pytest.raises(ValueError, match="data_range"):
        measure(name, *pairs, data_range=data_range)


@every_metric
def test_the_monai_class_has_the_mean_of_the_function(name, pairs):
    metric = CLASSES[name]()
    metric(y_pred=pairs[0], y=pairs[1])
    values = measure(name, *pairs)
    assert metric.aggregate().ndim == 0
    torch.testing.assert_close(metric.aggregate(), values.mean())
    torch.testing.assert_close(metric.get_buffer(), values)


@every_metric
def test_the_monai_class_cumulates_until_it_is_reset(name, pairs):
    metric = CLASSES[name](data_range=255.0)
    other = random_pairs(batch=2, seed=1)
    values = []
    for fused, sources in (pairs, other):
        metric(y_pred=255 * fused, y=255 * sources)
        values.append(measure(name, fused, sources))
    torch.testing.assert_close(metric.aggregate(), torch.cat(values).mean())
    metric.reset()
    metric(y_pred=255 * other[0], y=255 * other[1])
    torch.testing.assert_close(metric.aggregate(), values[1].mean())


@every_metric
def test_the_monai_class_takes_lists_of_meta_tensors(name, pairs):
    metric = CLASSES[name]()
    metric([MetaTensor(image) for image in pairs[0]], [MetaTensor(image) for image in pairs[1]])
    torch.testing.assert_close(metric.get_buffer(), measure(name, *pairs))
    assert not isinstance(metric.get_buffer(), MetaTensor)


@every_metric
def test_the_monai_class_needs_sources(name, pairs):
    with pytest.raises(ValueError, match="needs the sources"):
        CLASSES[name]()(y_pred=pairs[0])


@every_metric
def test_the_monai_class_pickles(name, pairs):
    metric = pickle.loads(pickle.dumps(CLASSES[name](data_range=255.0)))  # noqa: S301
    metric(*(255 * image for image in pairs))
    torch.testing.assert_close(metric.aggregate(), measure(name, *pairs).mean())


@every_metric
def test_works_in_an_ignite_metric_handler(name, pairs):
    from ignite.engine import Engine
    from monai.handlers import IgniteMetricHandler

    engine = Engine(lambda _, batch: batch)
    IgniteMetricHandler(metric_fn=CLASSES[name]()).attach(engine, name)
    state = engine.run([pairs, random_pairs(seed=1)])
    values = torch.cat([measure(name, *batch) for batch in (pairs, random_pairs(seed=1))])
    assert state.metrics[name] == pytest.approx(values.mean().item())
    torch.testing.assert_close(state.metric_details[name], values)


def test_images_without_a_value_are_left_out_of_the_mean(pairs):
    fused, sources = pairs
    sources[0] = 0.5
    metric = metrics.VIFMetric()
    metric(fused, sources)
    torch.testing.assert_close(metric.aggregate(), metrics.visual_information_fidelity(fused[1:], sources[1:]).mean())


def test_all_metrics_together_equal_each_alone_when_the_batch_is_split():
    fused, sources = random_pairs(batch=5, height=256, width=256)
    together = fusion_metrics(fused, sources)
    assert list(together) == list(FUSION_METRICS)
    for name, values in together.items():
        torch.testing.assert_close(values, measure(name, fused, sources), rtol=1e-12, atol=0)


def by_monai(values, reduction):
    """What MONAI's own function makes of the values of images of one channel."""
    return do_metric_reduction(values[:, None], reduction)[0]


@every_metric
@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel"])
def test_aggregates_by_the_reductions_of_monai(name, reduction):
    fused, sources = random_pairs()
    metric, asked = CLASSES[name](), CLASSES[name](reduction=reduction)
    for each in (metric, asked):
        each(fused, sources)
    expected = by_monai(metric.get_buffer(), reduction)
    for found in (metric.aggregate(reduction), asked.aggregate()):
        torch.testing.assert_close(found.float().flatten(), expected.float().flatten())  # MONAI's mean has shape (1,)


def test_a_sum_leaves_out_images_without_a_value_and_an_unknown_reduction_is_refused():
    metric = metrics.QabfMetric()
    fused, sources = random_pairs()
    sources[0] = 0  # no edge to keep
    metric(fused, sources)
    assert metric.get_buffer()[0].isnan()
    torch.testing.assert_close(metric.aggregate("sum"), metric.get_buffer()[1:].sum())
    metric.reset()
    metric(fused[:1], sources[:1])
    assert metric.aggregate("sum").isnan()
    with pytest.raises(ValueError, match="median"):
        metric.aggregate("median")
