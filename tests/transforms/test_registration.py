import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from references.geometry_reference import a_volume, an_affine, positions
from sample_images import GRID, SHAPE, blobs, write_volume

from monai_s3im.errors import InputError
from monai_s3im.phantom import head_phantom
from monai_s3im.pipeline import Fuser
from monai_s3im.transforms import NormalizeModality, Register, RegisterSourcesd, read_movement, resample_onto
from monai_s3im.transforms.loading import LoadSourcesd
from monai_s3im.transforms.mattes_information import MattesInformation, extent_of, scale_of
from monai_s3im.transforms.registration_checks import (
    overlap_faults,
    plausibility_faults,
    sharpness_faults,
    shift_of,
)

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
KEYS = ["image_a", "image_b"]
RIGID = an_affine((5, -4, 8), origin=(6.0, -5.0, 4.0))
AFFINE = RIGID @ np.diag([1.05, 0.96, 1.03, 1.0])
VIEW = (56, 68, 48), (3.6, 3.6, 4.0)


@pytest.fixture(scope="module")
def head():
    """One head in every modality, normalised."""
    volumes = head_phantom(*VIEW).volumes
    modalities = {"t1": "mr", "t2": "mr", "ct": "ct"}
    return {name: NormalizeModality(modality)(volumes[name]) for name, modality in modalities.items()}


def moved_by(movement, image):
    """The same voxels elsewhere: a point p moves to movement(p)."""
    return MetaTensor(
        image.as_tensor(),
        affine=torch.as_tensor(movement @ image.affine.numpy()),
        meta={"modality": image.meta["modality"]},
    )


def matrix_of(registered):
    """From points of the reference to points of the image, RAS mm."""
    return LPS @ np.array(registered.meta["registration"]["matrix_lps"]) @ LPS


def farthest(found, truth, reference):
    """The largest distance in mm, over the inner part of the field of view, of where two movements lead."""
    points = positions(reference.shape[1:], reference.affine.numpy())
    points = points[np.linalg.norm(points - points.mean(axis=0), axis=1) < 80]
    return np.linalg.norm(points @ (found - truth)[:3, :3].T + (found - truth)[:3, 3], axis=1).max()


@pytest.mark.parametrize("other", ["t2", "ct"])
def test_a_rigid_movement_is_found_to_half_a_millimetre(head, other):
    registered = Register("rigid")(moved_by(RIGID, head[other]), head["t1"])
    assert farthest(matrix_of(registered), RIGID, head["t1"]) < 0.5
    assert registered.meta["registration"]["faults"] == []


def test_an_affine_movement_is_found_to_half_a_millimetre(head):
    registered = Register("affine")(moved_by(AFFINE, head["t2"]), head["t1"])
    assert farthest(matrix_of(registered), AFFINE, head["t1"]) < 0.5


def test_a_movement_of_a_small_thing_is_found_as_well_as_that_of_a_head(head):
    """A head of 14 mm, with voxels of 0.3 mm: to half of a seventh of that."""
    small = np.diag([*[14 / 170] * 3, 1.0])
    reference, image = (moved_by(small, head[name]) for name in ("t1", "t2"))
    movement = small @ RIGID @ np.linalg.inv(small)
    registered = Register("rigid")(moved_by(movement, image), reference)
    assert farthest(matrix_of(registered), movement, reference) < 0.5 * 14 / 170
    assert registered.meta["registration"]["faults"] == []
    other = NormalizeModality("mr")(head_phantom(*VIEW, seed=1).volumes["t2"])
    small_other = moved_by(small, other)
    (fault,) = Register("rigid")(small_other, reference).meta["registration"]["faults"]
    shift = 4 * min(extent_of(reference), extent_of(small_other)) / 150
    assert 0.3 < shift < 0.5
    assert f"match barely better than when shifted by {shift:.2g} mm" in fault


