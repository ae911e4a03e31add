"""The volumes of a DICOM series: the right one of several, with every slice in place."""

import numpy as np
import pytest
from dicom_samples import AXIAL, group, new_slice, planes_in, refusal_of, series_of, stored_volume, write_slices
from pydicom.dataset import Dataset

from monai_s3im.formats.dicom.series import series_files, series_name
from monai_s3im.formats.reading import read_image, spatial_shape_of
from monai_s3im.transforms import NormalizeModality


@pytest.fixture
def volume():
    return stored_volume()


def tomogram(pixels, image_type="RECON TOMO", **tags):
    """A multi-frame file of nuclear medicine; the first slice at z = 30, 4 mm apart."""
    image = new_slice(pixels, modality="NM", NumberOfFrames=len(pixels))
    image.ImageType = ["ORIGINAL", "PRIMARY", image_type, "EMISSION"]
    image.DetectorInformationSequence = group(
        ImagePositionPatient=image.ImagePositionPatient, ImageOrientationPatient=list(AXIAL)
    )
    del image.ImagePositionPatient, image.ImageOrientationPatient
    image.SpacingBetweenSlices = 4.0
    for name, value in tags.items():
        setattr(image, name, value)
    return image


def test_the_slice_vector_places_the_frames_of_a_tomogram(tmp_path, volume):
    order = [3, 1, 6, 2, 5, 4]
    frames = volume[np.array(order) - 1]
    folder = write_slices(tmp_path / "nm", [tomogram(frames, SliceVector=order)])
    np.testing.assert_array_equal(planes_in(folder), volume)


@pytest.mark.parametrize("between", [None, 4.0, -4.0])
def test_a_tomogram_without_the_step_of_its_slices_gets_a_warning(tmp_path, volume, between):
    """The thickness of new_slice() is 2 mm."""
    image = tomogram(volume, SliceVector=[*range(1, 7)], SpacingBetweenSlices=between)
    read = read_image(write_slices(tmp_path / "nm", [image]))
    step = float(np.linalg.norm(read.affine[:3, 2]))
    assert step == pytest.approx(2 if between is None else 4)
    warnings = read.meta.get("warnings", [])
    assert len(warnings) == (between is None)
    assert all(
        "does not say how far apart its slices are" in warning and ", 2 mm, is used instead" in warning
        for warning in warnings
    )


