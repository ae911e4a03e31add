import logging

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from dicom_samples import AXIAL, OBLIQUE, PLANTED, group, new_slice, planes_in, series_of, stored_volume, write_slices
from pydicom import dcmread, encaps
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import BasicTextSRStorage, JPEG2000Lossless, RLELossless

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.series import is_series, read_series, series_files
from monai_s3im.formats.reading import is_volume, read_image, spatial_shape_of, stem_of
from monai_s3im.formats.writing import sha256_of
from monai_s3im.pairs.inference import fusion_pairs

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def volume():
    return stored_volume()


def assert_refused(path, *words):
    with pytest.raises(InputError) as raised:
        read_image(path)
    message = str(raised.value)
    assert not message.endswith(".")
    assert "\n" not in message
    assert not any(text in message for text in PLANTED)
    for word in words:
        assert word in message


def itk_reference(folder):
    """Array (x, y, z) and affine, voxel -> RAS mm, as SimpleITK's own series reader gives them."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, LPS_TO_RAS @ affine


def test_axial_series_has_the_affine_that_its_tags_say(tmp_path, volume):
    image = read_image(write_slices(tmp_path / "ct", series_of(volume)))
    # columns go to the left by 0.8 mm, rows to the back by 0.7 mm; in RAS both are negative: by hand
    expected = [[-0.8, 0, 0, -10], [0, -0.7, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.affine.numpy(), expected, atol=1e-9)
    assert image.affine.dtype == torch.float64
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image[0].numpy(), volume.transpose(2, 1, 0))
    assert image.meta["modality_tag"] == "CT"
    assert image.meta["spatial_dims"] == 3


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_series_reads_as_simpleitk_reads_it(tmp_path, volume, orientation):
    folder = write_slices(tmp_path / "ct", series_of(volume, orientation))
    array, affine = itk_reference(folder)
    image = read_image(folder)
    np.testing.assert_array_equal(image[0].numpy(), array)
    np.testing.assert_allclose(image.affine.numpy(), affine, atol=1e-6)


def test_slices_are_sorted_by_position_whatever_their_names(tmp_path, volume):
    straight = read_image(write_slices(tmp_path / "a", series_of(volume, OBLIQUE)))
    names = [f"1.2.{n}" for n in (30, 4, 211, 1, 5, 9)]
    shuffled = read_image(write_slices(tmp_path / "b", series_of(volume, OBLIQUE), names))
    np.testing.assert_array_equal(straight.numpy(), shuffled.numpy())
    np.testing.assert_array_equal(straight.affine.numpy(), shuffled.affine.numpy())


@pytest.mark.parametrize(
    ("tags", "region"),
    [
        ({"BodyPartExamined": "BRAIN"}, "head"),
        ({"BodyPartExamined": "UNKNOWN", "SeriesDescription": "Thorax 5.0 H31f"}, "body"),
        ({"SeriesDescription": "5.0", "ProtocolName": "1A TRAUMA/PLAIN HEAD DM"}, "head"),
        ({"BodyPartExamined": "HEAD NECK"}, None),
        ({}, None),
    ],
)
def test_the_tags_of_a_ct_give_only_head_or_body(tmp_path, tags, region):
    slices = series_of(stored_volume())
    for header in slices:
        for name, value in tags.items():
            setattr(header, name, value)
    assert read_image(write_slices(tmp_path / "ct", slices)).meta.get("region") == region


def test_one_file_stands_for_its_series(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    write_slices(folder, series_of(volume[:3]), ["x.dcm", "y.dcm", "z.dcm"], uid="1.2.5")
    np.testing.assert_array_equal(read_image(folder / "i003.dcm").numpy(), volume.transpose(2, 1, 0)[None])
    assert spatial_shape_of(folder / "y.dcm") == (4, 5, 3)


def test_each_slice_has_its_own_slope_and_intercept(tmp_path, volume):
    slices = series_of(volume, modality="PT")
    for number, image in enumerate(slices):
        image.RescaleSlope, image.RescaleIntercept = 0.5 + number, -3 * number
    image = read_image(write_slices(tmp_path / "pet", slices))
    expected = [pixels * (0.5 + number) - 3 * number for number, pixels in enumerate(volume)]
    np.testing.assert_array_equal(image[0].numpy(), np.stack(expected).transpose(2, 1, 0))
    assert image.meta["modality_tag"] == "PT"


def test_several_series_are_listed_and_one_is_chosen(tmp_path, volume):
    folder = write_slices(tmp_path / "many", series_of(volume))
    write_slices(
        folder, series_of(volume[:4, :3], SeriesNumber=12, modality="MR"), [f"m{n}" for n in range(4)], "1.2.9"
    )
    assert_refused(folder, "2 DICOM series", "#3 CT, 6 files of 4 x 5", "#12 MR, 4 files of 4 x 3")
    assert spatial_shape_of(f"{folder}#12") == spatial_shape_of(f"{folder}#1.2.9") == (4, 3, 4)
    assert read_image(f"{folder}#3").meta["modality_tag"] == "CT"
    assert stem_of(f"{folder}#12") == "many_12"
    assert_refused(f"{folder}#5", "has no series 5")


def test_a_missing_slice_is_interpolated_and_reported(tmp_path, volume, caplog):
    slices = series_of(volume)
    del slices[2]
    folder = write_slices(tmp_path / "ct", slices)
    assert spatial_shape_of(folder) == (4, 5, 6)
    with caplog.at_level(logging.WARNING):
        image = read_image(folder)[0].numpy().transpose(2, 1, 0)
    assert "1 of its slices are missing" in caplog.text
    np.testing.assert_allclose(image[2], (volume[1].astype(float) + volume[3]) / 2, atol=1e-3)
    np.testing.assert_array_equal(image[[0, 1, 3, 4, 5]], volume[[0, 1, 3, 4, 5]])


def test_a_gap_of_two_slices_is_refused(tmp_path, volume):
    slices = series_of(volume)
    del slices[2:4]
    assert_refused(write_slices(tmp_path / "ct", slices), "lacks slices", "6.00 mm", "2.00 mm")


def test_uneven_steps_put_values_where_they_lie(tmp_path, caplog):
    heights = np.array([0.0, 2.0, 4.3, 6.0, 8.0, 10.0])
    ramp = np.broadcast_to((100 * heights)[:, None, None], (6, 5, 4)).astype(np.int16)
    image = read_image(write_slices(tmp_path / "ct", series_of(ramp, OBLIQUE, heights=heights)))
    assert "unevenly spaced (steps of 1.70 to 2.30 mm)" in caplog.text
    np.testing.assert_allclose(image[0, 0, 0].numpy(), [0, 200, 400, 600, 800, 1000], atol=1e-3)


@pytest.mark.parametrize("tilt", [15.0, -20.0])
def test_a_landmark_in_a_tilted_series_lands_where_it_is(tmp_path, tilt, caplog):
    # a straight rod of Gaussian profile at x = 12 mm, y = 9 mm, along z, seen by slices that are sheared along y
    spacing, step, size = (0.7, 0.8), 2.0, 40
    columns, rows = np.meshgrid(np.arange(size), np.arange(size))
    slices = []
    for number in range(8):
        position = np.array([0.0, np.tan(np.radians(tilt)) * number * step, number * step])
        x, y = position[0] + columns * spacing[1], position[1] + rows * spacing[0]
        rod = 1000 * np.exp(-((x - 12) ** 2 + (y - 9) ** 2) / 8)
        slices.append(new_slice(np.rint(rod), position, spacing=spacing))
    image = read_image(write_slices(tmp_path / "ct", slices))
    (warning,) = read_image(tmp_path / "ct").meta["warnings"]
    assert warning in caplog.text.replace(f"{tmp_path}/", "")
    assert f"gantry tilt of {abs(tilt):.1f} degrees" in caplog.text
    affine = LPS_TO_RAS @ image.affine.numpy()
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes, np.eye(3), atol=1e-9)
    for depth in range(8):
        plane = image[0, :, :, depth].numpy().astype(float)
        centre = [(index * plane).sum() / plane.sum() for index in np.indices(plane.shape)]
        np.testing.assert_allclose((affine @ [*centre, depth, 1])[:3], [12, 9, depth * step], atol=0.02)


def test_rounded_positions_change_nothing(tmp_path, volume, caplog):
    slices = series_of(volume)
    slices[2].ImagePositionPatient[1] += 0.05
    slices[3].ImagePositionPatient[2] -= 0.03
    image = read_image(write_slices(tmp_path / "ct", slices))
    np.testing.assert_array_equal(image[0].numpy(), volume.transpose(2, 1, 0))
    assert not caplog.text


def test_two_frames_at_each_position_are_refused_as_4d(tmp_path, volume):
    slices = series_of(volume) + series_of(volume + 1)
    assert_refused(write_slices(tmp_path / "mr", slices), "is 4D and has 2 frames", "12 slices at 6 positions")


def test_a_slice_that_occurs_twice_is_refused(tmp_path, volume):
    slices = series_of(volume) + series_of(volume)[:1]
    assert_refused(write_slices(tmp_path / "ct", slices), "several slices at one position")


FAULTS = {
    "no position": ({"ImagePositionPatient": None}, "lacks the tag ImagePositionPatient"),
    "no orientation": ({"ImageOrientationPatient": None}, "lacks the tag ImageOrientationPatient"),
    "no spacing": ({"PixelSpacing": None}, "lacks the tag PixelSpacing"),
    "spacing of 0": ({"PixelSpacing": [0, 1]}, "PixelSpacing that is not positive"),
    "other spacing": ({"PixelSpacing": [1, 1]}, "slices of different spacing"),
    "other orientation": ({"ImageOrientationPatient": list(OBLIQUE)}, "slices of different orientation"),
    "inverted": ({"PhotometricInterpretation": "MONOCHROME1"}, "stored inverted"),
    "colour": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "is a colour picture"),
    "mosaic": ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "is a mosaic"),
    "mosaic of United Imaging": ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "VFRAME"]}, "is a mosaic"),
    "frames": ({"NumberOfFrames": 2}, "has 2 frames without positions"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_slice_is_named(tmp_path, volume, fault):
    tags, words = FAULTS[fault]
    slices = series_of(volume)
    slices[4] = new_slice(volume[4], (10, -20, 38), **tags)
    assert_refused(write_slices(tmp_path / "ct", slices), words)


def test_slices_of_different_size_in_a_gap_are_refused(tmp_path, volume):
    slices = series_of(volume)
    slices[2] = new_slice(volume[0, :3], (10, -20, 34))
    assert_refused(write_slices(tmp_path / "ct", slices), "different size (4 x 3, 4 x 5)")


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused_by_name(tmp_path, volume, fraction, capfd):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    content = (folder / "i002.dcm").read_bytes()
    (folder / "i002.dcm").write_bytes(content[: int(len(content) * fraction)])
    assert_refused(folder, "i002.dcm is damaged, cut short")
    assert capfd.readouterr() == ("", "")


def structured_report():
    report = new_slice(stored_volume()[0], modality="SR")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID = BasicTextSRStorage
    return report


def test_a_report_next_to_the_slices_is_left_out(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    write_slices(folder, [structured_report()], ["report.dcm"], uid="1.2.77")
    (folder / "notes.txt").write_text("no image")
    assert spatial_shape_of(folder) == (4, 5, 6)
    assert len(series_files(folder)) == 6


def test_a_folder_with_a_report_only_is_refused(tmp_path):
    folder = write_slices(tmp_path / "sr", [structured_report()])
    assert_refused(folder, "no DICOM image (only SR)")
    assert_refused(folder / "i000.dcm", "no DICOM image (only SR)")


def test_text_named_dcm_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_text("no image\n" * 100)
    assert_refused(tmp_path / "a.dcm", "damaged")
    assert_refused(tmp_path / "none.dcm", "does not exist")


def test_a_chosen_path_that_is_not_a_folder_is_refused(tmp_path):
    assert_refused(tmp_path / "none#3", "does not exist")


@pytest.mark.parametrize("in_reverse", [False, True])
def test_enhanced_multi_frame_file_is_read_by_the_position_of_each_frame(tmp_path, volume, in_reverse):
    image = new_slice(volume, NumberOfFrames=6, ImagePositionPatient=None, ImageOrientationPatient=None)
    del image.PixelSpacing
    frames = []
    for number in range(6)[:: -1 if in_reverse else 1]:
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[10.0, -20.0, 30.0 + 2 * number])
        frame.PixelValueTransformationSequence = group(RescaleSlope=1.0 + number, RescaleIntercept=5.0)
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = frames
    image.SharedFunctionalGroupsSequence = group(
        PlaneOrientationSequence=group(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=group(PixelSpacing=[0.7, 0.8]),
    )
    read = read_image(write_slices(tmp_path / "ct", [image]) / "i000.dcm")
    planes = volume[::-1] if in_reverse else volume
    expected = [plane * (1.0 + number) + 5 for number, plane in enumerate(planes)]
    np.testing.assert_array_equal(read[0].numpy(), np.stack(expected).transpose(2, 1, 0))
    np.testing.assert_allclose(read.affine.numpy()[:3, 2:], [[0, -10], [0, 20], [2, 30]], atol=1e-9)


@pytest.mark.parametrize("step", [4.0, -4.0])
def test_a_spect_tomogram_is_stacked_by_the_sign_of_its_step(tmp_path, volume, step):
    image = new_slice(volume, modality="NM", NumberOfFrames=6, ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "X"])
    image.DetectorInformationSequence = group(
        ImagePositionPatient=image.ImagePositionPatient, ImageOrientationPatient=image.ImageOrientationPatient
    )
    del image.ImagePositionPatient, image.ImageOrientationPatient
    image.SpacingBetweenSlices = step
    read = read_image(write_slices(tmp_path / "spect", [image]))
    np.testing.assert_array_equal(read[0].numpy(), volume[:: 1 if step > 0 else -1].transpose(2, 1, 0))
    assert read.affine.numpy()[2].tolist() == [0, 0, 4, 0 if step > 0 else -20]
    assert (read.meta["modality_tag"], read.meta["unit"]) == ("NM", "counts")


@pytest.mark.parametrize("compression", ["JPEG2000", "JPEG"])
def test_compressed_series_has_the_same_values(tmp_path, volume, compression):
    volume = np.tile(volume, (1, 8, 8))
    folder = tmp_path / "ct"
    folder.mkdir()
    for number, pixels in enumerate(volume):
        image = sitk.GetImageFromArray(pixels[None])
        tags = {"0008|0060": "CT", "0020|000e": "1.2.6", "0020|0032": f"0\\0\\{2 * number}", "0028|1053": "2"}
        tags |= {"0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "-10", "0010|0010": PLANTED[0]}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(folder / f"{number}.dcm"))
        writer.UseCompressionOn()
        writer.SetCompressor(compression)
        writer.Execute(image)
        assert dcmread(folder / f"{number}.dcm").file_meta.TransferSyntaxUID.is_encapsulated
    expected = sitk.GetArrayFromImage(sitk.ReadImage(sorted(map(str, folder.iterdir())))).T
    np.testing.assert_array_equal(read_image(folder)[0].numpy(), expected)


def compressed_frame(pixels, folder):
    """The bytes of one frame in JPEG 2000."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(folder / "frame.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG2000")
    writer.Execute(sitk.GetImageFromArray(pixels[None]))
    return next(encaps.generate_frames(dcmread(folder / "frame.dcm").PixelData, number_of_frames=1))


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
def test_compressed_frames_in_several_fragments_are_whole_frames(tmp_path, volume, table):
    volume = np.tile(volume, (1, 8, 8))
    image = new_slice(volume, NumberOfFrames=6, ImagePositionPatient=None, ImageOrientationPatient=None)
    image.SharedFunctionalGroupsSequence = group(PlaneOrientationSequence=group(ImageOrientationPatient=list(AXIAL)))
    image.PerFrameFunctionalGroupsSequence = Sequence(
        group(PlanePositionSequence=group(ImagePositionPatient=[10.0, -20.0, 30.0 + 2 * number]))[0]
        for number in range(6)
    )
    frames = [compressed_frame(pixels, tmp_path) for pixels in volume]
    (tmp_path / "frame.dcm").unlink()
    if table == "extended":
        content, image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = encaps.encapsulate_extended(frames)
    else:
        content = encaps.encapsulate(frames, fragments_per_frame=3, has_bot=table == "basic")
    image.PixelData = content
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    np.testing.assert_array_equal(planes_in(write_slices(tmp_path / "ct", [image])), volume)