def test_the_size_of_an_object_is_that_of_a_ball_with_its_spread():
    """A ball of 15 mm in a larger, anisotropic and oblique field of view; voxels of 0.016 mm³, a cube of 0.25 mm."""
    spacing = [0.125, 0.25, 0.5]
    grid = an_affine((20, -10, 35), origin=(40.0, 5.0, -30.0)) @ np.diag([*spacing, 1.0])
    distances = np.linalg.norm((np.indices((200, 120, 80)).T - [90, 56, 34]) * spacing, axis=-1).T
    ball, smaller, larger = (a_volume(distances < radius, grid) for radius in (7.5, 5, 21))
    assert extent_of(ball) == pytest.approx(15, rel=0.02)
    assert extent_of(smaller) == pytest.approx(10, rel=0.04)
    assert scale_of(ball) == pytest.approx(0.25)  # the voxels, as 15 of 120 mm is less
    assert scale_of(larger) == pytest.approx(extent_of(larger) / 120)
    assert scale_of(larger) == scale_of(larger, larger) > scale_of(larger, ball) == scale_of(ball)


def test_lengths_are_those_for_a_head_from_the_size_of_a_head_on(head):
    assert 150 < extent_of(head["t1"]) < 200
    assert scale_of(*head.values()) == 1


def test_a_shift_is_at_least_a_voxel():
    coarse, fine = (a_volume(np.zeros((4, 4, 4)), np.diag([size] * 3 + [1.0])) for size in (5.0, 1.0))
    assert shift_of(170, fine, fine) == 4
    assert shift_of(75, fine, fine) == 2
    assert shift_of(14, fine, fine) == pytest.approx(1)
    assert shift_of(14, fine, coarse) == pytest.approx(5)


@pytest.mark.parametrize("parts", [(2, 2, 2), (1, 3, 4)])
def test_voxels_finer_than_half_a_millimetre_count_by_the_means_of_their_blocks(parts):
    movement, grid = an_affine((3, 2, -5), origin=(1.0, 2.0, -1.5)), an_affine((4, -7, 11), origin=(3.0, -5.0, 4.0))
    to_coarse = np.diag([*(1 / np.array(parts)), 1.0])
    to_coarse[:3, 3] = (1 / np.array(parts) - 1) / 2
    coarse, fine = [], []
    blocks = np.random.default_rng(1).random((1, 12, 12, 12), np.float32)  # 96 mm: as large as a head
    for channels in (1, 3):
        values = blocks.repeat(channels, 0).repeat(8, 1).repeat(8, 2).repeat(8, 3)
        repeated = values.repeat(parts[0], 1).repeat(parts[1], 2).repeat(parts[2], 3)
        coarse.append(MetaTensor(values, affine=torch.as_tensor(grid)))
        fine.append(MetaTensor(repeated, affine=torch.as_tensor(grid @ to_coarse)))
    expected = MattesInformation(*coarse)(movement)
    assert expected > 0.01
    assert MattesInformation(*fine)(movement) == pytest.approx(expected, rel=1e-5)


def test_a_registered_pair_is_not_moved(head):
    registered = Register("rigid")(head["t2"], head["t1"])
    assert farthest(matrix_of(registered), np.eye(4), head["t1"]) < 0.3


def test_every_number_of_threads_gives_the_same_bits(head):
    displaced, threads = moved_by(RIGID, head["t2"]), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for number in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
            found.append(matrix_of(Register("rigid")(displaced, head["t1"])))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    np.testing.assert_array_equal(*found)


def test_the_head_of_another_person_is_reported(head):
    other = NormalizeModality("mr")(head_phantom(*VIEW, seed=1).volumes["t2"])
    (fault,) = Register("rigid")(other, head["t1"]).meta["registration"]["faults"]
    assert "they may show different people" in fault


