"""No header of a source spoils a written series: it is checked first, made valid, and nothing of it is logged."""

import numpy as np
import pydicom
import pytest
from dicom_samples import series_of, stored_volume, write_slices
from formats.test_dicom_writing import AXIAL_LAS, STUDY, an_image, faults_by_dciodvfy, write
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.writing import check_series_output


def source(folder, uid="1.2.840.99999.3", **tags):
    return write_slices(folder, series_of(stored_volume(), modality="MR", **{**STUDY, **tags}), uid=uid)


def written(folder, sources):
    write(an_image(AXIAL_LAS), folder, sources)
    return pydicom.dcmread(folder / "0001.dcm")


FOUND = {  # what hospitals and programs write, and what the written series has
    "a part without sides": ({"BodyPartExamined": "HEAD"}, {"BodyPartExamined": "HEAD", "Laterality": "absent"}),
    "a part with sides": ({"BodyPartExamined": "KNEE"}, {"Laterality": None}),
    "a side": ({"BodyPartExamined": "KNEE", "Laterality": "L"}, {"Laterality": "L"}),
    "no side": ({"Laterality": "left"}, {"Laterality": None}),
    "small letters": ({"BodyPartExamined": "head"}, {"BodyPartExamined": "HEAD"}),
    "old date": ({"StudyDate": "2020.01.02"}, {"StudyDate": "20200102"}),
    "old time": ({"StudyTime": "12:30:00"}, {"StudyTime": "123000"}),
    "a year": ({"PatientBirthDate": "1950"}, {"PatientBirthDate": None}),
    "age": ({"PatientAge": "45"}, {"PatientAge": "absent"}),
    "sex": ({"PatientSex": "X"}, {"PatientSex": None}),
    "long number": ({"StudyID": "x" * 20}, {"StudyID": None}),
    "no identity": ({"PatientIdentityRemoved": "YES"}, {"PatientIdentityRemoved": "YES"}),
    "mouse": ({"PatientSpeciesDescription": "mouse"}, {"PatientSpeciesDescription": "mouse"}),
    "no other number": ({"OtherPatientIDsSequence": []}, {"OtherPatientIDsSequence": "absent"}),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")
@pytest.mark.parametrize("found", FOUND)
def test_a_validator_finds_no_error_whatever_the_source_has(tmp_path, found):
    tags, expected = FOUND[found]
    image = written(tmp_path / "out", source(tmp_path / "mr", **tags))
    assert {name: (image[name].value or None) if name in image else "absent" for name in expected} == expected
    assert faults_by_dciodvfy(tmp_path / "out" / "0001.dcm") == []


def test_text_in_the_series_number_is_ignored(tmp_path):
    slices = series_of(stored_volume(), modality="MR", **STUDY)
    for image in slices:
        tag = Tag("SeriesNumber")
        image._dict[tag] = RawDataElement(tag, "IS", 6, b"ABC12 ", 0, False, True)
    with pytest.warns(UserWarning, match="Invalid value for VR IS"):
        folder = write_slices(tmp_path / "mr", slices, uid="1.2.840.99999.3")
    check_series_output(tmp_path / "out", [folder])
    assert written(tmp_path / "out", folder).SeriesNumber == 1000


def test_any_source_without_a_study_is_refused_before_anything_is_computed(tmp_path):
    good, bad = source(tmp_path / "a"), source(tmp_path / "b", "1.2.840.99999.4")
    for file in bad.iterdir():
        image = pydicom.dcmread(file)
        del image.StudyInstanceUID
        image.save_as(file)
    for sources in ([good, bad], [bad, good]):
        with pytest.raises(InputError, match="lacks the tag StudyInstanceUID"):
            check_series_output(tmp_path / "out", sources)


@pytest.mark.parametrize(("name", "kept"), [("ISO-IR 100", "ISO_IR 100"), ("ISO_IR 999", "ISO_IR 999")])
def test_an_unknown_character_set_is_not_logged_and_keeps_its_bytes(tmp_path, name, kept, caplog, capfd):
    folder = source(tmp_path / "mr", PatientName="Muller^A")
    for file in folder.iterdir():  # by hand: pydicom would correct it
        content = file.read_bytes()
        place = content.index(b"\x08\x00\x08\x00CS") if b"\x08\x00\x08\x00CS" in content else 0
        place = place or content.index(b"\x08\x00\x16\x00UI")
        value = name.encode() + b" " * (len(name) % 2)
        tag = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
        file.write_bytes(content[:place] + tag + content[place:].replace(b"Muller^A", b"M\xfcller^A"))
    write(an_image(AXIAL_LAS), tmp_path / "out", folder)
    assert not caplog.text
    assert capfd.readouterr() == ("", "")
    content = (tmp_path / "out" / "0001.dcm").read_bytes()
    assert b"M\xfcller^A" in content
    assert kept.encode() in content
    np.testing.assert_equal(content.count(b"\x08\x00\x05\x00CS"), 1)
