"""Fused volumes as DICOM series: valid, in the right position and study, and the same on every run."""

import errno
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from dicom_samples import OBLIQUE, series_of, stored_volume, write_slices
from hypothesis import example, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from references.geometry_reference import an_affine, positions

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.dicom.writing import check_series_output, write_series
from monai_s3im.formats.reading import read_image

STUDY = {
    "StudyInstanceUID": "1.2.840.99999.1",
    "FrameOfReferenceUID": "1.2.840.99999.2",
    "StudyDate": "20200102",
    "StudyTime": "030405",
    "StudyID": "7",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "Doe^Jane",
    "StudyDescription": "HEAD",
    "PatientSex": "F",
}
SHAPE = (5, 6, 4)
AXIAL_LAS = np.array([[-1.5, 0, 0, 20], [0, 1.25, 0, -30], [0, 0, 3, 5], [0, 0, 0, 1.0]])
GRIDS = {
    "axial RAS": np.diag([1, 1, 2, 1.0]),
    "axial LAS, uneven": AXIAL_LAS,
    "oblique": an_affine((20, -10, 35), (1.5, 1.0, 3.0), (-12, 8, -5)),
    "sagittal": AXIAL_LAS[:, [2, 1, 0, 3]] @ np.diag([1, -1, 1, 1]),
    "coronal": AXIAL_LAS[:, [0, 2, 1, 3]],
    "thin slices": an_affine((5, 0, 0), (1.0, 1.0, 0.625), (100, -200, 300.123456)),
}


def make_series(folder, uid="1.2.840.99999.3", **tags):
    return write_slices(folder, series_of(stored_volume(), OBLIQUE, **{**STUDY, **tags}), uid=uid)


@pytest.fixture(scope="module")
def mr(tmp_path_factory):
    return make_series(tmp_path_factory.mktemp("mr") / "mr", modality="MR")


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    return make_series(tmp_path_factory.mktemp("ct") / "ct", "1.2.840.99999.4")


def an_image(affine, shape=SHAPE, channels=1, seed=0):
    values = np.random.default_rng(seed).random((channels, *shape)).astype(np.float32)
    values.flat[:2] = 0, 1
    return MetaTensor(values, affine=torch.as_tensor(np.asarray(affine, dtype=np.float64)))


def write(image, folder, mr, ct=None, frame_of="image_a"):
    sources = {"image_a": mr, "image_b": ct} if ct else {"image_a": mr}
    return write_series(image, folder, sources, frame_of, ["mr", "ct"], {"plane": "axial", "gray": False})


def headers(folder):
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