def test_run_length_encoded_series_has_the_stored_values(tmp_path, volume):
    slices = series_of(volume, RescaleSlope=2.0, RescaleIntercept=-7.0)
    for image in slices:
        image.compress(RLELossless, generate_instance_uid=False)
    expected = 2.0 * volume.transpose(2, 1, 0) - 7
    np.testing.assert_array_equal(read_image(write_slices(tmp_path / "ct", slices))[0].numpy(), expected)


def test_folder_of_a_series_is_one_volume_and_a_folder_of_nifti_is_not(tmp_path, volume):
    series = write_slices(tmp_path / "b" / "case1", series_of(volume))
    (tmp_path / "a").mkdir()
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a" / "case1.nii.gz")
    assert is_volume(series)
    assert is_series(series / "i000.dcm")
    assert not is_series(tmp_path / "a")
    assert not is_series(tmp_path)
    assert [pair.name for pair in fusion_pairs(series, series)] == ["case1"]
    (pair,) = fusion_pairs(tmp_path / "a", tmp_path / "b")
    assert (pair.name, pair.image_b) == ("case1", series)


def test_hash_of_a_series_depends_on_its_bytes_and_not_on_its_names(tmp_path, volume):
    folder = write_slices(tmp_path / "a", series_of(volume))
    before = sha256_of(folder)
    assert sha256_of(folder / "i001.dcm") == before
    (folder / "i000.dcm").rename(folder / "z.dcm")
    assert sha256_of(folder) == before
    content = (folder / "z.dcm").read_bytes()
    (folder / "z.dcm").write_bytes(content[:-1] + b"\x11")
    assert sha256_of(folder) != before