@pytest.mark.parametrize("vector", ["EnergyWindowVector", "TimeSlotVector", "PhaseVector"])
def test_two_volumes_in_a_tomogram_are_two_and_one_is_chosen(tmp_path, volume, vector):
    frames = np.stack([volume, volume // 2], axis=1).reshape(-1, *volume.shape[1:])  # slice by slice
    vectors = {"SliceVector": np.repeat(range(1, 7), 2).tolist(), vector: [1, 2] * 6}
    folder = write_slices(tmp_path / "nm", [tomogram(frames, **vectors)])
    assert "is 4D and has 2 volumes" in refusal_of(folder)
    np.testing.assert_array_equal(planes_in(f"{folder}#1"), volume)
    np.testing.assert_array_equal(planes_in(f"{folder}#3#2"), volume // 2)


@pytest.mark.parametrize(
    ("image_type", "words"), [("TOMO", "not reconstructed"), ("STATIC", "not reconstructed slices")]
)
def test_projections_and_planar_frames_are_refused(tmp_path, volume, image_type, words):
    folder = write_slices(tmp_path / "nm", [tomogram(volume, image_type, RotationVector=[1] * 6)])
    assert words in refusal_of(folder)


def test_a_segmentation_is_refused_by_name(tmp_path, volume):
    folder = write_slices(tmp_path / "seg", series_of(volume, modality="SEG"))
    assert "is a segmentation, which has no intensities: give the series that it belongs to" in refusal_of(folder)


def test_private_groups_of_a_frame_count_for_nothing(tmp_path, volume):
    image = new_slice(volume, NumberOfFrames=6, ImagePositionPatient=None, ImageOrientationPatient=None)
    del image.PixelSpacing
    frames = []
    for number in range(6):
        frame = Dataset()
        private = group(RescaleSlope=5.0, RescaleIntercept=0.0, PixelSpacing=[9.0, 9.0], ImagePositionPatient=[0, 0, 0])
        frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", private)
        frame.PlanePositionSequence = group(ImagePositionPatient=[10.0, -20.0, 30.0 + 2 * number])
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = frames
    image.SharedFunctionalGroupsSequence = group(
        PlaneOrientationSequence=group(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=group(PixelSpacing=[0.7, 0.8], SliceThickness=2.0),
        PixelValueTransformationSequence=group(RescaleSlope=2.0, RescaleIntercept=-7.0),
    )
    read = read_image(write_slices(tmp_path / "ct", [image]))
    np.testing.assert_array_equal(read[0].numpy(), 2.0 * volume.transpose(2, 1, 0) - 7)
    np.testing.assert_allclose(np.abs(np.diag(read.affine.numpy())[:3]), [0.8, 0.7, 2.0], atol=1e-9)


def thin_and_thick(thin, thick, thin_step, thick_step):
    """Heights and thicknesses of slices that touch each other; the value of a slice is ten times its height."""
    start = (thin - 1) * thin_step + (thin_step + thick_step) / 2
    heights = np.concatenate([np.arange(thin) * thin_step, start + np.arange(thick) * thick_step])
    pixels = np.broadcast_to(np.rint(10 * heights)[:, None, None], (len(heights), 5, 4)).astype(np.int16).copy()
    return heights, [thin_step] * thin + [thick_step] * thick, pixels


@pytest.mark.parametrize("has_thickness", [True, False])
@pytest.mark.parametrize("is_upside_down", [False, True])
@pytest.mark.parametrize(("thin", "thick", "steps"), [(20, 11, (2.5, 7.5)), (5, 13, (2.5, 7.5)), (14, 14, (4.0, 7.0))])
def test_thin_and_thick_slices_that_touch_are_one_whole_volume(
    tmp_path, thin, thick, steps, is_upside_down, has_thickness, caplog
):
    heights, thicknesses, pixels = thin_and_thick(thin, thick, *steps)
    pixels[2, 1, 1] = 5000  # a plate in one thin slice
    slices = series_of(pixels, heights=-heights if is_upside_down else heights)
    for image, thickness in zip(slices, thicknesses, strict=True):
        image.SliceThickness = thickness if has_thickness else None
    read = read_image(write_slices(tmp_path / "ct", slices))
    assert "its slices are unevenly spaced" in caplog.text
    assert "missing" not in caplog.text
    assert abs(read.affine.numpy()[2, 2]) == pytest.approx(steps[0])
    z = read.affine.numpy()[2, 3] - 30 + read.affine.numpy()[2, 2] * np.arange(read.shape[3])
    inside = np.clip(np.abs(z) * (z * (-1 if is_upside_down else 1) > 0), 0, heights[-1])
    np.testing.assert_allclose(read[0, 0, 0].numpy(), 10 * inside, atol=0.6)  # stored values are rounded
    assert np.count_nonzero(read[0, 1, 1].numpy() == 5000) == 1
    assert np.abs(z[np.argmax(read[0, 1, 1].numpy())]) == pytest.approx(2 * steps[0])


def test_a_gap_wider_than_its_slices_are_thick_is_refused(tmp_path):
    heights, thicknesses, pixels = thin_and_thick(8, 8, 2.0, 4.0)
    keep = [number for number in range(16) if number not in {11, 12}]
    slices = series_of(pixels[keep], heights=heights[keep])
    for image, number in zip(slices, keep, strict=True):
        image.SliceThickness = thicknesses[number]
    assert "lacks slices: one gap is 12.00 mm although slices are 4.00 mm apart" in refusal_of(
        write_slices(tmp_path / "ct", slices)
    )


@pytest.mark.parametrize("missing", [(1, 2), (7, 8), (13, 14)])
def test_a_gap_between_slices_of_unknown_thickness_is_refused(tmp_path, missing):
    heights, _, pixels = thin_and_thick(8, 8, 2.0, 2.0)
    keep = [number for number in range(16) if number not in missing]
    slices = series_of(pixels[keep], heights=heights[keep], SliceThickness=None)
    assert "lacks slices: one gap is 6.00 mm although slices are 2.00 mm apart" in refusal_of(
        write_slices(tmp_path / "ct", slices)
    )


def numbered(slices, **tags):
    for number, image in enumerate(slices):
        for name, value in tags.items():
            setattr(image, name, value(number) if callable(value) else value)
    return slices


def test_two_acquisitions_that_interleave_are_two_volumes(tmp_path, volume):
    first = numbered(series_of(volume), AcquisitionNumber=1)
    second = numbered(series_of(volume // 2, first=(10.0, -20.0, 31.0)), AcquisitionNumber=2)
    folder = write_slices(tmp_path / "ct", first + second)
    message = refusal_of(folder)
    assert "2 volumes" in message
    assert "acquisition 2" in message
    np.testing.assert_array_equal(planes_in(f"{folder}#2"), volume // 2)


def test_odd_and_even_slices_of_two_acquisitions_that_touch_are_one_volume(tmp_path, volume):
    slices = numbered(series_of(volume), AcquisitionNumber=lambda number: 1 + number % 2)
    np.testing.assert_array_equal(planes_in(write_slices(tmp_path / "mr", slices)), volume)


CAUSES = {
    "echo time 90 ms": lambda image, frame: setattr(image, "EchoTime", [10.0, 90.0][frame]),
    "b-value 1000": lambda image, frame: setattr(image, "DiffusionBValue", [0.0, 1000.0][frame]),
    "time 2": lambda image, frame: setattr(image, "TemporalPositionIdentifier", frame + 1),
    "image type ORIGINAL\\PRIMARY\\P": lambda image, frame: setattr(
        image, "ImageType", ["ORIGINAL", "PRIMARY", "MP"[frame]]
    ),
    "acquisition time 2 of 2": lambda image, frame: setattr(image, "AcquisitionTime", ["100000.5", "100001"][frame]),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_one_volume_of_a_4d_series_is_chosen_by_its_number(tmp_path, volume, cause):
    frames = [series_of(volume), series_of(volume + 1)]
    for frame, slices in enumerate(frames):
        for image in slices:
            CAUSES[cause](image, frame)
    folder = write_slices(tmp_path / "mr", [*frames[1], *frames[0]])
    assert f"#2 {cause}, 6 slices of 4 x 5" in refusal_of(folder)
    np.testing.assert_array_equal(planes_in(f"{folder}#1"), volume)
    np.testing.assert_array_equal(planes_in(f"{folder}#2"), volume + 1)
    np.testing.assert_array_equal(planes_in(f"{folder}#3#2"), volume + 1)
    np.testing.assert_array_equal(planes_in(f"{folder / 'i000.dcm'}#2"), volume + 1)
    assert len(series_files(f"{folder}#2")) == 6
    assert series_name(f"{folder}#3#2") == "mr_3_2"
    assert "does not exist" in refusal_of(f"{folder}#3#4")


def test_slices_with_times_of_their_own_are_one_volume(tmp_path, volume):
    slices = numbered(series_of(volume), AcquisitionTime=lambda number: f"1000{number:02}", TriggerTime=float)
    np.testing.assert_array_equal(planes_in(write_slices(tmp_path / "mr", slices)), volume)


def test_a_number_behind_a_file_of_a_3d_series_is_refused(tmp_path, volume):
    folder = write_slices(tmp_path / "ct", series_of(volume))
    assert "the series is not 4D: leave #3 out" in refusal_of(f"{folder / 'i000.dcm'}#3")
    assert spatial_shape_of(f"{folder}#3") == (4, 5, 6)


def dose_grid(stored, **tags):
    """A dose grid of 32 bits, in 1/100 Gy; the first frame at z = 30."""
    image = new_slice(
        stored, (10, -20, 30), modality="RTDOSE", NumberOfFrames=len(stored), DoseUnits="GY", DoseSummationType="PLAN"
    )
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 32, 32, 31, 0
    image.PixelData, image.SliceThickness = stored.astype("<u4").tobytes(), None
    image.DoseGridScaling, image.GridFrameOffsetVector = 0.01, [3.0 * frame for frame in range(len(stored))]
    for name, value in tags.items():
        setattr(image, name, value)
    return image


DOSE = np.random.default_rng(3).integers(0, 7000, (6, 5, 4))


@pytest.mark.parametrize(
    ("offsets", "orientation", "turned"),
    [
        ([0.0, 3.0, 6.0, 9.0, 12.0, 15.0], AXIAL, False),
        ([0.0, -3.0, -6.0, -9.0, -12.0, -15.0], AXIAL, True),
        ([30.0, 33.0, 36.0, 39.0, 42.0, 45.0], AXIAL, False),  # the z of each frame
        ([0.0, 3.0, 6.0, 9.0, 12.0, 15.0], (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), False),
    ],
)
def test_a_dose_grid_is_a_volume_in_gray(tmp_path, offsets, orientation, turned):
    image = dose_grid(DOSE, GridFrameOffsetVector=offsets, ImageOrientationPatient=list(orientation))
    read = read_image(write_slices(tmp_path / "dose", [image]))
    stored = DOSE[::-1] if turned else DOSE
    np.testing.assert_allclose(read[0].numpy(), stored.T * 0.01, rtol=1e-6)
    assert (read.meta["modality_tag"], read.meta["unit"]) == ("RTDOSE", "Gy")
    normal = np.cross(orientation[:3], orientation[3:])
    first = np.array([10.0, -20.0, 30.0]) + (min(np.array(offsets) - offsets[0]) * normal)
    np.testing.assert_allclose(read.affine[:3, 3], first * [-1, -1, 1], atol=1e-6)
    np.testing.assert_allclose(read.affine[:3, 2], 3 * normal * [-1, -1, 1], atol=1e-6)
    assert NormalizeModality()(read).meta["modality"] == "dose"


def test_doses_of_the_plan_and_of_a_beam_in_one_series_are_two_volumes(tmp_path):
    folder = write_slices(tmp_path / "dose", [dose_grid(DOSE), dose_grid(DOSE // 3, DoseSummationType="BEAM")])
    assert "#1 dose of beam, 6 slices of 4 x 5; #2 dose of plan, 6 slices" in refusal_of(folder)
    np.testing.assert_allclose(planes_in(f"{folder}#2"), DOSE * 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"DoseUnits": "RELATIVE"}, "has a dose in percent: give one in Gy"),
        ({"DoseGridScaling": None}, "lacks the tag DoseGridScaling"),
        ({"GridFrameOffsetVector": [5.0, 8.0, 11.0, 14.0, 17.0, 20.0]}, "GridFrameOffsetVector that cannot be used"),
        ({"GridFrameOffsetVector": [0.0, 3.0]}, "GridFrameOffsetVector that cannot be used"),
    ],
)
def test_a_dose_that_cannot_be_placed_or_is_not_a_dose_in_gray_is_refused(tmp_path, tags, words):
    assert words in refusal_of(write_slices(tmp_path / "dose", [dose_grid(DOSE, **tags)]))
