import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from references.geometry_reference import a_volume, an_affine, in_field_of_view, positions, resampled

from monai_s3im.errors import InputError
from monai_s3im.transforms import AlignSourcesd, ToSlices, alignment, resample_onto

LARGE = (14, 15, 16), an_affine((20, -10, 35), (3.0, 2.0, 2.5), (-25.0, -22.0, -20.0))
SMALL = (9, 8, 7), an_affine((-15, 25, 5), (1.5, 1.0, 2.0), (-12.0, -8.0, 0.0))


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def ramp(shape, affine):
    """Linear in mm."""
    return (positions(shape, affine) @ [0.3, -0.5, 0.2] + 7).reshape(shape)


def empty(grid):
    return a_volume(np.zeros(grid[0]), grid[1])


def aligned(image_a, image_b, plane="axial"):
    return AlignSourcesd(["image_a", "image_b"], plane=plane)({"image_a": image_a, "image_b": image_b})


def check_ramp(source, target):
    inside = in_field_of_view(source[0], source[1], *target, margin=0.0)
    assert inside.mean() > 0.3
    moved, covered = resample_onto(a_volume(ramp(*source), source[1]), empty(target))
    assert covered[0].numpy()[inside].all()
    np.testing.assert_allclose(moved[0].numpy()[inside], ramp(*target)[inside], rtol=0, atol=1e-3)


def test_a_ramp_in_mm_is_the_same_ramp_on_another_oblique_grid():
    check_ramp(LARGE, SMALL)


@pytest.mark.parametrize("degrees", [0.005, 0.02, 0.05, 0.5])
def test_a_small_rotation_is_not_ignored(degrees):
    check_ramp(((160, 160, 2), an_affine((0, 0, degrees))), ((160, 160, 2), np.eye(4)))


