import bz2
import gzip
import re
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from PIL import Image
from sample_images import save_itk

from monai_s3im.errors import InputError
from monai_s3im.formats import reading
from monai_s3im.formats.paths import IMAGE_SUFFIXES
from monai_s3im.formats.reading import is_volume, read_image, spatial_shape_of, stem_of
from monai_s3im.formats.writing import sha256_of

RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
# 30 degrees about z, voxels of 1 x 2 x 3 mm, first axis to the left: by hand.
OBLIQUE = np.array(
    [
        [-0.8660254037844387, -1.0, 0.0, 10.0],
        [-0.5, 1.7320508075688772, 0.0, -20.0],
        [0.0, 0.0, 3.0, 30.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


@pytest.fixture
def gray():
    return np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)


@pytest.fixture
def rgb():
    return np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.fixture
def voxels():
    return np.random.default_rng(2).normal(size=(4, 5, 6)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".TIFF"])
def test_a_gray_picture_is_read_unchanged(tmp_path, gray, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(gray).save(path)
    image = read_image(path)
    assert image.shape == (1, 6, 5)
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image[0].numpy(), gray)
    np.testing.assert_array_equal(image.affine.numpy(), np.eye(4))
    assert image.affine.dtype == torch.float64
    assert image.meta["value_range"] == 255.0
    assert image.meta["spatial_dims"] == 2
    assert image.meta["filename_or_obj"] == str(path)


def test_jpeg_is_read_as_pil_decodes_it(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.jpg")
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg").numpy(), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_picture_keeps_its_values_and_range(tmp_path, suffix):
    stored = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000
    Image.fromarray(stored).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image[0].numpy(), stored)
    assert image.meta["value_range"] == 65535.0


def test_transparency_is_blended_over_black(tmp_path, rgb):
    """By hand: each channel times alpha / 255, rounded; white under alpha 0, as viewers save it, is black."""
    alpha = np.random.default_rng(8).integers(0, 256, (6, 5, 1), dtype=np.uint8)
    alpha[0], rgb[0] = 0, 255
    Image.fromarray(np.concatenate([rgb, alpha], axis=-1)).save(tmp_path / "a.png")
    expected = np.rint(rgb * (alpha / 255)).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), expected)
    assert (expected[:, 0] == 0).all()


def test_alpha_of_a_gray_picture_counts_too(tmp_path, gray):
    Image.fromarray(np.stack([gray, 255 - gray], axis=-1)).save(tmp_path / "a.png")
    expected = np.rint(gray * ((255.0 - gray) / 255))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), expected[None])


@pytest.mark.parametrize(
    ("transparency", "first"), [({}, [10, 20, 30]), ({"transparency": bytes([0, 255])}, [0, 0, 0])]
)
def test_palette_is_expanded(tmp_path, transparency, first):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "a.png", **transparency)
    image = read_image(tmp_path / "a.png")
    assert image[:, 0, 0].tolist() == first
    assert image[:, 0, 1].tolist() == [200, 100, 50]