def test_the_array_order_of_the_image_does_not_matter(head):
    displaced = moved_by(RIGID, head["t2"])
    flip = np.array([[0, -1, 0, displaced.shape[1] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    turned = MetaTensor(
        displaced.as_tensor().flip(1).transpose(1, 2).contiguous(),
        affine=torch.as_tensor(displaced.affine.numpy() @ flip),
    )
    found = matrix_of(Register("rigid")(displaced, head["t1"]))
    assert farthest(matrix_of(Register("rigid")(turned, head["t1"])), found, head["t1"]) < 0.1


def test_the_affine_of_the_image_includes_the_movement():
    image, reference = (a_volume(blobs(SHAPE, seed), GRID) for seed in range(2))
    registered = Register("rigid", AFFINE)(image, reference)
    np.testing.assert_allclose(AFFINE @ registered.affine.numpy(), GRID, atol=1e-9)
    np.testing.assert_array_equal(registered.numpy(), image.numpy())


def given_transforms():
    centre, shift = (3.0, -4.0, 5.0), (2.0, -1.0, 1.5)
    euler = sitk.Euler3DTransform(centre, 0.1, -0.05, 0.2, shift)
    versor = sitk.VersorRigid3DTransform((0.0, 0.6, 0.8), 0.2, shift, centre)
    affine = sitk.AffineTransform([1.05, 0.1, 0, -0.05, 0.97, 0.02, 0, 0.03, 1.1], shift, centre)
    return [euler, versor, affine, sitk.CompositeTransform([euler, affine])]


@pytest.mark.parametrize("transform", given_transforms(), ids=lambda transform: transform.GetName())
def test_a_given_transform_resamples_as_simpleitk_does(tmp_path, transform):
    paths = [write_volume(tmp_path / f"{name}.mha", seed) for seed, name in enumerate("ab")]
    sitk.WriteTransform(transform, str(tmp_path / "given.tfm"))
    a, b = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in paths)
    expected = sitk.GetArrayFromImage(sitk.Resample(b, a, transform, sitk.sitkLinear, 0.0)).T
    loaded = LoadSourcesd(KEYS)(dict(zip(KEYS, map(str, paths), strict=True)))
    result = RegisterSourcesd(KEYS, transform=tmp_path / "given.tfm")(loaded)
    moved, covered = resample_onto(result["image_b"], loaded["image_a"])
    assert 0.3 < covered.float().mean() < 1
    np.testing.assert_allclose(moved[0].numpy(), expected, atol=0.05)  # of 1000


def test_the_saved_transform_is_recorded_and_gives_the_same_image_again(tmp_path, head):
    a, b = head["t1"], moved_by(RIGID, head["t2"])
    first = Fuser(device="cpu", register="rigid")(a, b, tmp_path / "first.nii.gz", "mr", "mr")
    record = json.loads((tmp_path / "first.json").read_text(encoding="utf-8"))
    assert (record["registration"]["kind"], record["registration"]["file"]) == ("rigid", "first.tfm")
    assert record["warnings"] == []
    assert farthest(read_movement(tmp_path / "first.tfm"), RIGID, a) < 0.3
    point = (10.0, 20.0, 30.0)
    expected = np.array(record["registration"]["matrix_lps"]) @ [*point, 1.0]
    np.testing.assert_allclose(sitk.ReadTransform(str(tmp_path / "first.tfm")).TransformPoint(point), expected[:3])
    again = Fuser(device="cpu", transform=tmp_path / "first.tfm")(a, b, tmp_path / "again.nii.gz", "mr", "mr")
    np.testing.assert_allclose(again.numpy(), first.numpy(), atol=1e-5)
    record = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))
    assert (record["registration"]["kind"], record["registration"]["file"]) == ("given", "first.tfm")
    assert not (tmp_path / "again.tfm").exists()


def test_a_quarter_of_the_smaller_view_must_be_shared():
    view = a_volume(np.zeros((40, 40, 40)), np.eye(4))
    assert overlap_faults(view, a_volume(np.zeros((20, 20, 20)), an_affine(origin=(26, 0, 0)))) == []
    (fault,) = overlap_faults(view, a_volume(np.zeros((20, 20, 20)), an_affine(origin=(36, 0, 0))))
    assert "share 20 %" in fault or "share 19 %" in fault


def test_implausible_movements_are_reported():
    centre = np.array([10.0, 20.0, 30.0])
    assert plausibility_faults(an_affine((0, 0, 40), origin=(50, 0, 0)), centre, 170) == []
    assert plausibility_faults(an_affine((0, 0, 50)), np.zeros(3), 170) == ["need a rotation of 50 degrees"]
    assert plausibility_faults(an_affine(origin=(0, 120, 0)), centre, 170) == ["need a translation of 120 mm"]
    assert plausibility_faults(an_affine(origin=(0, 120, 0)), centre, 400) == []
    assert plausibility_faults(an_affine(origin=(0, 9, 0)), centre, 14) == ["need a translation of 9 mm"]
    assert plausibility_faults(np.diag([1, 1.3, 1, 1]), np.zeros(3), 170) == ["need a scaling of 1.00 to 1.30"]
    assert plausibility_faults(np.diag([-1.0, 1, 1, 1]), np.zeros(3), 170) == [
        "need a movement that mirrors, so left and right may be mixed up"
    ]