def test_a_sheared_grid_is_followed_too():
    sheared = SMALL[1] @ np.array([[1, 0.2, 0.1, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    check_ramp(LARGE, (SMALL[0], sheared))
    check_ramp(((14, 15, 16), LARGE[1] @ np.linalg.solve(SMALL[1], sheared)), SMALL)


@pytest.mark.parametrize(("source", "target"), [(LARGE, SMALL), (SMALL, LARGE)])
def test_values_and_field_of_view_are_those_of_scipy_and_of_geometry(source, target):
    array = noise(source[0])
    moved, covered = resample_onto(a_volume(array, source[1]), empty(target))
    inside = in_field_of_view(source[0], source[1], *target)
    assert 0 < inside.sum() < inside.size or source is LARGE
    assert np.array_equal(covered[0].numpy(), inside)
    expected = resampled(array, source[1], *target)
    np.testing.assert_allclose(moved[0].numpy()[inside], expected[inside], rtol=0, atol=1e-4)
    assert (moved[0].numpy()[~inside] == 0).all()


def test_values_are_those_of_simpleitk_reading_the_same_files(tmp_path):
    """ITK reads the NIfTI files itself, so LPS and RAS must be distinguished correctly."""
    array = noise(SMALL[0])
    for name, voxels, affine in (("image", array, SMALL[1]), ("grid", np.zeros(LARGE[0], np.float32), LARGE[1])):
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii")
    image, grid = (sitk.ReadImage(str(tmp_path / f"{name}.nii")) for name in ("image", "grid"))
    expected = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0)).T
    moved, _ = resample_onto(a_volume(array, SMALL[1]), empty(LARGE))
    inside = in_field_of_view(SMALL[0], SMALL[1], *LARGE, margin=0.49)
    assert inside.any()
    np.testing.assert_allclose(moved[0].numpy()[inside], expected[inside], rtol=0, atol=1e-4)


def test_a_landmark_stays_where_it_is_in_mm():
    grid = (30, 32, 34), an_affine((0, 30, 20), (1.1, 0.9, 1.0), (-19.0, -23.0, -2.0))
    other = (33, 31, 30), an_affine((40, 0, -10), (1.0, 1.2, 1.0), (-17.0, -7.0, -26.0))
    landmark = np.array([2.0, -1.5, 1.0])
    blob = np.exp(-((positions(*other) - landmark) ** 2).sum(1) / (2 * 2.0**2)).reshape(other[0])
    moved, _ = resample_onto(a_volume(blob, other[1]), empty(grid))
    weights = moved.numpy().ravel()
    np.testing.assert_allclose(weights @ positions(*grid) / weights.sum(), landmark, rtol=0, atol=0.05)


def test_the_same_grid_is_passed_through_unchanged():
    image = a_volume(noise(SMALL[0]), SMALL[1])
    moved, covered = resample_onto(image, empty(SMALL))
    assert torch.equal(moved, image)
    assert covered.all()


def test_the_image_is_not_changed_and_its_metadata_is_kept():
    image = a_volume(noise(SMALL[0]), SMALL[1])
    image.meta["modality"] = "ct"
    before = image.clone()
    moved, _ = resample_onto(image, empty(LARGE))
    assert torch.equal(image, before)
    np.testing.assert_allclose(image.affine, SMALL[1])
    np.testing.assert_allclose(moved.affine, LARGE[1])
    assert moved.meta["modality"] == "ct"


def test_colour_is_resampled_channel_by_channel():
    channels = [noise(SMALL[0], seed) for seed in range(3)]
    rgb = MetaTensor(np.stack(channels), affine=SMALL[1])
    moved, _ = resample_onto(rgb, empty(LARGE))
    for channel, result in zip(channels, moved, strict=True):
        assert torch.equal(result, resample_onto(a_volume(channel, SMALL[1]), empty(LARGE))[0][0])


def test_a_single_slice_covers_half_its_thickness_on_either_side():
    slab = a_volume(np.ones((5, 5, 1)), an_affine(spacing=(1, 1, 3)))
    _, covered = resample_onto(slab, a_volume(np.zeros((5, 5, 7)), an_affine(origin=(0, 0, -3.0))))
    assert covered.amax(dim=(0, 1, 2)).tolist() == [False, False, True, True, True, False, False]  # -3 ... 3 mm


SLAB = (5, 5, 1), an_affine(spacing=(4, 4, 9), origin=(-9.0, -8.0, 0.0))


@pytest.mark.parametrize(("source", "target"), [(LARGE, SMALL), (SMALL, LARGE), (SLAB, LARGE)])
@pytest.mark.parametrize("at_once", [1, 500, 2**22])
def test_torch_resamples_as_itk_does(monkeypatch, source, target, at_once):
    monkeypatch.setattr(alignment, "_VOXELS_AT_ONCE", at_once)
    image = MetaTensor(np.stack([noise(source[0], seed) for seed in range(3)]), affine=source[1])
    expected, expected_field = resample_onto(image, empty(target))
    found, field = alignment._resample_by_torch(image, empty(target), torch.device("cpu"))
    assert expected_field.any()
    assert torch.equal(field, expected_field)
    torch.testing.assert_close(found, expected.as_tensor(), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_aligns_as_the_cpu_does():
    pair = {"image_a": a_volume(noise(LARGE[0]), LARGE[1]), "image_b": a_volume(noise(SMALL[0]), SMALL[1])}
    expected = AlignSourcesd(["image_a", "image_b"])(pair)
    found = AlignSourcesd(["image_a", "image_b"], device="cuda")(pair)
    for key in ("image_a", "image_b", "covered"):
        assert found[key].device.type == "cpu"
        torch.testing.assert_close(torch.as_tensor(found[key]), torch.as_tensor(expected[key]), rtol=0, atol=1e-5)


def test_aligned_sources_have_the_reference_s_grid_in_slices():
    image_a, image_b = a_volume(noise(LARGE[0]), LARGE[1]), a_volume(noise(SMALL[0]), SMALL[1])
    result = aligned(image_a, image_b, "coronal")
    slices = ToSlices("coronal")(image_a)
    assert torch.equal(result["image_a"].as_tensor(), slices.as_tensor())
    assert result["image_b"].shape == slices.shape
    moved, covered = resample_onto(image_b, slices)
    assert torch.equal(result["image_b"].as_tensor(), moved.as_tensor())
    assert torch.equal(result["covered"], torch.cat([torch.ones_like(covered), covered]))
    np.testing.assert_allclose(result["grid_affine"], LARGE[1])
    np.testing.assert_allclose(result["slice_affine"], slices.affine)


def test_a_source_on_the_same_grid_but_stored_otherwise_is_not_interpolated():
    array = noise(SMALL[0])
    stored_otherwise = nib.Nifti1Image(array, SMALL[1]).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    image_b = a_volume(stored_otherwise.get_fdata(), stored_otherwise.affine)
    result = aligned(empty(SMALL), image_b)
    assert torch.equal(result["image_b"].as_tensor(), ToSlices("axial")(a_volume(array, SMALL[1])).as_tensor())
    assert "covered" not in result


def test_in_plane_means_the_plane_of_the_reference():
    coronal = a_volume(noise((6, 7, 3)), [[1, 0, 0, 0], [0, 0, 4, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    axial = a_volume(noise((6, 12, 7)), np.eye(4))
    result = aligned(coronal, axial, "in-plane")
    assert result["image_a"].shape == result["image_b"].shape == (1, 7, 6, 3)


def test_values_are_clipped_to_0_and_1_after_resampling():
    result = aligned(a_volume(3 * noise(LARGE[0]) - 1, LARGE[1]), a_volume(3 * noise(SMALL[0]) - 1, SMALL[1]))
    for key in ("image_a", "image_b"):
        assert result[key].amin() == 0
        assert result[key].amax() <= 1


def test_air_around_a_smaller_ct_is_black():
    hounsfield = np.full(SMALL[0], -1000.0)
    hounsfield[3:6, 3:6, 2:5] = 40.0
    result = aligned(empty(LARGE), a_volume(hounsfield / 80, SMALL[1]))
    assert (result["image_b"][0][~result["covered"][1]] == 0).all()
    assert result["image_b"].amax() <= 0.5


def test_volumes_that_do_not_overlap_are_refused_by_name():
    far = SMALL[1] + np.array([[0, 0, 0, 500.0], *[[0.0] * 4] * 3])
    image_b = a_volume(noise(SMALL[0]), far)
    image_b.meta["filename_or_obj"] = "far.nii.gz"
    with pytest.raises(InputError, match=r"far\.nii\.gz and image_a do not overlap in space: .*register"):
        aligned(empty(LARGE), image_b)


def test_a_picture_with_a_volume_is_refused():
    with pytest.raises(InputError, match="image_a and image_b do not match, one is a picture, the other a volume"):
        aligned(MetaTensor(torch.rand(1, 4, 5)), empty(SMALL))


def test_pictures_of_two_sizes_are_refused_with_width_by_height():
    with pytest.raises(
        InputError, match="image_a is 5 x 4 pixels and image_b 6 x 4: register them and make them the same size"
    ):
        aligned(MetaTensor(torch.rand(1, 4, 5)), MetaTensor(torch.rand(1, 4, 6)))


def test_pictures_of_one_size_pass_clipped():
    result = aligned(MetaTensor(torch.full((1, 4, 5), 1.5)), MetaTensor(torch.full((3, 4, 5), -0.5)))
    assert torch.equal(result["image_a"].as_tensor(), torch.ones(1, 4, 5))
    assert torch.equal(result["image_b"].as_tensor(), torch.zeros(3, 4, 5))
    assert "grid_affine" not in result


@pytest.mark.parametrize("grid", [SMALL, LARGE])
def test_a_voxel_without_a_value_is_not_covered(grid):
    """On its own grid voxel by voxel; on another where the nearest voxel of the source has none."""
    values = noise(SMALL[0])
    no_data = np.zeros(SMALL[0], bool)
    no_data[5:] = True
    image_b = MetaTensor(torch.as_tensor(values)[None], affine=torch.as_tensor(SMALL[1]))
    whole = aligned(empty(grid), image_b).get("covered", torch.ones(2, 1, 1, 1, dtype=torch.bool))
    image_b.meta["no_data"] = torch.as_tensor(no_data)[None]
    result = aligned(empty(grid), image_b)
    assert "no_data" not in result["image_b"].meta
    assert result["covered"][0].all()
    points = ToSlices("axial")(MetaTensor(torch.as_tensor(positions(*grid).T.reshape(3, *grid[0]).copy())))
    to_index = np.linalg.inv(SMALL[1])
    first = (to_index[0, :3] @ points.numpy().reshape(3, -1) + to_index[0, 3]).reshape(points.shape[1:])
    expected = whole[1].numpy() & (first < 4.5)
    assert expected.sum() > 0
    assert (result["covered"][1].numpy() != expected).mean() < 0.002  # on the boundary itself
