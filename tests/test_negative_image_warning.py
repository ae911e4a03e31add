"""A network that learned a negative of its sources is told of, by the metric that the validator measures."""

import logging

import pytest
import torch
from ignite.engine import Engine

from monai_s3im.handlers import NegativeImageWarning
from monai_s3im.metrics import SCDMetric


def validate(fused, sources):
    def step(engine, _):
        metric = SCDMetric()
        metric(fused, sources)
        engine.state.metrics["SCD"] = metric.aggregate().item()

    validator = Engine(step)
    NegativeImageWarning().attach(validator)
    validator.run([0])


@pytest.mark.parametrize(("sign", "told"), [(1, 0), (-1, 1)])
def test_a_negative_is_told_of_and_a_positive_is_not(caplog, sign, told):
    sources = torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    with caplog.at_level(logging.WARNING, logger="monai_s3im"):
        validate(0.5 + sign * (sources.mean(dim=1, keepdim=True) - 0.5), sources)
    assert [record.getMessage().split(":")[1] for record in caplog.records] == (
        [" the network has learned a negative of its sources; stop, and train with another seed"] * told
    )
