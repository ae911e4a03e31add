import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from references.geometry_reference import a_volume, an_affine, indices_of, positions

from monai_s3im.errors import InputError
from monai_s3im.transforms import PLANES, RandSliced, RestoreGridd, ToSlices

DIRECTION_OF = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(["RL", "AP", "SI"]) for codes in itertools.product(*axes)
]
SHAPE = (2, 3, 4)

planes = st.sampled_from([*PLANES, "in-plane"])
orientations = st.sampled_from(ORIENTATIONS)


def affines():
    angles = st.tuples(*[st.floats(-90.0, 90.0)] * 3)
    spacings = st.tuples(*[st.floats(0.3, 5.0)] * 3)
    origins = st.tuples(*[st.floats(-200.0, 200.0)] * 3)
    return st.builds(an_affine, angles, spacings, origins)


def stored_as(array, affine, codes):
    """The same volume with its axes permuted and flipped by nibabel, as it takes a volume from RAS to ``codes``."""
    to_codes = nib.orientations.ornt_transform(*map(nib.orientations.axcodes2ornt, ("RAS", codes)))
    reordered = nib.orientations.apply_orientation(array, to_codes)
    return reordered, affine @ nib.orientations.inv_ornt_aff(to_codes, array.shape)


def numbered(shape=SHAPE):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def clarity(affine):
    """How much better the best assignment of array axes to R, A, S is than the second best; 0 at 45 degrees."""
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    scores = sorted(sum(cosines[i, axes[i]] for i in range(3)) for axes in itertools.permutations(range(3)))
    return scores[-1] - scores[-2]


def restored(slices, volume):
    data = {"pred": slices.as_tensor(), "grid_affine": volume.affine, "slice_affine": slices.affine}
    return RestoreGridd("pred")(data)["pred"]


@given(affines(), orientations, planes)
@settings(deadline=None)
def test_slices_are_restored_to_exactly_the_same_volume(affine, codes, plane):
    array, affine = stored_as(numbered(), affine, codes)
    volume = a_volume(array, affine)
    back = restored(ToSlices(plane)(volume), volume)
    assert torch.equal(back.as_tensor(), volume.as_tensor())
    np.testing.assert_allclose(back.affine, affine, rtol=0, atol=1e-6)


@given(affines(), orientations, planes)
@settings(deadline=None)
def test_every_voxel_stays_at_its_place_in_mm(affine, codes, plane):
    array, affine = stored_as(numbered(), affine, codes)
    slices = ToSlices(plane)(a_volume(array, affine))
    at = indices_of(positions(slices.shape[1:], np.asarray(slices.affine)), affine)
    np.testing.assert_allclose(at, at.round(), rtol=0, atol=1e-6)
    assert np.array_equal(array[tuple(at.round().astype(int).T)], slices.flatten().numpy())


@given(affines(), orientations, st.sampled_from(list(PLANES)))
@settings(deadline=None)
def test_a_permuted_and_flipped_copy_gives_the_same_slices(affine, codes, plane):
    assume(clarity(affine) > 1e-6)
    slices = ToSlices(plane)(a_volume(numbered(), affine))
    copy = ToSlices(plane)(a_volume(*stored_as(numbered(), affine, codes)))
    assert torch.equal(slices.as_tensor(), copy.as_tensor())
    np.testing.assert_allclose(slices.affine, copy.affine, rtol=0, atol=1e-6)


@given(affines(), orientations, st.sampled_from(list(PLANES)))
@settings(deadline=None)
def test_rows_columns_and_slices_run_where_planes_says(affine, codes, plane):
    assume(clarity(affine) > 1e-6)
    slices = ToSlices(plane)(a_volume(*stored_as(numbered(), affine, codes)))
    assert "".join(nib.aff2axcodes(slices.affine.numpy())) == PLANES[plane]


def test_axial_rows_run_to_the_back_and_columns_to_the_left_of_the_patient():
    volume = a_volume(numbered(), np.eye(4))  # stored as R, A, S
    slices = ToSlices("axial")(volume)[0]
    assert slices.shape == (3, 2, 4)
    assert slices[0, 0, 1] == volume[0, 1, 2, 1]  # top left corner: right, anterior
    assert slices[2, 1, 1] == volume[0, 0, 0, 1]  # bottom right corner: left, posterior


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_in_plane_slices_lie_in_the_first_two_stored_axes(codes):
    volume = a_volume(*stored_as(numbered((5, 5, 5)), np.eye(4), codes))
    slices = ToSlices("in-plane")(volume)
    assert slices.affine[:3, 2].abs().argmax() == volume.affine[:3, 2].abs().argmax()
    plane = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}[codes[2]]
    assert torch.equal(slices, ToSlices(plane)(volume))


def test_unknown_plane_is_refused_and_the_planes_are_named():
    with pytest.raises(InputError, match="unknown plane 'oblique': choose one of axial, coronal, sagittal, in-plane"):
        ToSlices("oblique")


def test_the_volume_and_its_metadata_are_not_changed():
    volume = a_volume(numbered(), np.eye(4))
    volume.meta["modality"] = "mr"
    slices = ToSlices("coronal")(volume)
    slices.meta["modality"] = "ct"
    assert torch.equal(volume.affine, torch.eye(4, dtype=torch.float64))
    assert volume.meta["modality"] == "mr"


def test_restoring_a_picture_leaves_it_unchanged():
    picture = torch.rand(3, 4, 5)
    back = RestoreGridd("pred")({"pred": picture})["pred"]
    assert isinstance(back, MetaTensor)
    assert torch.equal(back.as_tensor(), picture)


def a_stack(*contents):
    """Two channels, (2, 2, 2, slices), slice i of value i + 1 where it has content."""
    values = torch.tensor([(index + 1.0) * content for index, content in enumerate(contents)])
    return {"image": values.expand(2, 2, 2, -1).clone()}


def test_middle_slice_is_the_middle_one_of_those_with_content():
    assert torch.equal(
        RandSliced("image", random=False)(a_stack(0, 1, 1, 1, 0, 0))["image"], torch.full((2, 2, 2), 3.0)
    )


def test_drawn_slices_are_those_with_content_in_every_channel_and_each_comes():
    stack = a_stack(1, 1, 0, 1, 1)
    stack["image"][1, ..., 0] = 0  # one channel is empty
    draw = RandSliced("image").set_random_state(seed=0)
    drawn = {float(draw(stack)["image"].amax()) for _ in range(100)}
    assert drawn == {2.0, 4.0, 5.0}


def test_all_keys_get_the_same_slice():
    numbers = torch.arange(1.0, 8.0).expand(1, 2, 2, 7)
    result = RandSliced(["image", "other"])({"image": numbers, "other": 10 * numbers})
    assert torch.equal(10 * result["image"], result["other"])


def test_same_seed_draws_the_same_slices():
    stack = a_stack(*[1] * 50)
    first, second = (RandSliced("image").set_random_state(seed=3) for _ in range(2))
    for _ in range(10):
        assert torch.equal(first(stack)["image"], second(stack)["image"])


def test_a_slice_is_taken_of_a_volume_without_content():
    assert RandSliced("image")(a_stack(0, 0))["image"].shape == (2, 2, 2)


def test_a_slice_of_a_picture_is_the_picture():
    picture = torch.rand(2, 4, 5)
    assert RandSliced("image")({"image": picture})["image"] is picture