def read_by_simpleitk(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def values_at_the_image_s_voxels(itk, image):
    """What SimpleITK has at the place, in mm, of each voxel of an image; it must be a voxel's centre."""
    points = positions(image.shape[1:], image.affine.numpy()) * (-1, -1, 1)
    index = np.array([itk.TransformPhysicalPointToContinuousIndex(point) for point in points])
    step = np.array(itk.GetSpacing())
    assert np.abs((index - np.rint(index)) * step).max() < 1e-4
    array = sitk.GetArrayFromImage(itk)
    found = array[tuple(np.rint(index).astype(int).T[::-1])]
    return found.reshape(*image.shape[1:], -1)


def faults_by_dciodvfy(file):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy here: apt-get install dicom3tools")
    result = subprocess.run(["dciodvfy", file], capture_output=True, text=True, encoding="utf-8", check=False)
    assert "SCImage" in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_validator_finds_no_error(tmp_path, mr, ct, channels):
    write(an_image(AXIAL_LAS, channels=channels), tmp_path / "out", mr, ct)
    for file in (tmp_path / "out").iterdir():
        assert faults_by_dciodvfy(file) == []


def test_a_validator_finds_no_error_where_the_sources_have_bare_headers_and_two_studies(tmp_path):
    bare = {"StudyInstanceUID": "1.2.840.99999.8", "PatientName": None, "PatientID": None, "PatientBirthDate": None}
    slices = series_of(stored_volume(), **bare)
    other = make_series(tmp_path / "other", "1.2.840.99999.9", StudyInstanceUID="1.2.840.99999.10")
    write(an_image(AXIAL_LAS), tmp_path / "out", write_slices(tmp_path / "mr", slices, uid="1.2.840.99999.7"), other)
    assert faults_by_dciodvfy(tmp_path / "out" / "0001.dcm") == []


def test_the_validator_does_find_errors(tmp_path, mr):
    write(an_image(AXIAL_LAS), tmp_path / "out", mr)
    file = tmp_path / "out" / "0001.dcm"
    image = pydicom.dcmread(file)
    del image.ConversionType
    image.save_as(file)
    assert any("ConversionType" in fault for fault in faults_by_dciodvfy(file))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_voxel_keeps_its_position_and_value_in_simpleitk(tmp_path, mr, grid, channels):
    image = an_image(GRIDS[grid], channels=channels)
    write(image, tmp_path / "out", mr)
    scale = 255 if channels == 3 else 65535
    expected = np.rint(scale * np.moveaxis(image.numpy().astype(np.float32), 0, -1))
    np.testing.assert_array_equal(values_at_the_image_s_voxels(read_by_simpleitk(tmp_path / "out"), image), expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_our_own_reader_gives_the_volume_back(tmp_path, mr, grid):
    for channels, scale in ((1, 65535), (3, 255)):
        image = an_image(GRIDS[grid], channels=channels)
        write(image, tmp_path / "out", mr)
        back = read_image(tmp_path / "out")
        assert back.meta["value_range"] == scale
        itk = read_by_simpleitk(tmp_path / "out")
        np.testing.assert_array_equal(back.numpy().T.squeeze(), sitk.GetArrayFromImage(itk))
        direction = np.reshape(itk.GetDirection(), (3, 3)) * itk.GetSpacing()
        np.testing.assert_allclose((np.diag([-1, -1, 1, 1]) @ back.affine.numpy())[:3, :3], direction, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    rotation=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
    mirror=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
@example(rotation=(1e-65, 0.0, 1e-228), spacing=(1.0, 1.0, 3.0), origin=(0.0, 0.0, 0.0), mirror=(-1, -1, -1))
def test_every_voxel_keeps_its_position_on_any_grid(mr, rotation, spacing, origin, mirror):
    image = an_image(an_affine(rotation, spacing, origin) @ np.diag([*mirror, 1]), (3, 4, 2))
    with tempfile.TemporaryDirectory() as folder:
        write(image, Path(folder) / "out", mr)
        found = values_at_the_image_s_voxels(read_by_simpleitk(Path(folder) / "out"), image)
        np.testing.assert_array_equal(found[..., 0], np.rint(65535 * image.numpy()[0]))


VIEWS = {  # by hand: rows to the patient's left or back, columns to the back or the feet
    "axial RAS": ("L", "P", [1, 0, 0, 0, 1, 0], [0, 0, 1]),
    "axial LAS, uneven": ("L", "P", [1, 0, 0, 0, 1, 0], [0, 0, 1]),
    "coronal": ("L", "F", [1, 0, 0, 0, 0, -1], [0, 1, 0]),
    "sagittal": ("P", "F", [0, 1, 0, 0, 0, -1], [-1, 0, 0]),
}


@pytest.mark.parametrize("grid", VIEWS)
def test_slices_are_turned_and_ordered_as_one_looks_at_them(tmp_path, mr, grid):
    write(an_image(GRIDS[grid]), tmp_path / "out", mr)
    rows_to, columns_to, orientation, normal = VIEWS[grid]
    slices = headers(tmp_path / "out")
    for number, image in enumerate(slices, 1):
        assert image.InstanceNumber == number
        assert list(image.PatientOrientation) == [rows_to, columns_to]
        np.testing.assert_allclose(image.ImageOrientationPatient, orientation)
    step = np.subtract(slices[1].ImagePositionPatient, slices[0].ImagePositionPatient).astype(float)
    np.testing.assert_allclose(step, np.multiply(normal, float(slices[0].SpacingBetweenSlices)), atol=1e-9)


def test_spacing_is_that_of_rows_then_columns(tmp_path, mr):
    write(an_image(AXIAL_LAS), tmp_path / "out", mr)
    image = headers(tmp_path / "out")[0]
    assert (image.Columns, image.Rows) == SHAPE[:2]
    assert list(image.PixelSpacing) == [1.25, 1.5]
    assert image.SliceThickness == image.SpacingBetweenSlices == 3


def test_gray_has_16_bits_and_a_window_over_all_of_them(tmp_path, mr):
    write(an_image(AXIAL_LAS), tmp_path / "out", mr)
    image = headers(tmp_path / "out")[0]
    assert (image.PhotometricInterpretation, image.BitsStored, image.PixelRepresentation) == ("MONOCHROME2", 16, 0)
    # PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2
    black, white = (image.WindowCenter - 0.5 + sign * (image.WindowWidth - 1) / 2 for sign in (-1, 1))
    assert (black, white) == (0, 65535)
    assert "RescaleSlope" not in image


def test_a_series_of_one_slice_with_an_odd_number_of_bytes_is_written(tmp_path, mr):
    image = an_image(AXIAL_LAS, (3, 5, 1), channels=3)
    write(image, tmp_path / "out", mr)
    assert len((tmp_path / "out" / "0001.dcm").read_bytes()) % 2 == 0
    back = read_image(tmp_path / "out")
    np.testing.assert_allclose(np.sort(back.numpy(), axis=None), np.sort(np.rint(255 * image.numpy()), axis=None))
    np.testing.assert_allclose(np.linalg.norm(back.affine.numpy()[:3, :3], axis=0), [1.5, 1.25, 3])


def test_patient_and_study_are_those_of_the_first_source(tmp_path, mr, ct):
    write(an_image(AXIAL_LAS), tmp_path / "out", mr, ct)
    source = headers(mr)[0]
    for image in headers(tmp_path / "out"):
        for name in (*STUDY, "PatientName", "PatientID", "PatientBirthDate"):
            assert image[name].value == source[name].value
        for name in ("InstitutionName", "ProtocolName"):
            assert name not in image
        assert (image.Modality, image.ConversionType, image.SeriesNumber) == ("OT", "WSD", 1003)
        assert list(image.ImageType) == ["DERIVED", "SECONDARY"]
        assert image.SeriesDescription == "S3IMFusion MR+CT"
        assert "MR+CT fused by S3IMFusion" in image.DerivationDescription
        assert "plane axial" in image.DerivationDescription


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_a_name_in_another_script_is_kept(tmp_path, charset):
    source = make_series(tmp_path / "mr", SpecificCharacterSet=charset, PatientName="Müller^Åsa")
    write(an_image(AXIAL_LAS), tmp_path / "out", source)
    image = headers(tmp_path / "out")[0]
    assert image.PatientName == "Müller^Åsa"
    assert image.SpecificCharacterSet == charset
    assert image.PatientName.original_string == headers(source)[0].PatientName.original_string


def test_each_slice_names_all_images_that_it_is_made_of(tmp_path, mr, ct):
    write(an_image(AXIAL_LAS), tmp_path / "out", mr, ct)
    images = {"1.2.840.99999.3": headers(mr), "1.2.840.99999.4": headers(ct)}
    expected = {uid: {image.SOPInstanceUID for image in found} for uid, found in images.items()}
    for image in headers(tmp_path / "out"):
        assert {item.ReferencedSOPInstanceUID for item in image.SourceImageSequence} == set.union(*expected.values())
        found = {
            item.SeriesInstanceUID: {one.ReferencedSOPInstanceUID for one in item.ReferencedInstanceSequence}
            for item in image.ReferencedSeriesSequence
        }
        assert found == expected
        assert "StudiesContainingOtherReferencedInstancesSequence" not in image
        (equipment,) = image.ContributingEquipmentSequence
        assert equipment.ManufacturerModelName == "S3IMFusion"
        assert equipment.SoftwareVersions.startswith("monai-s3im ")


def test_images_of_another_study_are_named_under_it(tmp_path, mr):
    other = make_series(tmp_path / "ct", "1.2.840.99999.5", StudyInstanceUID="1.2.840.99999.6")
    write(an_image(AXIAL_LAS), tmp_path / "out", mr, other)
    image = headers(tmp_path / "out")[0]
    assert [item.SeriesInstanceUID for item in image.ReferencedSeriesSequence] == ["1.2.840.99999.3"]
    (study,) = image.StudiesContainingOtherReferencedInstancesSequence
    assert study.StudyInstanceUID == "1.2.840.99999.6"
    assert [item.SeriesInstanceUID for item in study.ReferencedSeriesSequence] == ["1.2.840.99999.5"]


def test_loss_of_a_source_by_compression_is_passed_on(tmp_path, mr, ct):
    lossy = make_series(tmp_path / "ct", LossyImageCompression="01", LossyImageCompressionRatio=[12.5])
    write(an_image(AXIAL_LAS), tmp_path / "lossy", mr, lossy)
    write(an_image(AXIAL_LAS), tmp_path / "out", mr, ct)
    assert headers(tmp_path / "lossy")[0].LossyImageCompression == "01"
    assert headers(tmp_path / "lossy")[0].LossyImageCompressionRatio == 12.5
    assert "LossyImageCompression" not in headers(tmp_path / "out")[0]


def bytes_of(folder):
    return [file.read_bytes() for file in sorted(folder.iterdir())]


def test_the_same_volume_gives_the_same_bytes(tmp_path, mr, ct):
    for name in ("one", "two"):
        write(an_image(AXIAL_LAS), tmp_path / name, mr, ct)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_uids_are_valid_and_those_of_another_volume_differ(tmp_path, mr, ct):
    write(an_image(AXIAL_LAS), tmp_path / "one", mr, ct)
    write(an_image(AXIAL_LAS, seed=1), tmp_path / "two", mr, ct)
    write(an_image(AXIAL_LAS), tmp_path / "three", mr)
    write(an_image(GRIDS["axial RAS"]), tmp_path / "four", mr, ct)
    found = [headers(tmp_path / name) for name in ("one", "two", "three", "four")]
    assert len({image.SeriesInstanceUID for images in found for image in images}) == 4
    assert len({image.SOPInstanceUID for images in found for image in images}) == 4 * SHAPE[2]
    for image in found[0]:
        assert image.SeriesInstanceUID.is_valid
        assert image.SOPInstanceUID.is_valid
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


def test_frame_of_reference_is_a_source_s_or_a_new_one(tmp_path, mr):
    other = make_series(tmp_path / "ct", "1.2.840.99999.5", FrameOfReferenceUID="1.2.840.99999.20")
    none = make_series(tmp_path / "none", "1.2.840.99999.6", FrameOfReferenceUID="")
    found = {}
    for name, source, key in (("a", other, "image_a"), ("b", other, "image_b"), ("-", other, None)):
        write(an_image(AXIAL_LAS), tmp_path / name, mr, source, key)
        (found[name],) = {image.FrameOfReferenceUID for image in headers(tmp_path / name)}
    write(an_image(AXIAL_LAS), tmp_path / "absent", none)
    absent = headers(tmp_path / "absent")[0].FrameOfReferenceUID
    assert (found["a"], found["b"]) == ("1.2.840.99999.2", "1.2.840.99999.20")
    assert len({*found.values(), absent}) == 4
    assert found["-"].is_valid
    assert absent.is_valid


def test_an_earlier_series_is_replaced_and_other_folders_are_not(tmp_path, mr):
    out = tmp_path / "out"
    write(an_image(AXIAL_LAS, (5, 6, 9)), out, mr)
    check_series_output(out, [mr])
    write(an_image(AXIAL_LAS), out, mr)
    assert len(list(out.iterdir())) == SHAPE[2]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="out has files that are not of an earlier fused series: choose another"):
        check_series_output(out, [mr])
    numbered = write_slices(tmp_path / "scan", series_of(stored_volume()), [f"{n:04}.dcm" for n in range(6)])
    with pytest.raises(OutputError, match="scan has files that are not of an earlier fused series"):
        check_series_output(numbered, [mr])


REFUSED = {
    "a file's name": ("out.nii.gz", "mr", "is a file name, but a DICOM series is a folder"),
    "a source": ("mr", "mr", "mr is one of the inputs and would be overwritten"),
    "a file": ("file", "mr", "file is a file, but a DICOM series is a folder"),
    "no DICOM": (
        "out",
        "a.nii.gz",
        "a.nii.gz are not DICOM series, and a fused series belongs to the study of one: give",
    ),
    "no study": (
        "out",
        "loose",
        "lacks the tag StudyInstanceUID, which a series made from it refers to: export it again",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_input_that_cannot_be_written_is_refused_in_one_sentence(tmp_path, case):
    output, source, words = REFUSED[case]
    make_series(tmp_path / "mr")
    write_slices(tmp_path / "loose", series_of(stored_volume()))
    (tmp_path / "file").touch()
    with pytest.raises((InputError, OutputError), match=words) as refusal:
        check_series_output(tmp_path / output, [tmp_path / source])
    assert "PLANTED" not in str(refusal.value)


def test_a_grid_that_is_not_at_right_angles_is_refused(tmp_path, mr):
    sheared = np.eye(4)
    sheared[0, 2] = 0.1
    with pytest.raises(InputError, match="out cannot be DICOM, as the axes of the grid are not at right angles"):
        write(an_image(sheared), tmp_path / "out", mr)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dicom_ct_head", "dicom_mr_brain_oblique", "dicom_pet_head"])
@pytest.mark.filterwarnings("ignore")
def test_a_real_series_comes_back_on_its_own_grid(shared_data, tmp_path, name):
    source = shared_data / "data" / "volumes" / name
    image = read_image(source)
    image = image / image.amax()
    write(image.clamp(0, 1), tmp_path / "out", source)
    back = read_image(tmp_path / "out")
    assert back.shape == image.shape
    np.testing.assert_allclose(back.affine.numpy(), image.affine.numpy(), atol=1e-4)
    np.testing.assert_allclose(back.numpy() / 65535, image.clamp(0, 1).numpy(), atol=1e-5)
    itk = read_by_simpleitk(tmp_path / "out")
    assert itk.GetSize() == tuple(image.shape[1:])
    np.testing.assert_allclose(itk.GetOrigin(), image.affine.numpy()[:3, 3] * (-1, -1, 1), atol=1e-4)
    assert [fault for fault in faults_by_dciodvfy(tmp_path / "out" / "0002.dcm") if "Illegal root" not in fault] == []


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, mr, monkeypatch):
    write_bytes, written = Path.write_bytes, []

    def until_full(file, content):
        written.append(file)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(file, content)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OutputError, match=r"out cannot be written \(no space left on the device\): free some space"):
        write(an_image(AXIAL_LAS), tmp_path / "out", mr)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_header_with_invalid_values_is_accepted_silently(tmp_path, capfd, caplog):
    odd = {"PatientID": "PLANTED" * 12, "PatientAge": "PLANTED", "StudyDate": "1986.08.10", "PatientSex": "PLANTED"}
    source = tmp_path / "mr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_series(source, **odd)
    caplog.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        write(an_image(AXIAL_LAS), tmp_path / "out", source)
        check_series_output(tmp_path / "out", [source])
    said = "".join([*capfd.readouterr(), caplog.text, *[str(warning.message) for warning in warned]])
    assert said == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert headers(tmp_path / "out")[0].PatientID == odd["PatientID"]
        assert headers(tmp_path / "out")[0].StudyDate == "19860810"
