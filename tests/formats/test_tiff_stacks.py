"""TIFF files of several pages as volumes."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image, TiffImagePlugin
from sample_images import write_volume

from monai_s3im import fuse
from monai_s3im.errors import InputError
from monai_s3im.formats.reading import is_volume, read_image, spatial_shape_of

DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION = 270, 274, 282, 283
PAGES = np.random.default_rng(0).integers(0, 250, (4, 6, 5))  # (pages, rows, columns)


def stack(path, pages, note=None, resolution=None, orientation=1):
    """A TIFF with a page for each plane, as Pillow writes it, with ImageJ's note."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ORIENTATION] = orientation
    if note is not None:
        tags[DESCRIPTION] = note
    if resolution is not None:
        tags[X_RESOLUTION], tags[Y_RESOLUTION] = map(TiffImagePlugin.IFDRational, resolution)
    first, *others = map(Image.fromarray, pages)
    first.save(path, save_all=True, append_images=others, tiffinfo=tags)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_pages_are_slices(tmp_path, dtype):
    path = stack(tmp_path / "a.tif", PAGES.astype(dtype))
    assert is_volume(path)
    assert spatial_shape_of(path) == (5, 6, 4)
    image = read_image(path)
    np.testing.assert_array_equal(image[0].numpy(), PAGES.transpose(2, 1, 0))
    np.testing.assert_array_equal(image.affine.numpy(), np.diag([-1, -1, 1, 1]))
    where, size = image.meta["warnings"]
    assert "has no position" in where
    assert "does not give its voxel size" in size
    assert image.meta.get("value_range") == (255 if dtype == np.uint8 else None)


def test_colour_and_negative_values_are_read(tmp_path):
    rgb = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_image(stack(tmp_path / "a.tiff", rgb)).numpy(), rgb.transpose(3, 2, 1, 0))
    sitk.WriteImage(sitk.GetImageFromArray((PAGES - 1000).astype(np.int16)), tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif")[0].min() == PAGES.min() - 1000


@pytest.mark.parametrize(
    ("unit", "resolution", "spacing", "size"),
    [
        ("micron", (0.1, 0.05), 30.0, (0.01, 0.02, 0.03)),
        ("\\u00B5m", (0.1, 0.1), 10.0, (0.01, 0.01, 0.01)),
        ("mm", (2, 2), 1.5, (0.5, 0.5, 1.5)),
        ("cm", (10, 10), -0.2, (1.0, 1.0, 2.0)),
    ],
)
def test_voxels_have_the_size_that_imagej_notes(tmp_path, unit, resolution, spacing, size):
    note = f"ImageJ=1.54f\nimages=4\nslices=4\nunit={unit}\nspacing={spacing}\nloop=false\n"
    image = read_image(stack(tmp_path / "a.tif", PAGES.astype(np.uint8), note, resolution))
    np.testing.assert_allclose(np.abs(np.diag(image.affine.numpy()))[:3], size)
    assert len(image.meta["warnings"]) == 1  # where it lies


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("ImageJ=1.54f\nimages=4\nchannels=2\nslices=2\nhyperstack=true\n", "has 2 channels"),
        ("ImageJ=1.54f\nimages=4\nframes=4\n", "has 4 frames"),
        ('<?xml version="1.0"?><OME><Image><Pixels SizeC="2" SizeT="1" SizeZ="2"/></Image></OME>', "has 2 channels"),
        ("ImageJ=1.54f\nimages=900\nslices=900\n", "followed by 900 slices that only ImageJ reads"),
    ],
)
def test_stacks_that_are_not_a_volume_are_refused(tmp_path, note, reason):
    path = stack(tmp_path / "a.tif", PAGES.astype(np.uint8), note)
    with pytest.raises(InputError, match=reason):
        read_image(path)


def test_a_stack_of_imagej_with_one_page_is_not_its_first_slice(tmp_path):
    path = stack(tmp_path / "a.tif", PAGES[:1].astype(np.uint8), "ImageJ=1.54f\nimages=900\nslices=900\n")
    with pytest.raises(InputError, match="only ImageJ reads"):
        read_image(path)


def test_a_stack_on_its_side_is_refused(tmp_path):
    with pytest.raises(InputError, match="stored rotated"):
        read_image(stack(tmp_path / "a.tif", PAGES.astype(np.uint8), orientation=6))


def test_a_picture_with_a_thumbnail_is_not_a_volume(tmp_path):
    first = Image.fromarray(PAGES[0].astype(np.uint8))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[first.resize((2, 2))])
    assert not is_volume(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"name the one to use, from .*a\.tif#1"):
        read_image(tmp_path / "a.tif")


def test_pages_of_several_sizes_or_a_palette_are_refused(tmp_path):
    pages = [Image.fromarray(page.astype(np.uint8)) for page in PAGES]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[pages[1], pages[2].resize((4, 4))])
    with pytest.raises(InputError, match="several sizes or types"):
        read_image(tmp_path / "a.tif")
    palette = [page.convert("P") for page in pages]
    palette[0].save(tmp_path / "b.tif", save_all=True, append_images=palette[1:])
    with pytest.raises(InputError, match="save them as gray or RGB"):
        read_image(tmp_path / "b.tif")


def test_more_slices_than_the_limit_are_refused(tmp_path):
    path = stack(tmp_path / "a.tif", PAGES.astype(np.uint8))
    with pytest.raises(InputError, match="more than the limit"):
        read_image(path, max_gib=1e-7)


def test_a_stack_is_fused_with_a_volume(tmp_path):
    blob = np.exp(-((np.indices((20, 20, 20)) - 9.5) ** 2).sum(0) / 40)
    path = stack(tmp_path / "mr.tif", (200 * blob).astype(np.uint8))
    other = write_volume(tmp_path / "pet.nii.gz", array=blob.astype(np.float32), affine=np.diag([-1.0, -1, 1, 1]))
    fused = fuse(path, other, tmp_path / "fused.nii.gz", modality_a="mr", modality_b="pet", device="cpu")
    assert fused.shape == (3, 20, 20, 20)
    np.testing.assert_array_equal(fused.affine.numpy(), np.diag([-1, -1, 1, 1]))
