"""The unit of a PET, and the factor to standardised uptake, against values by hand."""

import nibabel as nib
import numpy as np
import pytest
from dicom_samples import group, series_of, stored_volume, write_slices
from sample_images import write_volume

from monai_s3im import evaluate, fuse
from monai_s3im.errors import InputError
from monai_s3im.formats.dicom import suv
from monai_s3im.formats.dicom.suv import uptake_of
from monai_s3im.formats.reading import read_image
from monai_s3im.record import FusionRecord
from monai_s3im.transforms import NormalizeModality
from monai_s3im.transforms.loading import LoadSourcesd
from monai_s3im.transforms.meta import like

DOSE, WEIGHT, HALF_LIFE = 400e6, 80.0, 6000.0  # Bq, kg, s
WHOLE = WEIGHT * 1000 / DOSE  # 0.0002: without decay
HALF = 2 * WHOLE  # one half-life, 100 minutes, after the injection


def pet(folder, drug=None, private=(), **tags):
    """A scan at noon, 100 minutes after the injection."""
    injection = {"RadionuclideTotalDose": DOSE, "RadionuclideHalfLife": HALF_LIFE}
    injection["RadiopharmaceuticalStartTime"] = "102000"
    slices = series_of(abs(stored_volume()), modality="PT")
    standard = {"Units": "BQML", "DecayCorrection": "START", "PatientWeight": WEIGHT, "SeriesDate": "20200102"}
    standard |= {"SeriesTime": "120000", "AcquisitionDate": "20200102", "AcquisitionTime": "120000.000"}
    for number, image in enumerate(slices):
        for name, value in {**standard, **tags}.items():
            if value is not None:
                setattr(image, name, value(number) if callable(value) else value)
        values = {name: value for name, value in {**injection, **(drug or {})}.items() if value is not None}
        image.RadiopharmaceuticalInformationSequence = group(**values)
        for block, creator, element, vr, value in private:
            image.private_block(block, creator, create=True).add_new(element, vr, value)
    return write_slices(folder, slices)


