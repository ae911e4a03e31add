"""The factor to standardised uptake against values by hand."""

import pytest
from dicom_samples import group, series_of, stored_volume, write_slices

from monai_s3im.formats.dicom.suv import suv_factor
from monai_s3im.formats.reading import read_image

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
    "no half-life": ({"drug": {"RadionuclideHalfLife": None}}, None),
    "no injection": ({"drug": {"RadiopharmaceuticalStartTime": None}}, None),
    "no scan": ({"SeriesTime": None, "AcquisitionTime": None}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_factor_is_that_by_hand(tmp_path, case):
    tags, expected = CASES[case]
    assert suv_factor(pet(tmp_path / "pet", **tags)) == (expected and pytest.approx(expected, rel=1e-6))


def test_factor_comes_with_the_image_and_its_values_stay_those_of_the_file(tmp_path):
    image = read_image(pet(tmp_path / "pet"))
    assert image.meta["suv_factor"] == pytest.approx(HALF)
    assert float(image.max()) == abs(stored_volume()).max()
    assert "suv_factor" not in read_image(write_slices(tmp_path / "mr", series_of(stored_volume(), modality="MR"))).meta
