"""DICOM output through every entry point: fuse(), the command for one pair and for many, and the bundle's config."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_samples import OBLIQUE, PLANTED, normal_of, series_of, write_slices
from sample_images import blobs, write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.evaluation.evaluate import evaluate
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of
from monai_s3im.pipeline import Fuser, fuse
from monai_s3im.workflows import Inference

SIZE = (8, 24, 20)  # slices, rows, columns
STUDY = {"StudyInstanceUID": "1.2.840.99999.1", "PatientSex": "O"}
FRAMES = {"mr": "1.2.840.99999.20", "ct": "1.2.840.99999.21", "pt": "1.2.840.99999.22"}


def make_series(folder, modality, values, **tags):
    first = np.array([10.0, -20.0, 30.0]) + (2 * normal_of(OBLIQUE) if modality == "pt" else 0)
    frame = {"FrameOfReferenceUID": FRAMES[modality]}
    slices = series_of(values, OBLIQUE, first, modality=modality.upper(), **{**STUDY, **frame, **tags})
    return write_slices(folder / modality, slices, uid=f"1.2.840.99999.3{len(modality)}{ord(modality[0])}")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """MR and CT on one oblique grid, a PET one slice higher, all of one study; and NIfTI copies of MR and CT."""
    folder = tmp_path_factory.mktemp("sources")
    stored = np.rint(blobs(SIZE) * 800)
    make_series(folder, "mr", stored)
    make_series(folder, "ct", np.where(stored > 200, stored / 10, -1000))
    make_series(folder, "pt", np.rint(blobs(SIZE, 5) * 700))
    for name in ("mr", "ct"):
        image = read_image(folder / name)
        nib.save(nib.Nifti1Image(image[0].numpy(), image.affine.numpy()), folder / f"{name}.nii.gz")
    rows = ["name,image_a,image_b", "one,mr,ct", "two.v2,mr,pt"]
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["fuse", *map(str, arguments), "--device", "cpu"])


def headers(folder):
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the summary."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "summary.csv"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_series_has_the_voxels_of_the_nifti_output_at_their_positions(sources, tmp_path):
    for image_b, scale in (("ct", 65535), ("pt", 255)):
        assert run(sources / "mr", sources / image_b, "-o", tmp_path / "out", "--dicom").exit_code == 0
        assert run(sources / "mr", sources / image_b, "-o", tmp_path / "out.nii.gz").exit_code == 0
        series, volume = read_image(tmp_path / "out"), read_image(tmp_path / "out.nii.gz")
        largest = volume.meta.get("value_range", 1.0)
        np.testing.assert_allclose(series.affine.numpy(), volume.affine.numpy(), atol=1e-4)
        np.testing.assert_allclose(series.numpy() / scale, volume.numpy() / largest, atol=0.51 / scale)


def test_patient_s_data_is_in_the_series_and_nowhere_else(sources, tmp_path, caplog):
    result = run(sources / "mr", sources / "ct", "-o", tmp_path / "out", "--dicom")
    assert result.exit_code == 0, result.output
    assert headers(tmp_path / "out")[0].PatientName == PLANTED[0]
    record = (tmp_path / "out.json").read_text(encoding="utf-8")
    for text in (*PLANTED, "1.2.840.99999"):
        assert text not in record + result.output + caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json"]
    told = json.loads(record)
    assert told["fused"] == "out"
    assert told["fused_sha256"] == sha256_of(tmp_path / "out")


def test_the_three_entry_points_write_the_same_bytes(sources, tmp_path):
    Fuser(device="cpu", dicom=True)(sources / "mr", sources / "pt", tmp_path / "function" / "mr")
    assert run(sources / "mr", sources / "pt", "-o", tmp_path / "command" / "mr", "--dicom").exit_code == 0
    options = {"image_a": str(sources / "mr"), "image_b": str(sources / "pt"), "dicom": True, "device": "cpu"}
    workflow = Inference(output_dir=str(tmp_path / "bundle"), logging_file=False, **options)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    expected = contents(tmp_path / "function")
    assert len(expected) == SIZE[0] + 1
    assert contents(tmp_path / "command") == contents(tmp_path / "bundle") == expected


def frame_of(folder):
    (frame,) = {image.FrameOfReferenceUID for image in headers(folder)}
    return frame


def study_of(folder):
    (study,) = {image.StudyInstanceUID for image in headers(folder)}
    return study


@pytest.mark.parametrize(
    ("image_a", "image_b", "options", "frame"),
    [
        ("mr", "ct", {}, "mr"),
        ("mr", "pt", {"reference": "b"}, "pt"),
        ("mr.nii.gz", "ct", {}, "ct"),
        ("mr", "ct.nii.gz", {"reference": "b"}, "mr"),
        ("mr", "pt", {"reference": "b", "transform": "identity.tfm"}, "mr"),
        ("mr.nii.gz", "ct", {"transform": "identity.tfm"}, None),
    ],
)
def test_frame_of_reference_is_that_in_which_the_grid_lies(sources, tmp_path, image_a, image_b, options, frame):
    if "transform" in options:
        text = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        parameters = "Parameters: 1 0 0 0 1 0 0 0 1 0 0 0\nFixedParameters: 0 0 0\n"
        (tmp_path / "identity.tfm").write_text(text + parameters)
        options = {**options, "transform": tmp_path / "identity.tfm"}
    modalities = {"modality_a": "mr", "modality_b": "pet" if image_b == "pt" else "ct"}
    fuse(sources / image_a, sources / image_b, tmp_path / "out", dicom=True, device="cpu", **modalities, **options)
    found = frame_of(tmp_path / "out")
    assert found == FRAMES[frame] if frame else found not in FRAMES.values()
    assert study_of(tmp_path / "out") == STUDY["StudyInstanceUID"]


def test_pairs_without_any_dicom_are_refused_before_anything_is_computed(sources, tmp_path, monkeypatch):
    write_volume(tmp_path / "a.nii.gz", 0)
    write_picture(tmp_path / "a.png")
    monkeypatch.setattr("monai_s3im.inferers.SliceWiseInferer.__call__", lambda *_: pytest.fail("computed"))
    for name in ("a.nii.gz", "a.png"):
        result = run(tmp_path / name, tmp_path / name, "-o", tmp_path / "out", "--dicom")
        assert result.exit_code == 2
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("error")]
        assert line.endswith(
            f"{name} are not DICOM series, and a fused series belongs to the study of one: give at least one of the "
            "sources as DICOM, or leave DICOM output out"
        )
    result = run(sources / "mr", sources / "ct", "-o", tmp_path / "out.nii.gz", "--dicom")
    assert result.exit_code == 2
    assert "is a file name, but a DICOM series is a folder" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "a.png"]


def test_an_interrupt_leaves_nothing(sources, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    for place in ("monai_s3im.formats.dicom.writing.generate_uid", "monai_s3im.record.FusionRecord.write"):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupt)
            assert run(sources / "mr", sources / "ct", "-o", tmp_path / "out", "--dicom").exit_code == 130
        assert list(tmp_path.iterdir()) == []


def test_a_batch_writes_a_folder_for_each_case_and_is_resumed(sources, tmp_path):
    batch = ("--pairs", sources / "pairs.csv", "-o", tmp_path, "--dicom")
    assert run(*batch).exit_code == 0
    expected = contents(tmp_path)
    assert {name.split("/")[0] for name in expected} == {"one", "one.json", "two.v2", "two.v2.json"}
    assert run(*batch, "--resume").stdout.endswith("2 of them earlier\n")
    damaged = tmp_path / "one" / "0003.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (tmp_path / "two.v2" / "0001.dcm").unlink()
    (tmp_path / "two.v2.json").unlink()
    assert run(*batch, "--resume").stdout.endswith(f"2 of 2 pairs fused into {tmp_path}\n")
    assert contents(tmp_path) == expected


def test_metrics_of_the_series_are_those_of_the_nifti_output(sources, tmp_path):
    found = {}
    for output in ("out", "out.nii.gz"):
        fuse(sources / "mr", sources / "ct", tmp_path / output, dicom=output == "out", device="cpu")
        found[output] = evaluate(tmp_path / output, sources / "mr", sources / "ct").mean
    assert found["out"] == pytest.approx(found["out.nii.gz"], rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("named", ["0001.dcm", "#1003", ""], ids=["a file of it", "a series in it", "the folder"])
def test_a_series_is_not_written_over_a_source(sources, tmp_path, named):
    assert run(sources / "mr", sources / "ct", "-o", tmp_path / "out", "--dicom").exit_code == 0
    before = contents(tmp_path)
    source = f"{tmp_path / 'out'}{named}" if named.startswith("#") else tmp_path / "out" / named
    result = run(source, sources / "ct", "-o", tmp_path / "out", "--dicom", "--modality-a", "generic")
    assert result.exit_code == 2
    assert "is one of the inputs and would be overwritten" in result.stderr
    assert contents(tmp_path) == before


def test_series_of_two_patients_or_frames_are_reported_without_a_name(tmp_path):
    values, of_mr = np.rint(blobs(SIZE) * 800), np.rint(blobs(SIZE, 1) * 800)
    make_series(tmp_path, "mr", of_mr)
    make_series(tmp_path, "ct", values)
    make_series(tmp_path / "other", "ct", values, PatientID="PLANTED-OTHER", FrameOfReferenceUID=FRAMES["mr"])
    frames, patients = "mr and ct have different frames of reference", "mr and ct have different patient IDs"

    def warnings(image_b, **settings):
        fuse(tmp_path / "mr", image_b, tmp_path / "out.nii.gz", device="cpu", **settings)
        record = (tmp_path / "out.json").read_text()
        assert "PLANTED" not in record
        return [text for text in json.loads(record)["warnings"] if "is not in HU" not in text]  # nor is it, here

    assert [text.startswith(frames) for text in warnings(tmp_path / "ct")] == [True]
    assert not any(text.startswith(frames) for text in warnings(tmp_path / "ct", register="rigid"))
    assert [text.startswith(patients) for text in warnings(tmp_path / "other" / "ct")] == [True]


def test_folders_of_series_are_measured(sources, tmp_path):
    for name in ("mr", "ct"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one").symlink_to(sources / name)
    assert run(tmp_path / "mr", tmp_path / "ct", "-o", tmp_path / "out").exit_code == 0
    found = evaluate(tmp_path / "out", tmp_path / "mr", tmp_path / "ct").cases
    expected = evaluate(tmp_path / "out" / "one.nii.gz", sources / "mr", sources / "ct").mean
    assert list(found) == ["one"]
    assert found["one"] == pytest.approx(expected, rel=0, nan_ok=True)