def test_gray_stored_as_rgb_becomes_one_channel(tmp_path, gray):
    Image.fromarray(np.repeat(gray[..., None], 3, axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), gray[None])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("klass", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_keeps_array_order_and_affine(tmp_path, voxels, suffix, klass):
    path = tmp_path / f"a{suffix}"
    nib.save(klass(voxels, OBLIQUE), path)
    image = read_image(path)
    assert image.shape == (1, 4, 5, 6)
    np.testing.assert_array_equal(image[0].numpy(), voxels)
    np.testing.assert_allclose(image.affine.numpy(), OBLIQUE, atol=1e-6)
    assert image.affine.dtype == torch.float64
    assert image.meta["spatial_dims"] == 3
    assert "value_range" not in image.meta


def test_slope_and_intercept_are_applied(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(2.5, -1024)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii")[0].numpy(), stored * 2.5 - 1024)


@pytest.mark.parametrize(("unit", "millimetres"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_affine_is_in_millimetres_whatever_the_unit_of_the_file(tmp_path, voxels, unit, millimetres):
    image = nib.Nifti1Image(voxels, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    expected = np.diag([2.0 * millimetres, 3.0 * millimetres, 4.0 * millimetres, 1.0])
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").affine.numpy(), expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_rgb24_nifti_becomes_three_channels(tmp_path, suffix):
    stored = np.random.default_rng(3).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    nib.save(nib.Nifti1Image(stored.view(RGB24)[..., 0], OBLIQUE), tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.numpy(), stored.transpose(3, 0, 1, 2))
    assert image.meta["value_range"] == 255.0


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_itk_formats_are_read_in_xyz_order_and_ras(tmp_path, voxels, suffix):
    path = tmp_path / f"a{suffix}"
    save_itk(path, voxels, OBLIQUE)
    image = read_image(path)
    assert image.shape == (1, 4, 5, 6)
    np.testing.assert_array_equal(image[0].numpy(), voxels)
    np.testing.assert_allclose(image.affine.numpy(), OBLIQUE, atol=1e-6)


def test_one_volume_reads_the_same_from_nifti_and_nrrd(tmp_path, voxels):
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii.gz")
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.nii.gz"), tmp_path / "a.nrrd")
    nifti, nrrd = read_image(tmp_path / "a.nii.gz"), read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(nifti.numpy(), nrrd.numpy())
    np.testing.assert_allclose(nifti.affine.numpy(), nrrd.affine.numpy(), atol=1e-5)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("dtype", "value_range"), [(np.uint8, 255.0), (np.uint16, 65535.0)])
def test_rgb_nrrd_becomes_three_channels(tmp_path, channels, dtype, value_range):
    stored = np.random.default_rng(4).integers(0, 256, (4, 5, 6, channels)).astype(dtype)
    save_itk(tmp_path / "a.nrrd", stored, OBLIQUE, is_rgb=True)
    image = read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.numpy(), stored[..., :3].transpose(3, 0, 1, 2))
    assert image.meta["value_range"] == value_range


@pytest.mark.parametrize("shape", [(4, 5, 1), (4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 1, 1)])
def test_trailing_singleton_axes_are_squeezed_down_to_a_volume(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), OBLIQUE), tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").shape == (1, *shape[:3])
    assert spatial_shape_of(tmp_path / "a.nii") == shape[:3]


def test_4d_nrrd_of_one_frame_is_a_volume(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(24.0).reshape(1, 2, 3, 4), isVector=False), tmp_path / "a.nrrd")
    assert read_image(tmp_path / "a.nrrd").shape == (1, 4, 3, 2)


def test_spatial_shape_comes_from_the_header(tmp_path, gray, voxels):
    Image.fromarray(gray).save(tmp_path / "a.png")
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii.gz")
    save_itk(tmp_path / "a.mha", voxels, OBLIQUE)
    assert spatial_shape_of(tmp_path / "a.png") == (6, 5)
    assert spatial_shape_of(tmp_path / "a.nii.gz") == (4, 5, 6)
    assert spatial_shape_of(tmp_path / "a.mha") == (4, 5, 6)


def test_suffixes_are_known_whatever_their_case():
    assert [is_volume(name) for name in ("a.nii.gz", "a.NRRD", "a.mha", "a.png", "a.gz")] == [True] * 3 + [False] * 2
    assert [stem_of(name) for name in ("b/x.nii.gz", "x.NII.GZ", "x.y.png", "x.txt")] == ["x", "x", "x.y", "x"]


def write_text(path):
    path.write_text("this is not an image, but a text file that is long enough to be taken for a header\n" * 20)


def write_cut_short(path, fraction):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


def assert_refused(path, *words, capfd):
    with pytest.raises(InputError) as raised:
        read_image(path)
    message = str(raised.value)
    assert str(path) in message
    assert not message.endswith(".")
    assert "\n" not in message
    for word in words:
        assert word in message
    assert capfd.readouterr() == ("", "")


def test_missing_file_is_refused(tmp_path, capfd):
    assert_refused(tmp_path / "a.png", "does not exist", capfd=capfd)


def test_folder_is_refused(tmp_path, capfd):
    assert_refused(tmp_path, "is a folder", capfd=capfd)


def test_empty_file_is_refused(tmp_path, capfd):
    (tmp_path / "a.nii").touch()
    assert_refused(tmp_path / "a.nii", "is empty", capfd=capfd)


def test_unknown_suffix_is_refused_with_those_that_are_known(tmp_path, capfd):
    write_text(tmp_path / "a.xyz")
    assert_refused(tmp_path / "a.xyz", "has an unknown image format", ".nii.gz", ".png", capfd=capfd)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_text_named_as_an_image_is_refused_and_nothing_is_printed(tmp_path, suffix, capfd):
    write_text(tmp_path / f"a{suffix}")
    assert_refused(tmp_path / f"a{suffix}", "damaged", capfd=capfd)


@pytest.mark.parametrize("fraction", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_picture_cut_short_is_refused(tmp_path, rgb, suffix, fraction, capfd):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.tile(rgb, (20, 20, 1))).save(path)
    write_cut_short(path, fraction)
    assert_refused(path, "damaged", "again", capfd=capfd)


@pytest.mark.parametrize("fraction", [0.1, 0.6, 0.95, 0.999])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_volume_cut_short_is_refused(tmp_path, suffix, fraction, capfd):
    path = tmp_path / f"a{suffix}"
    image = sitk.GetImageFromArray(np.random.default_rng(5).normal(size=(8, 9, 10)))
    sitk.WriteImage(image, path)
    write_cut_short(path, fraction)
    assert_refused(path, "damaged", "again", capfd=capfd)


def test_the_checksum_finds_a_flipped_bit_in_compressed_voxels(tmp_path, voxels, capfd):
    content = bytearray(gzip.compress(nib.Nifti1Image(voxels, OBLIQUE).to_bytes(), compresslevel=0))
    content[-40] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert_refused(tmp_path / "a.nii.gz", "damaged", capfd=capfd)


@pytest.mark.parametrize(("offset", "content"), [(40, b"\xc8\0"), (70, b"\xff\x7f"), (344, b"abcd")])
def test_damaged_nifti_header_is_refused(tmp_path, voxels, offset, content, capfd):
    header_and_voxels = bytearray(nib.Nifti1Image(voxels, OBLIQUE).to_bytes())
    header_and_voxels[offset : offset + len(content)] = content
    (tmp_path / "a.nii").write_bytes(header_and_voxels)
    assert_refused(tmp_path / "a.nii", "damaged", capfd=capfd)


def test_nhdr_without_its_data_file_is_refused(tmp_path, voxels, capfd):
    save_itk(tmp_path / "a.nhdr", voxels, OBLIQUE)
    next(tmp_path.glob("*raw*")).unlink()
    assert_refused(tmp_path / "a.nhdr", "damaged", capfd=capfd)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_infinite_voxels_are_counted(tmp_path, voxels, bad, suffix, capfd):
    voxels[0, 0, :3] = bad
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii.gz")
    save_itk(tmp_path / "a.nrrd", voxels, OBLIQUE)
    assert_refused(tmp_path / f"a{suffix}", "has 3 infinite voxels out of 120", capfd=capfd)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_nan_stays_a_missing_value(tmp_path, voxels, suffix, capfd):
    voxels[0, 0, :3] = np.nan
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii.gz")
    save_itk(tmp_path / "a.nrrd", voxels, OBLIQUE)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").numpy()[0], voxels)
    nib.save(nib.Nifti1Image(np.full_like(voxels, np.nan), OBLIQUE), tmp_path / "b.nii.gz")
    assert_refused(tmp_path / "b.nii.gz", "has no content (every voxel is NaN)", capfd=capfd)


def test_voxels_beyond_single_precision_are_refused(tmp_path, voxels, capfd):
    voxels = voxels.astype(np.float64)
    voxels[1, 1, 1] = 1e300
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii")
    save_itk(tmp_path / "a.mha", voxels, OBLIQUE)
    assert_refused(tmp_path / "a.nii", "has 1 infinite voxel out of", capfd=capfd)
    assert_refused(tmp_path / "a.mha", "has 1 infinite voxel out of", capfd=capfd)


@pytest.mark.parametrize("value", [0, 7])
def test_constant_image_has_no_content(tmp_path, value, capfd):
    Image.fromarray(np.full((6, 5), value, dtype=np.uint8)).save(tmp_path / "a.png")
    nib.save(nib.Nifti1Image(np.full((4, 5, 6), value, dtype=np.uint8), OBLIQUE), tmp_path / "a.nii.gz")
    assert_refused(tmp_path / "a.png", "has no content", f"is {value}", capfd=capfd)
    assert_refused(tmp_path / "a.nii.gz", "has no content", f"is {value}", capfd=capfd)


def test_picture_of_one_colour_has_no_content(tmp_path, capfd):
    Image.new("RGB", (5, 6), (255, 0, 10)).save(tmp_path / "a.png")
    assert_refused(tmp_path / "a.png", "has no content", capfd=capfd)


def test_4d_is_refused_with_the_number_of_frames(tmp_path, capfd):
    frames = np.random.default_rng(6).normal(size=(4, 5, 6, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(frames, OBLIQUE), tmp_path / "a.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(frames.T, isVector=False), tmp_path / "a.nrrd")
    assert_refused(tmp_path / "a.nii.gz", "has 7 frames", "a.nii.gz#1 to", "a.nii.gz#7", capfd=capfd)
    assert_refused(tmp_path / "a.nrrd", "has 7 frames", capfd=capfd)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd"])
def test_a_named_frame_of_4d_is_read(name, tmp_path):
    frames = np.random.default_rng(6).integers(-900, 900, size=(4, 5, 6, 7)).astype(np.int16)
    if name == "a.nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(frames.T, isVector=False), tmp_path / name)
        expected, affine = frames, np.diag([-1.0, -1.0, 1.0, 1.0])
    else:
        image = nib.Nifti1Image(frames, OBLIQUE)
        image.header.set_slope_inter(0.5, 3)
        nib.save(image, tmp_path / name)
        expected, affine = 0.5 * frames + 3, OBLIQUE
    for frame in (1, 3, 7):
        read = read_image(tmp_path / f"{name}#{frame}")
        np.testing.assert_allclose(read.numpy()[0], expected[..., frame - 1], rtol=1e-6)
        np.testing.assert_allclose(read.affine, affine, atol=1e-5)
    assert spatial_shape_of(f"{tmp_path / name}#2") == (4, 5, 6)
    assert stem_of(f"{tmp_path / name}#2") == "a_2"
    assert sha256_of(f"{tmp_path / name}#2") == sha256_of(tmp_path / name)


def test_a_frame_that_is_missing_is_refused(tmp_path, capfd):
    frames = np.random.default_rng(6).normal(size=(4, 5, 6, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(frames, OBLIQUE), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(frames[..., 0], OBLIQUE), tmp_path / "b.nii.gz")
    assert_refused(tmp_path / "a.nii.gz#8", "does not exist", "of the 7 frames", capfd=capfd)
    assert_refused(tmp_path / "b.nii.gz#1", "is not 4D", "leave #1 out", capfd=capfd)
    with pytest.raises(InputError, match=r"c\.nii\.gz does not exist"):
        read_image(tmp_path / "c.nii.gz#1")


def test_a_named_page_of_a_tiff_stack_is_read(tmp_path, gray, capfd):
    pages = [gray, gray[::-1], gray[:, ::-1]]
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    for number, page in enumerate(pages, start=1):
        np.testing.assert_array_equal(read_image(f"{tmp_path}/a.tif#{number}")[0].numpy(), page)
    assert_refused(Path(f"{tmp_path}/a.tif#4"), "does not exist", capfd=capfd)


@pytest.mark.parametrize(
    ("values", "value_range"),
    [
        (np.linspace(0, 1, 30, dtype=np.float32), 1.0),
        (np.arange(30, dtype=np.float32), 255.0),
        (np.linspace(0, 1.05, 30, dtype=np.float32), 1.0),
        (np.arange(30, dtype=np.float32) * 140, 4095.0),
        (np.arange(30, dtype=np.float32) * 1000, 65535.0),
        (np.arange(30, dtype=np.int32), 255.0),
        (np.arange(30, dtype=np.uint16) * 30, 1023.0),
        (np.arange(30, dtype=np.uint16) * 140, 4095.0),
        (np.arange(30, dtype=np.uint16) * 500, 16383.0),
    ],
)
def test_the_bits_or_the_range_in_use_decide_what_is_white(tmp_path, values, value_range, caplog):
    Image.fromarray(values.reshape(6, 5)).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image[0].numpy(), values.reshape(6, 5))
    assert image.meta["value_range"] == value_range
    (warning,) = image.meta["warnings"]
    assert f"{value_range:g} is taken as white" in warning
    assert warning in caplog.text


@pytest.mark.parametrize("value", [-1.0, 1e6, np.nan])
def test_a_picture_with_values_of_no_range_is_refused(tmp_path, value, capfd):
    pixels = np.arange(30, dtype=np.float32).reshape(6, 5)
    pixels[0, 0] = value
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert_refused(tmp_path / "a.tif", "scale it to 0 to 1", capfd=capfd)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_of_16_bits_keeps_them(tmp_path, channels):
    """Pillow gives 8 of them; ITK writes the file."""
    stored = np.random.default_rng(9).integers(0, 4096, (6, 5, channels)).astype(np.uint16)
    if channels == 4:
        stored[..., 3] = 65535
        stored[0, 0, 3] = 0
    sitk.WriteImage(sitk.GetImageFromArray(stored, isVector=True), tmp_path / "a.png")
    expected = stored[..., :3].copy()
    if channels == 4:
        expected[0, 0] = 0
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.numpy(), expected.transpose(2, 0, 1))
    assert image.meta["value_range"] == 4095.0


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha", ".hdr"])
def test_a_2d_image_in_a_volume_format_is_a_volume_of_one_slice(tmp_path, suffix):
    array = np.arange(30, dtype=np.float32).reshape(5, 6)
    if suffix == ".hdr":
        nib.save(nib.Nifti1Pair(array, np.diag([2.0, 3.0, 1.0, 1.0])), tmp_path / "a.hdr")
    else:
        image = sitk.GetImageFromArray(array.T)
        image.SetSpacing([2.0, 3.0])
        sitk.WriteImage(image, tmp_path / f"a{suffix}")
    read = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read.numpy(), array[None, ..., None])
    np.testing.assert_allclose(np.abs(read.affine.numpy().diagonal()), [2, 3, 1, 1])
    assert spatial_shape_of(tmp_path / f"a{suffix}") == (5, 6, 1)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd"])
def test_displacement_field_is_refused(tmp_path, suffix, capfd):
    field = np.random.default_rng(7).normal(size=(4, 5, 6, 3)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(field, isVector=True), tmp_path / f"a{suffix}")
    assert_refused(tmp_path / f"a{suffix}", "RGB", capfd=capfd)


def test_complex_voxels_are_refused(tmp_path, voxels, capfd):
    nib.save(nib.Nifti1Image(voxels.astype(np.complex64), OBLIQUE), tmp_path / "a.nii")
    assert_refused(tmp_path / "a.nii", "complex", capfd=capfd)


def test_absurd_dimensions_are_refused_before_anything_is_read(tmp_path, voxels, capfd):
    image = nib.Nifti1Image(voxels, OBLIQUE)
    content = bytearray(image.to_bytes())
    content[42:48] = np.array([30000, 30000, 30000], dtype="<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "a.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 30000 30000 30000\nendian: little\nencoding: raw\n\n"
    )
    assert_refused(tmp_path / "a.nii", "30000 x 30000 x 30000", "more than the limit of 4 GiB", capfd=capfd)
    assert_refused(tmp_path / "a.nrrd", "30000 x 30000 x 30000", "more than the limit of 4 GiB", capfd=capfd)


def test_picture_beyond_the_limit_is_refused(tmp_path, gray):
    Image.fromarray(gray).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="declares 5 x 6 voxels"):
        read_image(tmp_path / "a.png", max_gib=29 * 4 / 2**30)
    assert read_image(tmp_path / "a.png", max_gib=30 * 4 / 2**30).shape == (1, 6, 5)


