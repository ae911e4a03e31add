"""A training that starts with a negative of its sources has its sign flipped; one that ends with it gets a warning."""

import logging

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from monai.transforms import Lambdad

from monai_s3im.metrics import SCDMetric
from monai_s3im.networks import S3IMFusion
from monai_s3im.training import PrepareFusionBatch
from monai_s3im.training.negative_images import NegativeImageWarning, UprightStart


def warnings_of(caplog, fused, sources):
    """The log after a validation by MONAI's evaluator, which clips the images before they are measured."""
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=[{"image": sources}],
        network=torch.nn.Identity(),
        prepare_batch=PrepareFusionBatch(),
        inferer=lambda inputs, network: fused,
        postprocessing=Lambdad("pred", lambda image: image.clamp(0, 1)),
        val_handlers=[NegativeImageWarning()],
    )
    with caplog.at_level(logging.WARNING, logger="monai_s3im"):
        evaluator.run()
    return caplog.messages


def noise(count=1):
    return torch.rand(count, 2, 32, 32, generator=torch.Generator().manual_seed(0))


NEGATIVE = "the fused images are a negative of their sources (correlation -1.00): stop, and use another seed"


@pytest.mark.parametrize("level", [0.5, -0.5])
def test_a_negative_is_reported_and_a_positive_is_not(caplog, level):
    sources = noise()
    mean = sources.mean(dim=1, keepdim=True)
    assert warnings_of(caplog, level + mean, sources) == []
    assert warnings_of(caplog, level - mean, sources) == [NEGATIVE]


@pytest.mark.parametrize("fused", ["flat", "black", "noise"])
def test_a_network_whose_output_is_still_almost_empty_gives_no_warning(caplog, fused):
    """SCD is -0.9 and worse for all of these, as after the first epoch of most trainings."""
    sources = 0.3 * noise(3) + 0.7 * blobs((3, 1), 32)  # that are much alike
    images = {"flat": torch.full((3, 1, 32, 32), 0.2), "black": torch.full((3, 1, 32, 32), -0.1)}
    images["noise"] = 0.2 + 0.01 * torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    metric = SCDMetric()
    metric(images[fused].clamp(0, 1), sources)
    assert metric.aggregate() < -0.9
    assert warnings_of(caplog, images[fused], sources) == []


def started(network, sources, *, iteration=0):
    trainer = Engine(lambda engine, batch: None)
    UprightStart(network).attach(trainer)
    if iteration:
        trainer.load_state_dict({"iteration": iteration, "max_epochs": iteration + 1, "epoch_length": 1})
    trainer.run([{"image": sources}], max_epochs=iteration + 1, epoch_length=1)


def fused_and_correlation(network, sources):
    with torch.no_grad():
        fused = network(sources)
    each = [image.double() - image.double().mean(dim=(2, 3), keepdim=True) for image in (fused, sources.mean(1, True))]
    return fused, torch.cosine_similarity(each[0].flatten(), each[1].flatten(), dim=0).item()


def blobs(shape=(2, 2), size=64):
    coarse = torch.rand(*shape, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


@pytest.mark.parametrize("seed", range(12))
def test_no_training_starts_with_a_negative(seed):
    torch.manual_seed(seed)
    network = S3IMFusion()
    before, correlation = fused_and_correlation(network, blobs())
    started(network, blobs())
    after, upright = fused_and_correlation(network, blobs())
    assert upright == pytest.approx(abs(correlation), abs=1e-6)
    assert torch.equal(after, before if correlation >= 0 else -before)


def test_random_weights_are_both_so_that_the_test_above_can_fail():
    signs = set()
    for seed in range(12):
        torch.manual_seed(seed)
        signs.add(fused_and_correlation(S3IMFusion(), blobs())[1] > 0)
    assert signs == {True, False}


def test_brightness_that_differs_between_the_images_does_not_decide(monkeypatch):
    sources = 0.1 * blobs() + torch.tensor([0.0, 0.9])[:, None, None, None]
    of_image = sources.mean(dim=(1, 2, 3), keepdim=True)
    network = S3IMFusion()
    before = network.reconstruction[-1].weight.clone()
    # upright within each image, and dark where the whole image is bright
    monkeypatch.setattr(network, "forward", lambda image: image.mean(1, True) - 2 * of_image)
    started(network, sources)
    assert torch.equal(network.reconstruction[-1].weight, before)


def test_a_resumed_training_is_unchanged():
    torch.manual_seed(13)
    network = S3IMFusion()
    before, correlation = fused_and_correlation(network, blobs())
    started(network, blobs(), iteration=5)
    assert correlation < 0
    assert torch.equal(network(blobs()), before)
