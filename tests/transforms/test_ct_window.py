"""The CT window by content, on bodies of known geometry, and on real CTs if available."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_s3im.phantom import head_phantom
from monai_s3im.transforms import CTContent, ct_content
from monai_s3im.transforms.ct_window import compress_

AIR, FAT, MUSCLE, BRAIN, BONE, LUNG = -1000.0, -100.0, 50.0, 35.0, 900.0, -850.0
SPACING = (2.5, 2.5, 6.0)
WIDTH, DEPTH = 300.0, 260.0  # mm across and front to back, of the body below


def grid(fov_mm=(400.0, 400.0, 120.0), spacing=SPACING):
    """Coordinates in mm, centred, (X, Y, Z) each, of a field of view."""
    axes = [(np.arange(round(f / s)) - (round(f / s) - 1) / 2) * s for f, s in zip(fov_mm, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij", sparse=True)


def tube(x, y, half_width, half_depth, at=(0.0, 0.0)):
    """Inside an elliptic cylinder along Z."""
    return ((x - at[0]) / half_width) ** 2 + ((y - at[1]) / half_depth) ** 2 <= 1


def painted(shape, *parts):
    volume = np.full(shape, AIR, np.float32)
    for where, value in parts:
        volume[np.broadcast_to(where, shape)] = value
    return volume


def a_trunk(fov_mm=(400.0, 400.0, 120.0), spacing=SPACING, scale=1.0, lungs=True, fat_mm=20.0):
    """A chest or an abdomen: skin fat, muscle, a spine, and ribs that do not meet."""
    x, y, z = (axis / scale for axis in grid(fov_mm, spacing))
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    parts = [(tube(x, y, WIDTH / 2, DEPTH / 2), FAT), (tube(x, y, WIDTH / 2 - fat_mm, DEPTH / 2 - fat_mm), MUSCLE)]
    if lungs:
        parts += [(tube(x, y, 45, 70, (side * 65, 0)), LUNG) for side in (-1, 1)]
    ribs = tube(x, y, 128, 108) & ~tube(x, y, 120, 100) & (np.abs(x) > 30) & (z % 30 < 10)
    return painted(
        shape, *parts, (ribs, BONE), (tube(x, y, 20, 20, (0, -80)), BONE), (tube(x, y, 9, 9, (0, -80)), 20.0)
    )


def a_head(fov_mm=(240.0, 240.0, 120.0), spacing=SPACING, size=1.0):
    """The vault of a head: scalp, a closed ring of bone, brain."""
    x, y, _z = grid(fov_mm, spacing)
    shape = np.broadcast_shapes(x.shape, y.shape, _z.shape)
    rings = ((80, 98, FAT), (77, 95, MUSCLE), (74, 92, BONE), (68, 86, BRAIN), (12, 30, 8.0))
    return painted(shape, *((tube(x, y, size * a, size * b), value) for a, b, value in rings))


def test_a_head_is_shown_in_the_brain_window():
    content = ct_content(a_head(), SPACING)
    assert (content.region, content.window) == ("head", "brain")
    assert content.area_cm2 == pytest.approx(math.pi * 8.0 * 9.8, rel=0.03)
    assert content.length_mm == pytest.approx(120)
    assert content.brain == pytest.approx(68 * 86 / (80 * 98), abs=0.08)
    assert content.lung == 0


def test_a_thorax_is_shown_in_the_soft_tissue_window():
    content = ct_content(a_trunk(), SPACING)
    assert (content.region, content.window) == ("body", "soft_tissue")
    assert content.area_cm2 == pytest.approx(math.pi * 15 * 13, rel=0.03)
    assert content.lung == pytest.approx(2 * 45 * 70 / (150 * 130), abs=0.04)
    assert content.fat == pytest.approx(1 - 130 * 110 / (150 * 130), abs=0.04)
    assert content.brain == 0


@pytest.mark.parametrize("scale", [1.0, 0.55, 0.3], ids=["adult", "child", "newborn"])
@pytest.mark.parametrize("lungs", [True, False], ids=["thorax", "abdomen"])
def test_a_trunk_of_any_size_is_a_body(scale, lungs):
    assert ct_content(a_trunk(scale=scale, lungs=lungs), SPACING).window == "soft_tissue"


@pytest.mark.parametrize("fat_mm", [2.0, 20.0], ids=["thin", "usual"])
@pytest.mark.parametrize("fov_mm", [120.0, 160.0, 200.0])
@pytest.mark.parametrize("lungs", [True, False], ids=["heart", "spine"])
def test_a_small_field_of_view_inside_a_trunk_is_a_body(fov_mm, lungs, fat_mm):
    volume = a_trunk((fov_mm, fov_mm, 120.0), lungs=lungs, fat_mm=fat_mm)
    assert ct_content(volume, SPACING).window == "soft_tissue"


def test_lung_that_leaves_a_small_field_of_view_is_lung():
    content = ct_content(a_trunk((160.0, 160.0, 120.0)), SPACING)
    assert content.lung == pytest.approx(0.5, abs=0.15)


def test_the_head_of_a_newborn_is_a_head():
    assert ct_content(a_head(size=0.6), SPACING).window == "brain"


def test_a_skull_with_a_suture_and_one_with_a_hole_in_a_third_of_its_slices_is_a_head():
    volume, (x, y, z) = a_head(), grid((240.0, 240.0, 120.0))
    suture = (np.abs(x) < 4) & (y > 60) & (volume > 500)
    hole = (y > 0) & (z > 20) & (volume > 500)
    volume[suture | hole] = MUSCLE
    assert ct_content(volume, SPACING).window == "brain"


def test_a_neck_is_a_body():
    x, y, z = grid((240.0, 240.0, 160.0))
    volume = painted(
        np.broadcast_shapes(x.shape, y.shape, z.shape),
        (tube(x, y, 65, 62), FAT),
        (tube(x, y, 58, 55), MUSCLE),
        (tube(x, y, 14, 12, (0, -15)), BONE),
        (tube(x, y, 8, 7, (0, -22)), 20.0),
        (tube(x, y, 9, 9, (0, 25)), AIR),
    )
    content = ct_content(volume, SPACING)
    assert content.window == "soft_tissue"
    assert content.area_cm2 == pytest.approx(math.pi * 6.5 * 6.2, rel=0.05)


def test_a_head_on_a_whole_trunk_is_a_body():
    head, trunk = a_head((400.0, 400.0, 160.0)), a_trunk((400.0, 400.0, 600.0))
    assert ct_content(np.concatenate([trunk, head], axis=2), SPACING).window == "soft_tissue"


def test_the_table_and_the_head_holder_are_not_part_of_the_head():
    fov = (400.0, 400.0, 120.0)
    x, y, _z = grid(fov)
    alone, on_table = a_head(fov), a_head(fov)
    plate = (np.abs(y + 120) < 3) & (np.abs(x) < 190)
    holder = tube(x, y, 104, 122) & ~tube(x, y, 101, 119) & (y < 20)
    on_table[np.broadcast_to(plate | holder, on_table.shape)] = 100.0
    assert ct_content(on_table, SPACING) == ct_content(alone, SPACING)


@pytest.mark.parametrize("padding", [-2000.0, -3024.0, -1024.0])
@pytest.mark.parametrize("make", [a_head, a_trunk], ids=["head", "trunk"])
def test_padding_is_not_part_of_the_body(make, padding):
    fov = (400.0, 400.0, 120.0)
    x, y, _z = grid(fov)
    volume = make(fov)
    padded = np.where(x**2 + y**2 > 195**2, np.float32(padding), volume)
    assert ct_content(padded, SPACING) == ct_content(volume, SPACING)


def test_a_brain_without_its_skull_is_a_head_and_muscle_with_fat_is_not():
    x, y, z = grid((240.0, 240.0, 120.0))
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    brain = painted(shape, (tube(x, y, 68, 86), BRAIN), (tube(x, y, 12, 30), 8.0))
    limb = painted(shape, (tube(x, y, 68, 86), FAT), (tube(x, y, 50, 60), MUSCLE))
    assert ct_content(brain, SPACING).window == "brain"
    assert ct_content(limb, SPACING).window == "soft_tissue"


def test_a_header_decides_where_the_content_does_not():
    """A skull with air in it, as phantoms have, shows no brain; a trunk is not a head whatever its name says."""
    fov = (240.0, 240.0, 120.0)
    x, y, _z = grid(fov)
    empty = a_head(fov)
    empty[np.broadcast_to(tube(x, y, 60, 78), empty.shape)] = AIR
    assert ct_content(empty, SPACING).window == "soft_tissue"
    assert ct_content(empty, SPACING, "head").window == "brain"
    assert str(ct_content(empty, SPACING, "head")).endswith("; its header says head)")
    for lungs in (True, False):
        assert ct_content(a_trunk(lungs=lungs), SPACING, "head").window == "soft_tissue"
    assert ct_content(a_head(), SPACING, "body").window == "brain"


def test_compression_keeps_the_window_linear_and_what_is_beyond_it_apart():
    """By hand, of 0 to 1000 HU with the knee at 80: u(40) = 1/4, u(80) = 1/2, u(400) = 9/10, u(1000) = 24/25."""
    hu = torch.tensor([0.0, 40.0, 80.0, 400.0, 1000.0])
    found = compress_(hu / 1000, 0.08)
    torch.testing.assert_close(found, torch.tensor([0, 0.25, 0.5, 0.9, 0.96]) / 0.96)
    curve = compress_(torch.linspace(0, 1, 100_001, dtype=torch.float64), 0.08)
    slopes = curve.diff() * 100_000
    assert slopes.min() > 0
    assert slopes.diff().abs().max() < 0.01  # no kink


def test_noise_changes_nothing():
    noise = np.random.default_rng(0).normal(0, 20, a_head().shape).astype(np.float32)
    assert ct_content(a_head() + noise, SPACING).window == "brain"
    noise = np.random.default_rng(0).normal(0, 20, a_trunk().shape).astype(np.float32)
    assert ct_content(a_trunk() + noise, SPACING).window == "soft_tissue"


@pytest.mark.parametrize("spacing", [(0.8, 0.8, 1.0), (1.5, 1.5, 5.0), (4.0, 4.0, 10.0), (6.0, 6.0, 6.0)])
def test_the_voxel_size_changes_nothing(spacing):
    fov = (240.0, 240.0, 60.0)
    assert ct_content(a_head(fov, spacing), spacing).window == "brain"
    assert ct_content(a_trunk((400.0, 400.0, 60.0), spacing), spacing).window == "soft_tissue"


def test_one_slice_is_enough():
    assert ct_content(a_head()[:, :, :1], SPACING).window == "brain"
    assert ct_content(a_trunk()[:, :, :1], SPACING).window == "soft_tissue"


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)], ids=["axial", "coronal", "mixed"])
@pytest.mark.parametrize(("make", "window"), [(a_head, "brain"), (a_trunk, "soft_tissue")])
def test_the_long_axis_is_found_from_the_affine(order, make, window):
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, world in enumerate(order):
        affine[world, axis] = -SPACING[world]
    volume = MetaTensor(torch.from_numpy(make().transpose(order).copy())[None], affine=torch.from_numpy(affine))
    upright = ct_content(make(), SPACING)
    assert ct_content(volume).window == window
    assert ct_content(volume).area_cm2 == pytest.approx(upright.area_cm2, rel=0.02)


def test_the_volume_is_left_alone_and_integers_are_read():
    volume = np.rint(a_head()).astype(np.int16)
    before = volume.copy()
    assert ct_content(volume, SPACING) == ct_content(volume.astype(np.float32), SPACING)
    np.testing.assert_array_equal(volume, before)


def test_only_air_is_an_empty_body():
    content = ct_content(np.full((8, 8, 8), AIR), SPACING)
    assert (content.window, content.area_cm2, content.length_mm) == ("soft_tissue", 0, 0)


def test_a_volume_without_a_voxel_size_and_a_picture_are_refused():
    with pytest.raises(ValueError, match="needs its spacing"):
        ct_content(np.zeros((4, 4, 4)))
    with pytest.raises(ValueError, match=r"shape \(X, Y, Z\)"):
        ct_content(np.zeros((4, 4)), (1, 1))


def test_it_is_reported_in_words():
    assert str(CTContent("body", "soft_tissue", 612.96, 120.0, 0.0, 0.324, 0.266)) == (
        "body (613 cm² across, 120 mm long, 0 % brain, 32 % lung, 27 % fat)"
    )


@pytest.mark.parametrize("oblique_deg", [0.0, 20.0])
def test_the_embedded_head_is_a_head(oblique_deg):
    ct = head_phantom(seed=3, shape=(96, 112, 72), spacing_mm=(2.0, 2.0, 2.5), oblique_deg=oblique_deg).volumes["ct"]
    assert ct_content(ct).window == "brain"
