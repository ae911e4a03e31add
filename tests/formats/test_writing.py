import errno
import json
import os
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of, write_image, write_json


def affine_of(angles, voxel_sizes, origin, flip=(1, 1, 1)):
    """Voxel -> RAS mm from rotations about x, y and z in degrees."""
    a, b, c = np.deg2rad(angles)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_y @ about_x @ np.diag(np.multiply(voxel_sizes, flip))
    affine[:3, 3] = origin
    return affine


AFFINES = {
    "identity": np.eye(4),
    "oblique": affine_of((19, -7, 33), (1, 1, 1), (-90, -126, 72)),
    "anisotropic": affine_of((0, 0, 0), (0.86, 0.86, 7), (12.5, -3.25, 40)),
    "flipped": affine_of((0, 0, 0), (2, 2, 2), (90, -126, -72), flip=(-1, 1, 1)),
    "oblique, anisotropic and flipped": affine_of((8.6, 21, -4), (0.5, 0.7, 3), (31, -77, 18), flip=(-1, -1, -1)),
    "axes swapped": affine_of((90, 0, 90), (1, 2, 3), (1, 2, 3)),
}
VOLUME_SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]


@pytest.fixture
def volume():
    return torch.rand((1, 4, 5, 6), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def rgb_volume():
    return torch.rand((3, 4, 5, 6), generator=torch.Generator().manual_seed(1))


def affine_read_by_itk(path):
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ lps


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_volume_is_read_back_through_simpleitk(tmp_path, volume, suffix, affine):
    path = tmp_path / f"fused{suffix}"
    write_image(volume, path, affine)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, volume[0].numpy())
    np.testing.assert_allclose(affine_read_by_itk(path), affine, atol=1e-5)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_is_read_back_through_nibabel(tmp_path, volume, suffix, affine):
    write_image(volume, tmp_path / f"fused{suffix}", affine)
    image = nib.load(tmp_path / f"fused{suffix}")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume[0].numpy())
    sform, sform_code = image.get_sform(coded=True)
    qform, qform_code = image.get_qform(coded=True)
    assert (sform_code, qform_code) == (2, 2)
    np.testing.assert_allclose(sform, affine, atol=1e-5)
    np.testing.assert_allclose(qform, affine, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_volume_is_read_back_through_read_image(tmp_path, volume, suffix, affine):
    write_image(volume, tmp_path / f"fused{suffix}", affine)
    image = read_image(tmp_path / f"fused{suffix}")
    np.testing.assert_array_equal(image.numpy(), volume.numpy())
    np.testing.assert_allclose(image.affine.numpy(), affine, atol=1e-5)


def test_sheared_axes_are_kept_by_the_sform_alone(tmp_path, volume):
    affine = np.eye(4)
    affine[1, 2] = 0.3
    write_image(volume, tmp_path / "fused.nii.gz", affine)
    image = nib.load(tmp_path / "fused.nii.gz")
    np.testing.assert_allclose(image.get_sform(), affine, atol=1e-6)
    assert int(image.header["sform_code"]) == 2
    assert int(image.header["qform_code"]) == 0


def test_an_rgb_nifti_is_read_back_as_rgb24_through_nibabel(tmp_path, rgb_volume):
    write_image(rgb_volume, tmp_path / "fused.nii.gz", AFFINES["oblique"])
    image = nib.load(tmp_path / "fused.nii.gz")
    assert int(image.header["datatype"]) == 128
    voxels = np.asarray(image.dataobj)
    for channel, name in enumerate("RGB"):
        np.testing.assert_array_equal(voxels[name], np.round(255 * rgb_volume[channel].numpy()))
    np.testing.assert_allclose(image.affine, AFFINES["oblique"], atol=1e-5)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_an_rgb_volume_is_read_back_through_simpleitk(tmp_path, rgb_volume, suffix):
    path = tmp_path / f"fused{suffix}"
    write_image(rgb_volume, path, AFFINES["oblique"])
    image = sitk.ReadImage(str(path))
    assert image.GetPixelIDTypeAsString() == "vector of 8-bit unsigned integer"
    expected = np.round(255 * rgb_volume.numpy()).transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    np.testing.assert_allclose(affine_read_by_itk(path), AFFINES["oblique"], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_has_the_image_in_8_bit(tmp_path, channels):
    image = torch.rand((channels, 6, 5), generator=torch.Generator().manual_seed(2))
    write_image(image, tmp_path / "fused.png")
    stored = np.asarray(Image.open(tmp_path / "fused.png"))
    np.testing.assert_array_equal(np.atleast_3d(stored).transpose(2, 0, 1), np.round(255 * image.numpy()))


def test_png_rounds_to_the_nearest_level(tmp_path):
    write_image(torch.tensor([[[0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0]]]), tmp_path / "fused.png")
    assert np.asarray(Image.open(tmp_path / "fused.png")).tolist() == [[0, 0, 1, 255, 255]]


def test_the_affine_of_a_metatensor_is_used_if_none_is_given(tmp_path, volume):
    write_image(MetaTensor(volume, affine=AFFINES["flipped"]), tmp_path / "fused.nii")
    np.testing.assert_allclose(nib.load(tmp_path / "fused.nii").affine, AFFINES["flipped"], atol=1e-6)


def test_affine_is_the_identity_where_nothing_gives_it(tmp_path, volume):
    write_image(volume, tmp_path / "fused.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "fused.nii").affine, np.eye(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_is_written_as_float32(tmp_path, volume, dtype):
    write_image(volume.to(dtype).requires_grad_(), tmp_path / "fused.nii")
    image = nib.load(tmp_path / "fused.nii")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume[0].to(dtype).float().numpy())


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_two_runs_give_the_same_bytes(tmp_path, volume, suffix):
    write_image(volume, tmp_path / f"one{suffix}", AFFINES["oblique"])
    time.sleep(1.1)  # a time stamp would count seconds
    write_image(volume, tmp_path / f"two{suffix}", AFFINES["oblique"])
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_writing_replaces_a_file_and_leaves_no_other(tmp_path, volume):
    for suffix in VOLUME_SUFFIXES:
        (tmp_path / f"fused{suffix}").write_text("old")
        write_image(volume, tmp_path / f"fused{suffix}")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"fused{suffix}" for suffix in VOLUME_SUFFIXES)


def test_new_file_has_the_ordinary_permissions(tmp_path, volume):
    (tmp_path / "plain").touch()
    write_image(volume, tmp_path / "fused.nii.gz")
    assert (tmp_path / "fused.nii.gz").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("name", "rank", "words"),
    [
        ("fused.jpg", 2, "fused.png"),
        ("fused.bmp", 2, "output format"),
        ("fused.mhd", 3, "output format"),
        ("fused", 3, "output format"),
        ("fused.png", 3, "3D"),
        ("fused.nii.gz", 2, "2D"),
    ],
)
def test_format_that_does_not_fit_is_refused(tmp_path, name, rank, words):
    with pytest.raises(InputError, match=words) as raised:
        write_image(torch.rand(1, *[4] * rank), tmp_path / name)
    assert name in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(2, 4, 4),
        torch.rand(4, 4),
        torch.rand(1, 4, 4) + 0.5,
        -torch.rand(1, 4, 4),
        torch.full((1, 4, 4), np.nan),
    ],
    ids=["two channels", "no channel", "above 1", "below 0", "NaN"],
)
def test_image_outside_its_contract_is_refused(tmp_path, image):
    with pytest.raises(ValueError, match="image must"):
        write_image(image, tmp_path / "fused.png")
    assert not list(tmp_path.iterdir())


