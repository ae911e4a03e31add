"""A fixed sample of the damaged inputs, and images that hypothesis makes up; the long run is tests/fuzz/run.py."""

import numpy as np
import pytest
import torch
from fuzz.fuzz_session import Session, quick_tasks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.data import MetaTensor

from monai_s3im.errors import InputError

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


def test_no_damaged_input_crashes_or_hangs_an_entry_point_or_fills_the_memory(tmp_path):
    tasks = list(quick_tasks())[::3]
    with Session(tmp_path / "failures") as session:
        counts = session.run(tasks, seconds=500)
    assert counts["tried"] == len(tasks) > 10
    assert counts["failures"] == []
    assert counts["refused"] > counts["tried"] / 3
    assert counts["largest_growth_mib"] < 700


@st.composite
def images(draw, rank):
    """A tensor of any type, shape, content and affine, much of it absurd."""
    shape = (draw(st.sampled_from([1, 3, 2])), *(draw(st.integers(1, 14)) for _ in range(rank)))
    dtype = draw(st.sampled_from(["float32", "float64", "float16", "int16", "uint8", "int32", "bool"]))
    array = draw(arrays.arrays(dtype, shape, fill=st.nothing() if np.prod(shape) < 40 else None))
    affine = np.eye(4) + (draw(arrays.arrays(np.float64, (4, 4), elements=NUMBERS)) if draw(st.booleans()) else 0)
    affine[3] = (0, 0, 0, 1)
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine))


def check_fusion(fuser, image, other):
    refusal = None
    try:
        fused = fuser(image, other)
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        assert len(refusal) < 500
        return
    assert fused.shape[1:] == image.shape[1:]
    assert fused.isfinite().all()
    assert fused.min() >= 0
    assert fused.max() <= 1
    if image.ndim == 4:
        np.testing.assert_allclose(fused.affine, image.affine, rtol=1e-5)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(image=images(2), other=images(2))
def test_any_two_pictures_are_fused_or_refused(fuser, image, other):
    check_fusion(fuser, image, other)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(image=images(3), other=images(3))
def test_any_two_volumes_are_fused_or_refused(fuser, image, other):
    check_fusion(fuser, image, other)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=[*HealthCheck])
@given(image=images(3), other=images(3))
def test_any_two_volumes_of_many_are_fused_or_refused(fuser, image, other):
    check_fusion(fuser, image, other)
