"""``s3im data list`` of a study: its series and volumes, by the names under which they can be fused."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_samples import series_of, stored_volume, write_slices
from PIL import Image
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image, spatial_shape_of


def listed(path):
    result = CliRunner().invoke(app, ["data", "list", str(path)])
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


@pytest.fixture
def study(tmp_path):
    """A CT, and two echoes in one MR series, two folders below."""
    volume = stored_volume()
    write_slices(tmp_path / "study" / "a" / "ct", series_of(volume, SeriesDescription="Head 2.0"))
    echoes = [*series_of(volume, modality="MR", EchoTime=10.0), *series_of(volume, modality="MR", EchoTime=90.0)]
    for image in echoes:
        image.SeriesNumber, image.SeriesDescription = 12, "T2"
    write_slices(tmp_path / "study" / "a" / "mr", echoes, uid="1.2.9")
    return tmp_path / "study"


def test_a_study_is_listed_with_number_description_modality_and_size(study):
    assert listed(study) == [
        [f"{study}#3", "Head 2.0", "CT", "4 x 5 x 6"],
        [f"{study}#12", "T2", "MR", "2 volumes"],
        [f"{study}#12#1", "echo time 10 ms", "MR", "4 x 5 x 6"],
        [f"{study}#12#2", "echo time 90 ms", "MR", "4 x 5 x 6"],
    ]


def test_each_name_of_the_list_is_a_volume(study):
    names = [line[0] for line in listed(study) if "volumes" not in line[3]]
    assert [spatial_shape_of(name) for name in names] == [(4, 5, 6)] * 3


def test_series_of_one_number_are_listed_by_uid(study):
    write_slices(study / "b", series_of(stored_volume()), uid="1.2.77")
    assert {line[0] for line in listed(study)} >= {f"{study}#1.2.3.4", f"{study}#1.2.77", f"{study}#12"}


def test_a_study_given_for_a_volume_is_refused_with_its_series(study):
    with pytest.raises(InputError, match="2 DICOM series in its subfolders, choose one as") as raised:
        read_image(study)
    assert "#12 MR, 12 files of 4 x 5; #3 CT, 6 files of 4 x 5" in str(raised.value)
    assert "Head" not in str(raised.value)
    result = CliRunner().invoke(app, ["fuse", str(study), str(study / "a" / "ct"), "-o", str(study / "x.nii.gz")])
    assert result.exit_code == 2
    assert "2 DICOM series in its subfolders" in result.output


def test_the_frames_of_files_are_listed_with_their_labels(tmp_path):
    frames = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    series = nib.Nifti1Image(frames, np.eye(4))
    series.header.set_zooms((1, 1, 1, 2.5))
    series.header.set_xyzt_units("mm", "sec")
    nib.save(series, tmp_path / "a.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(frames.T, isVector=False), tmp_path / "b.nrrd")
    nib.save(nib.Nifti1Image(frames[..., 0], np.eye(4)), tmp_path / "c.nii")
    pages = [Image.fromarray(np.full((6, 5), value, dtype=np.uint8)) for value in (3, 4)]
    pages[0].save(tmp_path / "d.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "e.nii").write_bytes(b"nothing" * 100)
    found = listed(tmp_path)
    assert found[:4] == [
        [
            f"{tmp_path}/a.nii.gz",
            "2.5 s apart",
            "",
            f"3 frames of 4 x 5 x 6: {tmp_path}/a.nii.gz#1 to {tmp_path}/a.nii.gz#3",
        ],
        [f"{tmp_path}/b.nrrd", "", "", f"3 frames of 4 x 5 x 6: {tmp_path}/b.nrrd#1 to {tmp_path}/b.nrrd#3"],
        [f"{tmp_path}/c.nii", "", "", "4 x 5 x 6"],
        [f"{tmp_path}/d.tif", "", "", "5 x 6 x 2"],
    ]
    assert found[4][3].startswith(f"cannot be used: {tmp_path}/e.nii is damaged")
    assert listed(tmp_path / "a.nii.gz") == found[:1]
    assert listed(f"{tmp_path}/a.nii.gz#2") == [[f"{tmp_path}/a.nii.gz#2", "", "", "4 x 5 x 6"]]