def test_memory_limit_counts_the_frame_of_a_plain_file_and_all_of_a_compressed_one(tmp_path):
    for suffix in (".nii", ".nii.gz"):
        frames = np.arange(2 * 3 * 4 * 50, dtype=np.int16).reshape(2, 3, 4, 50)
        nib.save(nib.Nifti1Image(frames, OBLIQUE), tmp_path / f"a{suffix}")
    one_frame = 2 * 3 * 4 * 4 / 2**30
    assert read_image(f"{tmp_path}/a.nii#7", max_gib=one_frame).shape == (1, 2, 3, 4)
    with pytest.raises(InputError, match="2 x 3 x 4 x 50 voxels"):
        read_image(f"{tmp_path}/a.nii.gz#7", max_gib=49 * one_frame)


def test_compressed_file_that_holds_much_more_than_it_declares_is_refused(tmp_path, voxels):
    content = nib.Nifti1Image(voxels, OBLIQUE).to_bytes()
    with gzip.open(tmp_path / "a.nii.gz", "wb") as stream:
        stream.write(content + bytes(2**20 + 1))
    with pytest.raises(InputError, match=r"a.nii.gz holds more data than its header declares"):
        read_image(tmp_path / "a.nii.gz")
    with gzip.open(tmp_path / "b.nii.gz", "wb") as stream:
        stream.write(content + bytes(100))
    assert read_image(tmp_path / "b.nii.gz").shape[1:] == voxels.shape