@pytest.mark.parametrize(("kept", "number"), [(0.90, 0), (0.95, 1)])
def test_a_fit_as_good_when_shifted_by_four_mm_is_reported(kept, number):
    assert len(sharpness_faults(lambda movement: 2.0 if (movement == RIGID).all() else 2.0 * kept, RIGID)) == number


def test_headers_that_do_not_meet_are_reported_without_registration(caplog):
    far = a_volume(blobs(SHAPE, 1), an_affine(origin=(500, 0, 0)) @ GRID)
    result = RegisterSourcesd(KEYS)({"image_a": a_volume(blobs(SHAPE), GRID), "image_b": far})
    (warning,) = json.loads(result["warnings"])
    assert "share 0 % of the smaller field of view" in warning
    assert warning in caplog.text


def test_pictures_are_not_registered():
    pictures = {key: MetaTensor(torch.rand(1, 8, 8)) for key in KEYS}
    assert RegisterSourcesd(KEYS)(pictures).keys() == pictures.keys()
    with pytest.raises(InputError, match="only volumes can be registered"):
        RegisterSourcesd(KEYS, "rigid")(pictures)


def test_an_unknown_registration_is_refused():
    with pytest.raises(InputError, match="unknown registration 'elastic': choose one of none, rigid, affine"):
        Fuser(device="cpu", register="elastic")


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (sitk.BSplineTransform(3), "BSplineTransform, which bends space"),
        (sitk.Euler2DTransform(), "Euler2DTransform of 2 dimensions"),
        (sitk.AffineTransform([0.0] * 9, (0.0, 0.0, 0.0)), "cannot be inverted"),
        (sitk.ScaleTransform(3, (1e308, 1.0, 1.0)), "scales a thousandfold"),
        (sitk.ScaleTransform(3, (1.0, 1e-4, 1e4)), "scales a thousandfold"),
        (sitk.TranslationTransform(3, (0.0, -1.1e6, 0.0)), "moves by more than a kilometre"),
    ],
)
def test_a_transform_that_is_not_linear_in_space_is_refused_by_name(tmp_path, transform, reason):
    sitk.WriteTransform(transform, str(tmp_path / "given.tfm"))
    with pytest.raises(InputError, match=f"given.tfm holds .*{reason}"):
        read_movement(tmp_path / "given.tfm")


@pytest.mark.parametrize("content", [b"", b"nothing", b"#Insight Transform File V1.0\n#Transform 0\nTransform: Eul"])
def test_a_damaged_or_missing_transform_gets_one_sentence(tmp_path, content):
    with pytest.raises(InputError, match="is not a file"):
        read_movement(tmp_path / "given.tfm")
    (tmp_path / "given.tfm").write_bytes(content)
    with pytest.raises(InputError, match="damaged or not an ITK transform"):
        Fuser(device="cpu", transform=tmp_path / "given.tfm")


@pytest.mark.slow
def test_the_known_movement_of_a_real_head_is_found(shared_data):
    folder = shared_data / "data" / "volumes" / "stroke_t1_t2_flair"
    truth = json.loads((folder / "T2_displaced.truth.json").read_text(encoding="utf-8"))[
        "world_RAS_matrix_applied_to_header"
    ]
    files = {"image_a": str(folder / "T1.nii.gz"), "image_b": str(folder / "T2_displaced.nii.gz")}
    a, b = (NormalizeModality("mr")(image) for image in LoadSourcesd(KEYS)(files).values())
    found = matrix_of(Register("rigid")(b, a))
    assert farthest(found, np.array(truth), a) < 0.5
    turn = found[:3, :3] @ np.array(truth)[:3, :3].T
    assert np.degrees(np.arccos(min(1.0, (np.trace(turn) - 1) / 2))) < 0.5
