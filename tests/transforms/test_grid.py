import numpy as np
import pytest
import torch
from references.geometry_reference import a_volume, an_affine, in_field_of_view, indices_of, positions

from monai_s3im.errors import InputError
from monai_s3im.transforms import AlignSourcesd, resample_onto
from monai_s3im.transforms.grid import finer_of, grid_with_spacing, parse_spacing

COARSE = (6, 7, 5), an_affine((20, -10, 35), (3.0, 2.0, 4.0), (-9.0, -7.0, -8.0))
FINE = (14, 13, 12), an_affine((-15, 25, 5), (1.0, 1.5, 1.0), (-7.0, -8.0, -6.0))


def volume(grid, seed=0):
    return a_volume(np.random.default_rng(seed).random(grid[0]), grid[1])


def aligned(a, b, **settings):
    return AlignSourcesd(["image_a", "image_b"], **settings)({"image_a": volume(a), "image_b": volume(b, 1)})


@pytest.mark.parametrize(
    ("given", "sizes"),
    [("1.5", (1.5, 1.5, 1.5)), (2, (2, 2, 2)), ("0.9x1x2", (0.9, 1, 2)), ((1, 2, 3), (1, 2, 3)), ("1X2X3", (1, 2, 3))],
)
def test_spacing_is_one_or_three_voxel_sizes(given, sizes):
    assert parse_spacing(given) == sizes


@pytest.mark.parametrize("given", ["1x2", "0", "-1", "1x1x0", "wide", "nan", "inf", (1, 2), "1,1,2", [[1], [2]]])
def test_unusable_spacing_is_refused(given):
    with pytest.raises(InputError, match=r"unusable spacing .*: give the voxel size in mm, such as 1 or 0.9x0.9x2"):
        AlignSourcesd(["image_a", "image_b"], spacing=given)


def test_no_spacing_is_none():
    assert parse_spacing(None) is None
    assert parse_spacing("") is None


def test_unknown_reference_is_refused():
    with pytest.raises(InputError, match="unknown reference 'ct': choose one of a, b, finer"):
        AlignSourcesd(["image_a", "image_b"], reference="ct")


def test_twice_as_many_voxels_of_half_the_size_fill_the_same_field_of_view():
    """Along one axis: 4 voxels of 2 mm from -1 to 7 mm become 8 of 1 mm, the first centre at -0.5 mm."""
    grid = grid_with_spacing(a_volume(np.zeros((4, 4, 4)), an_affine(spacing=(2, 2, 2))), (1.0, 2.0, 8.0))
    assert grid.shape == (1, 8, 4, 1)
    np.testing.assert_allclose(grid.affine, an_affine(spacing=(1, 2, 8), origin=(-0.5, 0, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 2.9), (5.0, 4.0, 50.0)])
def test_the_grid_has_the_axes_centre_and_field_of_view_of_the_volume(spacing):
    shape, affine = COARSE
    grid = grid_with_spacing(volume(COARSE), spacing)
    found, size = grid.affine.numpy(), grid.shape[1:]
    np.testing.assert_allclose(np.linalg.norm(found[:3, :3], axis=0), spacing)
    np.testing.assert_allclose(found[:3, :3] / spacing, affine[:3, :3] / [3, 2, 4], rtol=0, atol=1e-12)
    np.testing.assert_allclose(positions(size, found).mean(0), positions(shape, affine).mean(0), rtol=0, atol=1e-9)
    assert in_field_of_view(shape, affine, size, found).all()
    mm = np.multiply(shape, (3, 2, 4))
    assert (np.abs(np.multiply(size, spacing) - mm)[np.array(spacing) < mm] <= 0.5 * np.max(spacing)).all()


def test_the_volume_s_own_spacing_gives_its_own_grid():
    grid = grid_with_spacing(volume(COARSE), (3.0, 2.0, 4.0))
    assert grid.shape == (1, *COARSE[0])
    np.testing.assert_allclose(grid.affine, COARSE[1], rtol=0, atol=1e-12)


def test_a_spacing_of_too_many_voxels_is_refused_before_memory_is_taken():
    with pytest.raises(InputError, match=r"spacing 0.001 x 0.001 x 0.001 mm would make 5e.12 voxels, 1.88e.04 GiB"):
        aligned(COARSE, FINE, spacing=0.001)