@pytest.mark.parametrize("entry", [0.0, np.nan, np.inf])
def test_affine_that_cannot_be_inverted_is_refused(tmp_path, voxels, entry, capfd):
    image = nib.Nifti1Image(voxels, OBLIQUE)
    image.header["srow_x"] = image.header["srow_y"] = [entry, entry, entry, 0]
    content = image.header.binaryblock + b"\0" * 4 + voxels.tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(content)
    assert_refused(tmp_path / "a.nii", "affine", capfd=capfd)


def test_file_that_may_not_be_read_is_refused(tmp_path, gray, monkeypatch, capfd):
    Image.fromarray(gray).save(tmp_path / "a.png")
    monkeypatch.setattr(reading.os, "access", lambda path, mode: False)
    assert_refused(tmp_path / "a.png", "permission", capfd=capfd)


def rows_of_the_volumes_table(folder: Path) -> list[tuple[Path, list[int], list[float], str, float]]:
    row = re.compile(
        r"\| (\S+\.nii(?:\.gz)?) \| (\S+) \| ([\d. x]+) \| (\w+) \| [\d.]+ \| [^|]+ \| [-\d.]+ to ([\d.]+) \|"
    )
    return [
        (folder / name, [int(n) for n in size.split("x")], [float(n) for n in mm.split(" x ")], axes, float(highest))
        for name, size, mm, axes, highest in row.findall((folder / "README.md").read_text(encoding="utf-8"))
    ]


