"""Text about a patient in a DICOM file never reaches an output, log, message or file name.

Every text tag of the standard, a private one and nested ones are marked; the marks are searched for in all that comes
out. A DICOM output is in the patient's study, so the marks of patient and study are there, and only those.
"""

import gzip
from functools import cache

import numpy as np
import pytest
from dicom_samples import AXIAL, group, series_of, write_slices
from pydicom import dcmread
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from sample_images import blobs
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.formats.dicom.study import _NEVER_ABSENT, _OF_THE_STUDY

MARK = "ZQMARK"
MARKED = {  # by value representation: what a hospital might write
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UC", "UT", "PN"), "ZQMARK^Erika"),
    **dict.fromkeys(("CS", "AE"), "ZQMARK"),
    "UR": "http://zqmark",
    "DA": "19010203",
    "DT": "19010203040506.777",
    "TM": "010203.777",
    "AS": "123Y",  # not searched for: as short as this it is found in any picture
}
MARKS = (b"zqmark", b"19010203", b"010203.777", b"1901-02-03")
OF_THE_IMAGE = {  # without which there is no image to fuse
    "SpecificCharacterSet",
    "ImageType",
    "Modality",
    "PhotometricInterpretation",
    "LossyImageCompression",
    "FrameType",
    "VolumetricProperties",
    "NumberOfFrames",
}
ALLOWED = {*_NEVER_ABSENT, *_OF_THE_STUDY, "PositionReferenceIndicator"}  # in a DICOM output; docs/project/security.md


@cache
def text_tags():
    """Keyword and mark of every text tag of the standard that a file of an image may have."""
    return {
        keyword: MARKED[vr]
        for tag, (vr, _, _, retired, keyword) in DicomDictionary.items()
        if keyword and not retired and vr in MARKED and tag >> 16 >= 8 and keyword not in OF_THE_IMAGE
    }


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """An MR and a CT series with every text tag marked."""
    folder = tmp_path_factory.mktemp("marked")
    for name, tag, scale in (("mr", "MR", 800), ("ct", "CT", 80)):
        voxels = blobs((4, 24, 20))
        slices = series_of(np.rint(voxels * scale / voxels.max()), AXIAL, modality=tag)
        for image in slices:
            for keyword, mark in text_tags().items():
                setattr(image, keyword, mark)
            image.add_new((0x0009, 0x0010), "LO", "ZQMARK OWNER")
            image.add_new((0x0009, 0x1001), "LO", "ZQMARK private")
            image.RequestAttributesSequence = group(RequestedProcedureDescription="ZQMARK nested")
            image.StudyInstanceUID = "1.2.3"
            image.OtherPatientIDsSequence = group(PatientID="ZQMARK other")
        write_slices(folder / name, slices, uid=f"1.2.{scale}")
    return folder


@pytest.fixture
def s3im(capfd, caplog):
    """Run the command; return its exit code and all messages, from any library."""

    def run(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        captured = capfd.readouterr()
        said = "\n".join([result.output, captured.out, captured.err, caplog.text, repr(result.exception)])
        return result.exit_code, said

    return run


def marks_in(content):
    """The marks as plain, compressed or UTF-16 bytes."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    lower = content.lower()
    return [mark for mark in MARKS if mark in lower or mark.decode().encode("utf-16-le") in lower]


def assert_no_mark(said, folder):
    assert marks_in(said.encode()) == []
    for file in folder.rglob("*"):
        assert MARK not in file.name
        assert not file.is_file() or marks_in(file.read_bytes()) == [], file.name


def test_the_marks_are_many_and_in_the_sources(marked):
    assert len(text_tags()) > 500
    for file in marked.rglob("*.dcm"):
        assert len(marks_in(file.read_bytes())) >= 3
    header = dcmread(next(marked.rglob("*.dcm")))
    assert sum(element.keyword in text_tags() for element in header) == len(text_tags())


def test_the_search_finds_marks_in_each_encoding():
    for content in (b"..ZQmark..", gzip.compress(b"Zqmark"), "ZQMARK".lower().encode("utf-16-le")):
        assert marks_in(content) == [b"zqmark"]


@pytest.mark.parametrize("output", ["fused.nii.gz", "fused.nrrd", "fused.mha"])
def test_no_mark_is_in_a_fused_file_its_record_or_the_messages(s3im, marked, tmp_path, output):
    code, said = s3im("fuse", marked / "mr", marked / "ct", "-o", tmp_path / output, "--register", "rigid")
    assert code == 0, said
    assert {file.name for file in tmp_path.iterdir()} >= {output, "fused.json"}
    assert_no_mark(said, tmp_path)


def test_no_mark_is_in_a_batch_its_summary_and_its_report(s3im, marked, tmp_path):
    (tmp_path / "pairs.csv").write_text(f"name,image_a,image_b\na,{marked / 'mr'},{marked / 'ct'}\nb,{marked},x\n")
    options = ["--metrics", "--report", "-o", tmp_path / "out"]
    code, said = s3im("fuse", "--pairs", tmp_path / "pairs.csv", *options)
    assert code == 1, said
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {"a.nii.gz", "a.json", "summary.csv", "report.html"}
    assert_no_mark(said, tmp_path)


def test_a_dicom_output_has_only_the_marks_of_patient_study_and_frame_of_reference(s3im, marked, tmp_path):
    code, said = s3im("fuse", marked / "mr", marked / "ct", "-o", tmp_path / "out", "--dicom")
    assert code == 0, said
    for file in (tmp_path / "out").iterdir():
        image = dcmread(file)
        carrying = {element.keyword for element in image if marks_in(str(element.value).encode())}
        assert "PatientName" in carrying
        assert carrying <= ALLOWED
        for keyword in carrying & ALLOWED:
            del image[keyword]
        image.save_as(tmp_path / "rest.dcm")
        assert marks_in((tmp_path / "rest.dcm").read_bytes()) == []
        file.unlink()
    assert_no_mark(said, tmp_path)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing", "Rows", "RescaleSlope", "Modality"])
def test_no_mark_is_in_the_message_about_an_unusable_file(s3im, marked, tmp_path, keyword):
    folder = tmp_path / "mr"
    folder.mkdir()
    for number, file in enumerate(sorted((marked / "mr").iterdir())):
        image = dcmread(file)
        if dictionary_VR(tag_for_keyword(keyword)) == "CS":
            setattr(image, keyword, "ZQMARK")
        else:
            image.pop(keyword, None)
            image.add_new(tag_for_keyword(keyword), "LO", "ZQMARK")
        image.save_as(folder / f"{number}.dcm")
    out = tmp_path / "out"
    out.mkdir()
    code, said = s3im("fuse", folder, marked / "ct", "-o", out / "fused.nii.gz")
    assert code in {0, 2}, said
    assert_no_mark(said, out)
