"""Folders of hospitals and data sets: the files of a series are found, and nothing else blocks it."""

import shutil

import numpy as np
import pytest
from dicom_samples import new_slice, planes_in, refusal_of, series_of, stored_volume, write_slices
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from monai_s3im.formats.dicom.series import is_series, series_files
from monai_s3im.formats.reading import spatial_shape_of


@pytest.fixture
def volume():
    return stored_volume()


def test_slices_in_a_subfolder_belong_to_their_series(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    for number, place in ((3, "00000001"), (4, "00000001"), (5, "00000001/deeper")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / f"i{number:03}.dcm").rename(folder / place / f"i{number:03}.dcm")
    np.testing.assert_array_equal(planes_in(folder), volume)
    assert len(series_files(folder / "i000.dcm")) == 6


def test_the_only_series_in_several_subfolders_is_one_volume(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    for number in range(6):
        place = folder / f"0000000{number % 3}" / "images"
        place.mkdir(parents=True, exist_ok=True)
        (folder / f"i{number:03}.dcm").rename(place / f"i{number:03}.dcm")
    assert is_series(folder)
    np.testing.assert_array_equal(planes_in(folder), volume)


def test_a_folder_of_cases_is_not_a_series(tmp_path, volume):
    for case in range(3):
        write_slices(tmp_path / "cases" / f"case{case}", series_of(volume), uid=f"1.2.{case}")
    assert not is_series(tmp_path / "cases")
    assert not is_series(tmp_path)
    assert "has 3 DICOM series in its subfolders" in refusal_of(tmp_path / "cases")


@pytest.mark.parametrize("kept", [3, 5, 7])
def test_a_slice_that_is_cut_short_within_its_uid_is_refused(tmp_path, volume, kept):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    content = (folder / "i003.dcm").read_bytes()
    (folder / "i003.dcm").write_bytes(content[: content.index(b"1.2.3.4\0") + kept])
    assert "i003.dcm is damaged" in refusal_of(folder)


def test_another_series_in_a_subfolder_is_ignored(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    write_slices(folder / "other", series_of(volume + 1, SeriesNumber=4), uid="1.2.9")
    np.testing.assert_array_equal(planes_in(folder), volume)
    np.testing.assert_array_equal(planes_in(f"{folder}#4"), volume + 1)


@pytest.mark.parametrize("suffix", [".img", ".mr", ".dic", ".123", ""])
def test_the_content_decides_and_not_the_name(tmp_path, volume, suffix):
    folder = write_slices(tmp_path / "ct", series_of(volume), [f"i{number}{suffix}" for number in range(6)])
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" * 100)
    assert is_series(folder)
    np.testing.assert_array_equal(planes_in(folder), volume)


@pytest.mark.parametrize("is_implicit", [False, True])
def test_files_without_a_preamble_are_read(tmp_path, volume, is_implicit):
    folder = write_slices(tmp_path / "ct", series_of(volume), [f"i{number}" for number in range(6)])
    for file in folder.iterdir():
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, is_implicit
        write_dataset(stream, dcmread(file))
        file.write_bytes(stream.getvalue())
    np.testing.assert_array_equal(planes_in(folder), volume)


def test_text_with_the_name_of_a_slice_is_left_out_with_a_warning(tmp_path, volume, caplog):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    (folder / "notes.dcm").write_text("this is not a DICOM file")
    for path in (folder, f"{folder}#3", folder / "i000.dcm"):
        caplog.clear()
        np.testing.assert_array_equal(planes_in(path), volume)
        assert "notes.dcm is not a DICOM file despite its name, and is left out" in caplog.text


def test_a_bad_file_of_another_series_does_not_block_a_named_one(tmp_path, volume, caplog):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    (folder / "cut.dcm").write_bytes((folder / "i000.dcm").read_bytes()[:300])
    assert "cut.dcm is damaged" in refusal_of(folder)
    np.testing.assert_array_equal(planes_in(f"{folder}#3"), volume)
    np.testing.assert_array_equal(planes_in(folder / "i000.dcm"), volume)
    assert "cut.dcm cannot be read, and is left out" in caplog.text


def test_deflated_files_are_read(tmp_path, volume):
    slices = series_of(volume)
    for image in slices:
        image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    folder = write_slices(tmp_path / "ct", slices)
    np.testing.assert_array_equal(planes_in(folder), volume)
    write_slices(folder, [new_slice(volume[0])], ["other.dcm"], uid="1.2.9")
    np.testing.assert_array_equal(planes_in(f"{folder}#1.2.3.4"), volume)


def test_a_deflated_file_that_is_cut_short_is_damaged(tmp_path, volume):
    image = new_slice(volume[0])
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    folder = write_slices(tmp_path / "ct", [image])
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    assert "is damaged, cut short" in refusal_of(folder)


def test_a_bad_file_of_the_named_series_is_refused(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    content = (folder / "i003.dcm").read_bytes()
    (folder / "i003.dcm").write_bytes(content[: content.index(b"1.2.3.4\0") + 8])  # before the number of its rows
    for path in (folder, f"{folder}#3", folder / "i000.dcm"):
        assert "i003.dcm is damaged" in refusal_of(path)


def test_the_same_image_twice_is_one_slice(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    shutil.copy(folder / "i002.dcm", folder / "i002 (1).dcm")
    np.testing.assert_array_equal(planes_in(folder), volume)
    shutil.copytree(folder, folder / "backup")
    np.testing.assert_array_equal(planes_in(folder), volume)
    assert len(series_files(folder)) == 6


def test_images_with_one_uid_at_different_places_are_all_slices(tmp_path, volume):
    slices = series_of(volume)
    for image in slices:
        image.SOPInstanceUID = "1.2.3"
    np.testing.assert_array_equal(planes_in(write_slices(tmp_path / "ct", slices)), volume)


@pytest.mark.parametrize("kind", ["localizer", "size"])
def test_a_localizer_in_the_series_is_left_out_with_a_warning(tmp_path, volume, kind, caplog):
    beside = new_slice(volume[0], (0, 0, 0), (1.0, 0, 0, 0, 0, -1.0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    if kind == "size":
        beside = new_slice(volume[0, :3], (10, -20, 60))
    folder = write_slices(tmp_path / "ct", [beside, *series_of(volume)])
    for path in (folder, f"{folder}#3"):
        caplog.clear()
        np.testing.assert_array_equal(planes_in(path), volume)
        assert "1 images of different" in caplog.text
    assert len(series_files(folder)) == 6


def test_localizers_at_one_position_are_left_out_too(tmp_path, volume, caplog):
    beside = [
        new_slice(volume[0], (x, 0, 0), (1.0, 0, 0, 0, 0, -1.0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        for x in (0, 2)
    ]
    folder = write_slices(tmp_path / "ct", [*beside, *series_of(volume)])
    np.testing.assert_array_equal(planes_in(folder), volume)
    assert "2 images of different orientation (a localizer?) are left out" in caplog.text


def test_a_series_without_uid_is_one(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    for file in folder.iterdir():
        image = dcmread(file)
        del image.SeriesInstanceUID
        image.save_as(file)
    np.testing.assert_array_equal(planes_in(folder), volume)


def study(folder, volume):
    """Two series two folders below."""
    write_slices(folder / "ST0" / "SE0", series_of(volume))
    write_slices(
        folder / "ST0" / "SE1", series_of(volume[:4], SeriesNumber=12, SeriesDescription="Ax T2/FLAIR #1"), uid="1.2.9"
    )
    return folder


def test_a_series_of_a_study_tree_is_chosen_by_number_uid_or_description(tmp_path, volume):
    folder = study(tmp_path / "study", volume)
    for name in ("12", "1.2.9", "Ax T2/FLAIR #1", "ax t2/flair #1"):
        assert spatial_shape_of(f"{folder}#{name}") == (4, 5, 4)
    assert spatial_shape_of(f"{folder}#3") == (4, 5, 6)
    assert not is_series(folder)  # a folder of cases, unless a series of it is named


def test_a_medium_with_its_directory_is_a_study_tree(tmp_path, volume):
    folder = study(tmp_path / "cd", volume)
    directory = new_slice(volume[0])
    for name in ("Rows", "Columns", "PixelData"):
        delattr(directory, name)
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    assert "2 DICOM series, choose one as" in refusal_of(folder)
    assert spatial_shape_of(f"{folder}#12") == spatial_shape_of(f"{folder / 'DICOMDIR'}#12") == (4, 5, 4)