def test_real_volumes_have_the_shape_and_axes_of_their_table(shared_data):
    rows = rows_of_the_volumes_table(shared_data / "data" / "volumes")
    assert len(rows) == 14
    for path, size, voxel_sizes, axes, highest in rows:
        if len(size) == 4:
            with pytest.raises(InputError, match=f"has {size[3]} frames"):
                read_image(path)
            continue
        image = read_image(path)
        assert list(image.shape) == [1, *size], path
        np.testing.assert_allclose(np.linalg.norm(image.affine[:3, :3], axis=0), voxel_sizes, atol=0.0051)
        assert "".join(nib.aff2axcodes(image.affine.numpy())) == axes, path
        assert image.max().item() == pytest.approx(highest, rel=2e-4), path


def test_real_pictures_are_gray_or_colour_as_their_table_says(shared_data):
    harvard = shared_data / "data" / "harvard"
    assert read_image(harvard / "CT-MRI/train/CT/2004.png").shape == (1, 256, 256)
    assert read_image(harvard / "CT-MRI/train/MRI/2004.png").shape == (1, 256, 256)
    assert read_image(harvard / "SPECT-MRI/train/SPECT/3008.png").shape == (3, 256, 256)
    assert read_image(harvard / "PET-MRI/train/PET/25015.png").shape == (3, 256, 256)


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_picture_is_rotated_by_its_exif_orientation(tmp_path, rgb, suffix, orientation, turned):
    stored, exif = Image.fromarray(rgb), Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif)
    stored.save(tmp_path / f"as_stored{suffix}")
    expected = np.rot90(read_image(tmp_path / f"as_stored{suffix}").numpy(), turned, axes=(1, 2))  # anticlockwise
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").numpy(), expected)
    assert spatial_shape_of(tmp_path / f"a{suffix}") == expected.shape[1:]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_gray_tiff_is_turned_in_every_type(tmp_path, gray, dtype, orientation):
    expected = gray.astype(dtype)
    expected = expected.T if orientation > 4 else expected  # what the tag's rows and columns mean: TIFF 6.0
    expected = expected[:, ::-1] if orientation in {2, 3, 6, 7} else expected
    expected = expected[::-1] if orientation in {3, 4, 7, 8} else expected
    Image.fromarray(gray.astype(dtype)).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0].numpy(), expected)
    assert spatial_shape_of(tmp_path / "a.tif") == expected.shape


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095)])
def test_a_tiff_in_which_0_is_white_is_inverted(tmp_path, gray, dtype, white):
    stored = (gray.astype(float) * (white / 255)).astype(dtype)
    stored[0, 0] = white
    Image.fromarray(stored).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    entry = struct.pack("<HHI", 262, 3, 1)  # PhotometricInterpretation
    (tmp_path / "a.tif").write_bytes(content.replace(entry + b"\1", entry + b"\0"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0].numpy(), white - stored)


