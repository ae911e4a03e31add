"""DICOM series through all of the pipeline: they fuse as NIfTI of them does, and no patient's data come out."""

import json

import nibabel as nib
import numpy as np
import pytest
from dicom_samples import OBLIQUE, PLANTED, series_of, write_slices
from sample_images import blobs
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.formats.reading import read_image
from monai_s3im.pipeline import fuse

SIZE = (16, 24, 20)  # slices, rows, columns


@pytest.fixture
def series(tmp_path):
    """An MR and a CT series in one folder, and the MR again in its own."""
    mr = blobs(SIZE)
    stored = np.rint(mr * 800 / mr.max())
    ct = np.where(stored > 200, stored / 10, -1000)
    both = write_slices(tmp_path / "study", series_of(ct, OBLIQUE))
    for folder in (both, tmp_path / "mr"):
        slices = series_of(stored, OBLIQUE, modality="MR", SeriesNumber=8)
        write_slices(folder, slices, [f"m{number}.dcm" for number in range(len(slices))], uid="1.2.9")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["fuse", *map(str, arguments)])


def nothing_planted_in(content):
    return not any(text.encode() in content for text in PLANTED)


def test_series_fuse_as_their_nifti_copies_do(series):
    for path in ("mr", "study#3"):
        image = read_image(series / path)
        nib.save(nib.Nifti1Image(image[0].numpy(), image.affine.numpy()), series / f"{path}.nii.gz")
    fused = fuse(series / "mr", series / "study#3")
    copies = fuse(series / "mr.nii.gz", series / "study#3.nii.gz", modality_a="mr", modality_b="ct")
    np.testing.assert_allclose(fused.numpy(), copies.numpy(), atol=1e-4)
    np.testing.assert_allclose(fused.affine.numpy(), copies.affine.numpy(), atol=1e-4)


def test_command_takes_series_and_its_record_names_folder_hash_and_modality(series):
    result = run(series / "mr", series / "study#3", "-o", series / "out.nii.gz")
    assert result.exit_code == 0, result.output
    sources = json.loads((series / "out.json").read_text(encoding="utf-8"))["sources"]
    assert [source["file"] for source in sources.values()] == ["mr", "study#3"]
    assert [source["modality"] for source in sources.values()] == ["mr", "ct"]
    assert nothing_planted_in(nib.load(series / "out.nii.gz").to_bytes() + (series / "out.json").read_bytes())
    assert nothing_planted_in(result.output.encode())


def test_list_of_pairs_takes_series(series):
    (series / "pairs.csv").write_text("name,image_a,image_b\nx,mr,study#3\ny,study#1.2.9,study#3\nz,mr,study\n")
    result = run("--pairs", series / "pairs.csv", "-o", series / "out")
    assert result.exit_code == 1
    assert "2 DICOM series, choose one" in result.output
    assert (series / "out" / "x.nii.gz").is_file()
    np.testing.assert_array_equal(
        nib.load(series / "out" / "x.nii.gz").get_fdata(), nib.load(series / "out" / "y.nii.gz").get_fdata()
    )
    assert all(nothing_planted_in(file.read_bytes()) for file in (series / "out").iterdir())
    assert nothing_planted_in(result.output.encode())


def test_no_message_about_a_damaged_or_odd_file_reports_the_patients_data(series, caplog, capfd):
    for damage in (400, 600, 800, 1000):
        file = series / "mr" / "m3.dcm"
        content = file.read_bytes()
        file.write_bytes(content[:damage])
        result = run(series / "mr", series / "study#3", "-o", series / "out.nii.gz")
        assert result.exit_code == 2
        assert nothing_planted_in(result.output.encode())
        file.write_bytes(content.replace(b"1.2.9", b"PLANT").replace(b"\\-20", b"\\PL0"))
        run(series / "mr", series / "study#3", "-o", series / "out.nii.gz")
        file.write_bytes(content)
    captured = capfd.readouterr()
    assert nothing_planted_in((captured.out + captured.err + caplog.text).encode())