SUV, ACTIVITY = (0x7053, "Philips PET Private Group", 0x00, "DS"), (0x7053, "Philips PET Private Group", 0x09, "DS")
CASES = {
    "decay since the injection": ({}, HALF),
    "all corrections": ({"CorrectedImage": ["DECY", "ATTN", "SCAT"]}, HALF),
    "corrected to the injection": ({"DecayCorrection": "ADMIN"}, WHOLE),
    "not corrected": ({"DecayCorrection": "NONE"}, None),
    "injected the evening before": (  # at 22:20, scanned at 00:00
        {
            "SeriesTime": "000000",
            "AcquisitionTime": "000000",
            "drug": {"RadiopharmaceuticalStartTime": "222000"},
        },
        HALF,
    ),
    "date of the injection": (
        {"drug": {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20200102084000"}},
        4 * WHOLE,
    ),
    "a series made later, beds one after the other": (
        {"SeriesTime": "150000", "AcquisitionTime": lambda number: f"12{number:02}00"},
        HALF,
    ),
    "beds one after the other": ({"AcquisitionTime": lambda number: f"12{number:02}00"}, HALF),
    "a series of GE made later": (
        {
            "SeriesTime": "150000",
            "AcquisitionTime": "130000",
            "private": [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20200102120000.00")],
        },
        HALF,
    ),
    "already SUV": ({"Units": "GML"}, 1.0),
    "SUV by lean body mass": ({"Units": "GML", "SUVType": "LBM"}, None),
    "Philips, to SUV": ({"Units": "CNTS", "private": [(*SUV, "0.00025"), (*ACTIVITY, "3")]}, 0.00025),
    "Philips, to activity": ({"Units": "CNTS", "private": [(*SUV, "0"), (*ACTIVITY, "3")]}, 3 * HALF),
    "counts": ({"Units": "CNTS"}, None),
    "no weight": ({"PatientWeight": None}, None),
    "weight of 0": ({"PatientWeight": 0}, None),
    "no dose": ({"drug": {"RadionuclideTotalDose": None}}, None),
    "dose in MBq": ({"drug": {"RadionuclideTotalDose": 400}}, None),
    "weight in g": ({"PatientWeight": 80_000}, None),
    "injected an hour after the scan": ({"drug": {"RadiopharmaceuticalStartTime": "130000"}}, None),
    "no half-life": ({"drug": {"RadionuclideHalfLife": None}}, None),
    "no injection": ({"drug": {"RadiopharmaceuticalStartTime": None}}, None),
    "no scan": ({"SeriesTime": None, "AcquisitionTime": None}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_factor_is_that_by_hand(tmp_path, case):
    tags, expected = CASES[case]
    found = uptake_of(pet(tmp_path / "pet", **tags))
    assert found.suv_factor == (expected and pytest.approx(expected, rel=1e-6))
    assert (found.suv_lacks == "") == (expected is not None)


@pytest.mark.parametrize(
    ("units", "unit"), [("BQML", "Bq/ml"), ("CNTS", "counts"), ("GML", "SUV"), ("PROPCPS", None), (None, None)]
)
def test_unit_is_that_of_the_header(tmp_path, units, unit):
    assert uptake_of(pet(tmp_path / "pet", Units=units)).unit == unit
    assert uptake_of(pet(tmp_path / "lean", Units="GML", SUVType="LBM")).unit is None


@pytest.mark.parametrize(
    ("tags", "lacks"),
    [
        ({"PatientWeight": None}, "lacks PatientWeight"),
        ({"CorrectedImage": ["DECY", "SCAT"]}, "has no attenuation correction (CorrectedImage lacks ATTN)"),
        ({"CorrectedImage": "DECY"}, "has no attenuation correction (CorrectedImage lacks ATTN)"),
        ({"drug": {"RadionuclideTotalDose": None}}, "lacks RadionuclideTotalDose"),
        ({"drug": {"RadiopharmaceuticalStartTime": None}}, "lacks RadiopharmaceuticalStartTime"),
        ({"drug": {"RadiopharmaceuticalStartDateTime": "20200103000000"}}, "has an injection time after the scan"),
        ({"Units": "GML", "SUVType": "PLANTED"}, "has SUV normalised by something other than body weight (other)"),
    ],
)
def test_what_the_header_lacks_is_named(tmp_path, tags, lacks):
    assert uptake_of(pet(tmp_path / "pet", **tags)).suv_lacks == lacks


def test_enhanced_pet_is_corrected_to_the_time_that_it_names(tmp_path):
    """Dose halved twice, from 8:40 to 12:00."""
    folder = pet(
        tmp_path / "pet",
        Units=None,
        DecayCorrection=None,
        DecayCorrected="YES",
        DecayCorrectionDateTime="20200102120000",
        SharedFunctionalGroupsSequence=group(PixelValueTransformationSequence=group(RescaleType="BQML")),
        drug={"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20200102084000"},
    )
    assert uptake_of(folder).suv_factor == pytest.approx(4 * WHOLE)
    assert uptake_of(folder).unit == "Bq/ml"


def test_unit_and_factor_come_with_the_image_and_its_values_stay_those_of_the_file(tmp_path):
    image = read_image(pet(tmp_path / "pet"))
    assert (image.meta["unit"], image.meta["suv_factor"]) == ("Bq/ml", pytest.approx(HALF))
    assert float(image.max()) == abs(stored_volume()).max()
    mr = read_image(write_slices(tmp_path / "mr", series_of(stored_volume(), modality="MR")))
    assert not {"unit", "suv_factor", "suv_lacks"} & mr.meta.keys()


def test_a_real_series_has_the_suv_of_another_program(shared_data):
    """66.2 kg, 381.47 MBq at 11:39:00, scanned at 13:02:44.678, half-life 6586.2 s; the maxima by pysuv 0.1.0."""
    image = read_image(shared_data / "data" / "volumes" / "dicom_pet_head")
    factor = 66.2 * 1000 / (381.47e6 * 2 ** (-5024.678 / 6586.2))
    assert image.meta["suv_factor"] == pytest.approx(factor, rel=1e-9)
    uptake = image[0].numpy() * image.meta["suv_factor"]
    assert uptake.max() == pytest.approx(7.394453455075906, rel=1e-6)


def test_only_the_first_file_is_read_again_for_suv(tmp_path, monkeypatch):
    folder, read = pet(tmp_path / "pet"), []
    real = suv._more_of
    monkeypatch.setattr(suv, "_more_of", lambda file: read.append(file) or real(file))
    uptake_of(folder)
    assert read == [folder / "i000.dcm"]


def test_in_suv_a_pet_is_fused_as_in_its_own_unit_and_the_record_says_so(tmp_path):
    """The range 0 to 0.2 SUV is 0 to 500 Bq/ml, at 0.0004 SUV for one Bq/ml."""
    sources = write_slices(tmp_path / "mr", series_of(stored_volume(seed=1), modality="MR")), pet(tmp_path / "pet")
    in_suv, as_stored = tmp_path / "suv.nii.gz", tmp_path / "stored.nii.gz"
    fuse(*sources, in_suv, device="cpu", unit="suv", range_b="0,0.2")
    fuse(*sources, as_stored, device="cpu", range_b=(0, 500))
    np.testing.assert_allclose(*(nib.load(path).dataobj.get_unscaled()["R"] for path in (in_suv, as_stored)), atol=1)
    for path, range_, unit in ((in_suv, [0, 0.2], "SUV"), (as_stored, [0, 500], "Bq/ml")):
        source = FusionRecord.read(path).sources["image_b"]
        assert (source.intensity_range, source.unit) == (range_, unit)
    values = [evaluate(path, *sources).mean for path in (in_suv, as_stored)]
    assert values[0] == pytest.approx(values[1], rel=1e-3, nan_ok=True)


def test_one_range_in_suv_makes_patients_with_different_dose_and_weight_comparable(tmp_path):
    """Twice the weight at half the activity in the image is the same uptake."""
    other = {"PatientWeight": 2 * WEIGHT, "RescaleSlope": 0.5, "RescaleIntercept": 0}
    found = []
    for name, tags in (("one", {}), ("other", other)):
        loaded = LoadSourcesd(["image"], unit="suv")({"image": pet(tmp_path / name, **tags)})["image"]
        found.append(NormalizeModality("pet", limits="0,6")(loaded))
    np.testing.assert_allclose(found[0].numpy(), found[1].numpy(), rtol=1e-6)
    by_hand = abs(stored_volume()).max() * HALF / 6
    assert float(found[0].max()) == pytest.approx(by_hand)


def test_suv_is_refused_where_no_header_gives_it(tmp_path):
    mr = write_slices(tmp_path / "mr", series_of(stored_volume(seed=1), modality="MR"))
    light = pet(tmp_path / "pet", PatientWeight=None)
    volume = write_volume(tmp_path / "pet.nii.gz", 0)
    with pytest.raises(InputError, match=r"pet cannot be given in SUV, its header lacks PatientWeight: leave the unit"):
        fuse(mr, light, device="cpu", unit="suv")
    with pytest.raises(InputError, match=r"mr and .*pet.nii.gz cannot be given in SUV, which needs the headers of a"):
        fuse(mr, volume, device="cpu", unit="suv", modality_b="pet")
    with pytest.raises(InputError, match="unknown unit 'kg': choose one of file, suv"):
        fuse(mr, light, device="cpu", unit="kg")


def test_a_range_in_suv_for_values_in_activity_says_what_to_do(tmp_path):
    image = read_image(pet(tmp_path / "pet"))
    values = image.as_tensor() * 1000
    stored = like(values, image)
    with pytest.raises(InputError, match="shows none of them: give it in their unit, or choose the unit suv"):
        NormalizeModality(limits="0,6")(stored)
    values[0, 0, 0, 0] = 0
    stored = like(values, image)
    (warning,) = NormalizeModality(limits="0,6")(stored).meta["warnings"]
    assert "Bq/ml, is far from them: check that it is in their unit, or choose the unit suv" in warning