def test_of_an_nrrd_with_a_list_of_measurements_one_is_named(tmp_path, capfd):
    values = np.random.default_rng(0).integers(0, 2**16, (4, 5, 6, 3)).astype(np.uint16)
    save_itk(tmp_path / "a.nrrd", values, is_rgb=True)
    assert read_image(tmp_path / "a.nrrd").shape == (3, 4, 5, 6)
    content = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"kinds: vector", b"kinds: list"))
    assert_refused(tmp_path / "a.nrrd", "is 4D and has 3 frames: name the one to use", capfd=capfd)
    read = read_image(f"{tmp_path}/a.nrrd#2")
    np.testing.assert_array_equal(read.numpy()[0], values[..., 1])
    assert "value_range" not in read.meta


def test_a_nifti_without_a_position_gives_a_warning(tmp_path, voxels, caplog):
    image = nib.Nifti1Image(voxels, None)
    image.header.set_zooms((1, 2, 3))
    image.to_filename(tmp_path / "a.nii")
    found = read_image(tmp_path / "a.nii").affine.numpy()
    assert np.allclose(
        found, [[-1, 0, 0, 1.5], [0, 2, 0, -4], [0, 0, 3, -7.5], [0, 0, 0, 1]]
    )  # NIfTI's method 1, centred
    assert len(caplog.messages) == 1
    assert "has no position (sform and qform code 0)" in caplog.text
    caplog.clear()
    nib.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / "b.nii")
    read_image(tmp_path / "b.nii")
    assert not caplog.messages


def nifti_bytes(voxels):
    image = nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    return image.to_bytes()