def raising(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on the device"),
        (errno.EACCES, "read-only folder"),
        (errno.EIO, "check the folder"),
    ],
)
@pytest.mark.parametrize("name", ["fused.png", "fused.nii", "fused.nii.gz", "fused.nrrd", "fused.mha"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, number, words, function):
    path = tmp_path / name
    path.write_text("old")
    monkeypatch.setattr(os, function, raising(number))
    with pytest.raises(OutputError, match=words) as raised:
        write_image(torch.rand(1, 4, 4) if name.endswith("png") else torch.rand(1, 4, 4, 4), path)
    assert str(path) in str(raised.value)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("name", ["fused.nrrd", "fused.mha"])
@pytest.mark.parametrize(("free", "words"), [(0, "no space left on the device"), (10**12, "check the folder")])
def test_failure_inside_itk_is_reported_and_nothing_is_printed(tmp_path, monkeypatch, capfd, name, free, words):
    monkeypatch.setattr(sitk, "WriteImage", lambda *args, **kwargs: sitk.ReadImage("/nowhere.mha"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free}))
    with pytest.raises(OutputError, match=words):
        write_image(torch.rand(1, 4, 4, 4), tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_interruption_leaves_nothing(tmp_path, monkeypatch, volume):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(volume, tmp_path / "fused.nii.gz")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_reported(tmp_path, volume):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="read-only folder"):
        write_image(volume, tmp_path / "fused.nii.gz")
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_folder_that_takes_no_new_file_is_reported(tmp_path, monkeypatch, volume, number):
    monkeypatch.setattr(Path, "touch", raising(number))
    with pytest.raises(OutputError, match="read-only"):
        write_image(volume, tmp_path / "fused.nii.gz")
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_reported(tmp_path, volume):
    with pytest.raises(OutputError, match="folder does not exist"):
        write_image(volume, tmp_path / "missing" / "fused.nii.gz")


def test_folder_instead_of_the_file_is_reported(tmp_path, volume):
    (tmp_path / "fused.nrrd").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"):
        write_image(volume, tmp_path / "fused.nrrd")
    assert [file.name for file in tmp_path.iterdir()] == ["fused.nrrd"]


def test_json_is_read_back(tmp_path):
    data = {"modality": "mr", "window": [0.0, 80.5], "note": "µ, 50 %"}
    write_json(data, tmp_path / "fused.json")
    assert json.loads((tmp_path / "fused.json").read_text(encoding="utf-8")) == data
    assert [file.name for file in tmp_path.iterdir()] == ["fused.json"]


@pytest.mark.parametrize(("data", "error"), [({"mi": float("nan")}, ValueError), ({"path": Path()}, TypeError)])
def test_data_that_json_cannot_hold_writes_nothing(tmp_path, data, error):
    with pytest.raises(error):
        write_json(data, tmp_path / "fused.json")
    assert not list(tmp_path.iterdir())


def test_json_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", raising(errno.ENOSPC))
    with pytest.raises(OutputError, match="no space left"):
        write_json({}, tmp_path / "fused.json")
    assert not list(tmp_path.iterdir())


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, example B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sha256_of_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="missing"):
        sha256_of(tmp_path / "missing")


def test_shared_files_have_the_sha256_of_their_list(shared_data):
    folder = shared_data / "data"
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()[:5]:
        digest, name = line.split(maxsplit=1)
        assert sha256_of(folder / name) == digest