REAL = {
    "dicom_ct_head": ("CT", (64, 64, 93), (3.2, 3.2, 1.5), 0.0),
    "dicom_mr_brain_oblique": ("MR", (256, 256, 20), (0.859375, 0.859375, 7.0), 7.7),
    "dicom_pet_head": ("PT", (128, 128, 70), (3.5378, 3.5378, 3.375), 0.0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REAL)
def test_real_series_read_as_simpleitk_reads_them(shared_data, name):
    tag, shape, spacing, obliqueness = REAL[name]
    folder = shared_data / "data" / "volumes" / name
    image = read_image(folder)
    array, affine = itk_reference(folder)
    assert image.meta["modality_tag"] == tag
    assert tuple(image.shape[1:]) == shape
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing, atol=0.002)
    assert np.degrees(nib.affines.obliquity(image.affine.numpy())).max() == pytest.approx(obliqueness, abs=0.05)
    np.testing.assert_allclose(image.affine.numpy(), affine, atol=1e-3)
    np.testing.assert_allclose(image[0].numpy(), array, rtol=1e-6, atol=0)


def test_values_of_read_series_are_lps(tmp_path, volume):
    _, affine, tag, value_range = read_series(write_slices(tmp_path / "ct", series_of(volume, modality="XYZ")))
    np.testing.assert_allclose(affine[:3, 3], [10, -20, 30])
    assert tag is None
    assert value_range is None