@pytest.mark.parametrize(("at", "content"), [(123, b"\xff"), (123, b"\x04"), (123, b"\x7f"), (280, bytes(48))], ids=str)
def test_odd_units_and_an_empty_sform_are_read_as_other_readers_do(tmp_path, voxels, at, content):
    stored = bytearray(nifti_bytes(voxels))
    stored[at : at + len(content)] = content
    (tmp_path / "a.nii").write_bytes(stored)
    image = read_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.numpy()[0], voxels)
    np.testing.assert_allclose(image.affine, np.diag([2.0, 2.0, 2.0, 1.0]))


def test_a_nifti_is_read_by_its_first_bytes_whether_its_name_says_gz_or_not(tmp_path, voxels):
    (tmp_path / "plain.nii.gz").write_bytes(nifti_bytes(voxels))
    (tmp_path / "packed.nii").write_bytes(gzip.compress(nifti_bytes(voxels)))
    for name in ("plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(read_image(tmp_path / name).numpy()[0], voxels)
        assert spatial_shape_of(tmp_path / name) == voxels.shape


@pytest.mark.parametrize("offset", [0.0, 348.0, -352.0])
def test_voxels_that_would_begin_in_the_header_are_refused(tmp_path, voxels, offset, capfd):
    stored = bytearray(nifti_bytes(voxels))
    stored[108:112] = np.float32(offset).tobytes()
    (tmp_path / "a.nii").write_bytes(stored)
    assert_refused(tmp_path / "a.nii", "damaged", capfd=capfd)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_rgb_of_simpleitk_is_rgb_in_every_format(tmp_path, suffix):
    stored = np.random.default_rng(3).integers(0, 256, (9, 8, 7, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(stored, isVector=True), tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.numpy(), stored.transpose(3, 2, 1, 0))
    assert image.meta["value_range"] == 255.0
    assert spatial_shape_of(tmp_path / f"a{suffix}") == (7, 8, 9)


def test_a_named_frame_of_rgb24_is_read(tmp_path, capfd):
    stored = np.random.default_rng(3).integers(0, 256, (4, 5, 6, 2, 3), dtype=np.uint8)
    nib.save(nib.Nifti1Image(stored.view(RGB24)[..., 0], OBLIQUE), tmp_path / "a.nii")
    assert_refused(tmp_path / "a.nii", "has 2 frames", capfd=capfd)
    np.testing.assert_array_equal(read_image(f"{tmp_path}/a.nii#2").numpy(), stored[:, :, :, 1].transpose(3, 0, 1, 2))


def test_values_on_surfaces_are_refused_by_name(tmp_path, capfd):
    brain = nib.cifti2.BrainModelAxis.from_surface(np.arange(20), 20, "CortexLeft")
    values = np.random.default_rng(0).random((1, 20)).astype(np.float32)
    nib.save(nib.Cifti2Image(values, (nib.cifti2.ScalarAxis(["x"]), brain)), tmp_path / "a.dscalar.nii")
    assert_refused(tmp_path / "a.dscalar.nii", "holds no volume, but Cifti2Image", capfd=capfd)


def test_pairs_and_freesurfer_volumes_are_read(tmp_path, voxels):
    nib.save(nib.Nifti1Pair(voxels, OBLIQUE), tmp_path / "pair.hdr")
    nib.save(nib.MGHImage(voxels, OBLIQUE), tmp_path / "a.mgz")
    nib.save(nib.MGHImage(np.stack([voxels, voxels + 1], axis=-1), OBLIQUE), tmp_path / "b.mgz")
    for name, expected in (("pair.hdr", voxels), ("pair.img", voxels), ("a.mgz", voxels), ("b.mgz#2", voxels + 1)):
        image = read_image(f"{tmp_path}/{name}")
        np.testing.assert_array_equal(image.numpy()[0], expected)
        np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-5)
        assert is_volume(name)


@pytest.mark.parametrize(
    ("file", "steps", "start"),
    [("small.mnc", (7.0, 8.0, 9.0), (-98, -134, -72)), ("tiny.mnc", (2.0, 2.0, 2.0), (-20, -20, -10))],
)
def test_minc_lies_where_mincinfo_says(file, steps, start):
    """nibabel brings the two files, of MINC 2 and 1, and what mincinfo says of them: RAS mm, x fastest."""
    image = read_image(Path(nib.__file__).parent / "tests" / "data" / file)
    affine = image.affine.numpy()
    np.testing.assert_allclose(affine[:3, 3], start)
    np.testing.assert_allclose(affine[:3, :3].sum(axis=1), steps)
    assert (np.abs(affine[:3, :3]) > 0).sum() == 3


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.nrrd", "NRRD0004\ntype: float\ndimension: 3\nsizes: 4 5 6\nendian: little\nencoding: raw\n{}\n"),
        (
            "a.mha",
            "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_FLOAT\n{}ElementDataFile = LOCAL\n",
        ),
    ],
)
def test_an_nrrd_or_metaimage_without_a_position_gives_a_warning(tmp_path, voxels, name, header, caplog):
    oriented = {
        "a.nrrd": "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n",
        "a.mha": "TransformMatrix = 1 0 0 0 1 0 0 0 1\n",
    }
    (tmp_path / name).write_bytes(header.format("").encode() + voxels.T.tobytes())
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.numpy()[0], voxels)
    assert f"{name} has no position (no orientation in its header)" in caplog.text
    assert len(image.meta["warnings"]) == 1
    (tmp_path / name).write_bytes(header.format(oriented[name]).encode() + voxels.T.tobytes())
    assert "warnings" not in read_image(tmp_path / name).meta