def test_the_finer_grid_is_that_of_the_smaller_voxels_and_a_s_when_they_are_equal():
    assert finer_of([volume(COARSE), volume(FINE)]) == 1
    assert finer_of([volume(FINE), volume(COARSE)]) == 0
    same_size = FINE[0], an_affine((40, 0, 0), (1.5, 1.0, 1.0))
    assert finer_of([volume(FINE), volume(same_size)]) == finer_of([volume(same_size), volume(FINE)]) == 0


@pytest.mark.parametrize(
    ("reference", "a", "b", "chosen"),
    [("a", COARSE, FINE, 0), ("b", COARSE, FINE, 1), ("finer", COARSE, FINE, 1), ("finer", FINE, COARSE, 0)],
)
def test_the_reference_passes_and_the_other_is_resampled_onto_it(reference, a, b, chosen):
    result = aligned(a, b, reference=reference, plane="in-plane")
    kept = (a, b)[chosen]
    np.testing.assert_allclose(result["grid_affine"], kept[1])
    keys = ["image_a", "image_b"]
    assert sorted(result[keys[chosen]].flatten().tolist()) == sorted(volume(kept, chosen).flatten().tolist())
    moved, covered = resample_onto(volume((b, a)[chosen], 1 - chosen), result[keys[chosen]])
    assert torch.equal(result[keys[1 - chosen]].as_tensor(), moved.as_tensor().clamp(0, 1))
    assert result["covered"][chosen].all()
    assert torch.equal(result["covered"][1 - chosen], covered[0])


def test_with_a_spacing_the_masks_give_which_source_covers_what():
    result = aligned(COARSE, FINE, reference="a", spacing=(1.0, 1.0, 1.5))
    slices = result["slice_affine"]
    for mask, grid in zip(result["covered"], (COARSE, FINE), strict=True):
        at = indices_of(positions(mask.shape, slices), grid[1])
        clear = (np.abs(np.abs(at - (np.array(grid[0]) - 1) / 2) - np.array(grid[0]) / 2) > 1e-6).all(1)
        inside = in_field_of_view(*grid, mask.shape, slices).ravel()
        assert clear.mean() > 0.9
        assert np.array_equal(mask.numpy().ravel()[clear], inside[clear])
    assert result["covered"][0].all()
    assert 0 < result["covered"][1].float().mean() < 1


SHEARED = an_affine((10, 5, 20), (1.0, 1.0, 3.0), (4.0, -3.0, 9.0)) @ np.array(
    [[1, 0, 0, 0], [0, 1, 0.9, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
)


def test_a_grid_of_another_spacing_is_straight_and_holds_all_of_a_sheared_volume():
    sheared = (14, 13, 12), SHEARED
    grid = grid_with_spacing(volume(sheared), (1.0, 1.5, 2.0))
    axes = grid.affine.numpy()[:3, :3] / [1.0, 1.5, 2.0]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    at = indices_of(positions(*sheared), grid.affine.numpy())
    assert (at >= -0.5).all()
    assert (at <= np.array(grid.shape[1:]) - 0.5).all()
    smaller = np.array(grid.shape[1:]) * [1.0, 1.5, 2.0] - np.ptp(at, axis=0) * [1.0, 1.5, 2.0]
    assert (smaller < np.array([1.0, 1.5, 2.0]) + 5).all()  # no more than half a sheared voxel and one of its own


def test_a_straight_grid_has_the_values_of_a_sheared_volume_where_they_are():
    def ramp(points):
        return 0.5 + points @ [0.004, 0.006, -0.003]

    values = ramp(positions((14, 13, 12), SHEARED)).reshape(14, 13, 12)
    a = a_volume(values, SHEARED)
    found = AlignSourcesd(["image_a", "image_b"], spacing=1.0)({"image_a": a, "image_b": a})
    covered = torch.as_tensor(found["covered"][0])
    expected = ramp(positions(found["image_a"].shape[1:], found["slice_affine"])).reshape(covered.shape)
    inner = in_field_of_view((14, 13, 12), SHEARED, covered.shape, found["slice_affine"], margin=0.0)
    assert 0.2 < inner.mean() < 0.9
    assert bool(covered[torch.as_tensor(inner)].all())
    np.testing.assert_allclose(found["image_a"][0].numpy()[inner], expected[inner], atol=1e-5)