def a_4d_nrrd(frames, kinds, is_first=False):
    """Bytes of an NRRD of frames (x, y, z, frame), or (frame, x, y, z)."""
    directions = "none (2,0,0) (0,2,0) (0,0,2)" if is_first else "(2,0,0) (0,2,0) (0,0,2) none"
    head = (
        f"NRRD0005\n# a comment\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: "
        f"{' '.join(map(str, frames.shape))}\nspace directions: {directions}\n{kinds}endian: little\n"
        "space origin: (1,2,3)\nencoding: raw\n\n"
    )
    return head.encode() + frames.tobytes(order="F")


@pytest.mark.parametrize(
    "kind",
    [f"kinds: domain domain domain {kind}\n" for kind in ("time", "domain", "none", "list")]
    + ["kinds: space space space ???\n", ""],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_frames_of_a_4d_nrrd_are_read_whatever_kind_their_axis_has(tmp_path, kind, is_first, capfd):
    frames = np.random.default_rng(0).integers(0, 999, (3, 4, 5, 2), dtype=np.int16)
    words = kind.split()
    kinds = " ".join([words[0], words[-1], *words[1:-1]]) + "\n" if is_first and kind else kind
    stored = np.moveaxis(frames, -1, 0) if is_first else frames
    (tmp_path / "a.nrrd").write_bytes(a_4d_nrrd(stored, kinds, is_first))
    assert_refused(tmp_path / "a.nrrd", "is 4D and has 2 frames", capfd=capfd)
    image = read_image(f"{tmp_path}/a.nrrd#2")
    np.testing.assert_array_equal(image[0].numpy(), frames[..., 1])
    np.testing.assert_allclose(image.affine, [[-2, 0, 0, -1], [0, -2, 0, -2], [0, 0, 2, 3], [0, 0, 0, 1]])
    assert image.meta["filename_or_obj"] == f"{tmp_path}/a.nrrd#2"
    assert spatial_shape_of(f"{tmp_path}/a.nrrd#1") == (3, 4, 5)


def test_an_nrrd_of_four_axes_that_are_colour_stays_colour(tmp_path):
    stored = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
    save_itk(tmp_path / "a.nrrd", stored, is_rgb=True)
    assert read_image(tmp_path / "a.nrrd").shape == (3, 4, 5, 6)


@pytest.mark.parametrize("word", ["bzip2", "bz2"])
@pytest.mark.parametrize("is_detached", [False, True])
def test_an_nrrd_packed_by_bzip2_is_read(tmp_path, voxels, word, is_detached, capfd):
    head = (
        "NRRD0004\ntype: float\ndimension: 3\nspace: right-anterior-superior\nsizes: 4 5 6\n"
        f"space directions: (2,0,0) (0,2,0) (0,0,2)\nspace origin: (0,0,0)\nendian: little\nencoding: {word}\n"
    )
    packed = bz2.compress(voxels.tobytes(order="F"))
    path = tmp_path / ("a.nhdr" if is_detached else "a.nrrd")
    data = tmp_path / "a.raw.bz2" if is_detached else path
    path.write_text(head + ("data file: a.raw.bz2\n" if is_detached else "\n"))
    with data.open("ab") as stream:
        stream.write(packed)
    image = read_image(path)
    np.testing.assert_array_equal(image[0].numpy(), voxels)
    np.testing.assert_allclose(image.affine, np.diag([2, 2, 2, 1]))
    assert spatial_shape_of(path) == (4, 5, 6)
    with pytest.raises(InputError, match="more than the limit"):
        read_image(path, max_gib=voxels.nbytes / 2**31)
    write_cut_short(data, 0.7)
    assert_refused(path, "damaged", capfd=capfd)
