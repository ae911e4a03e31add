import json
import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_s3im.errors import InputError
from monai_s3im.transforms import DescribeSourcesd, NormalizeModality, NormalizeModalityd


def a_ct(*values):
    """A volume with air in one corner and the values from another on."""
    volume = torch.full((1, 4, 4, 4), -1000.0)
    volume[0, 3, 3, : len(values)] = torch.tensor([float(value) for value in values])
    return MetaTensor(volume)


def a_picture(shape=(1, 2, 3), value_range=255.0):
    return MetaTensor(torch.full(shape, 51.0), meta={"value_range": value_range})


def test_brain_window_of_a_ct():
    scaled = NormalizeModality("ct", "brain")(a_ct(0, 40, 80))
    assert scaled[0, 3, 3, :3].tolist() == [0.0, 0.5, 1.0]
    assert scaled.meta["intensity_range"] == (0.0, 80.0)
    assert scaled.meta["modality"] == "ct"


def test_values_beyond_the_window_are_not_clipped_yet_so_that_resampling_stays_linear():
    scaled = NormalizeModality("ct", "brain")(a_ct(160))
    assert scaled[0, 3, 3, 0] == 2
    assert scaled.amin() == -12.5


def test_a_ct_that_is_not_in_hu_is_reported_and_scaled_by_percentiles(caplog):
    shifted = MetaTensor(torch.arange(1000.0).reshape(1, 10, 10, 10), meta={"filename_or_obj": "case7.nii.gz"})
    with caplog.at_level(logging.WARNING, "monai_s3im"):
        scaled = NormalizeModality("ct")(shifted)
    assert "case7.nii.gz is not in HU" in caplog.text
    assert scaled.meta["intensity_range"] == pytest.approx((9.99, 995.28), abs=1e-3)
    assert scaled.meta["modality"] == "ct"


HEAD = np.where(
    np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) < 9, 40 + 10 * np.sin(np.indices((24, 24, 24))[0]), -1000.0
).astype(np.float32)


@pytest.mark.parametrize("window", ["soft_tissue", "brain", "-160,240"])
@pytest.mark.parametrize("change", [lambda hu: hu.clip(-200, 300), lambda hu: np.where(hu > -500, hu, 0)])
def test_a_window_that_the_user_names_is_applied_to_every_ct(window, change, caplog):
    expected = NormalizeModality("ct", window)(MetaTensor(HEAD[None]))
    found = NormalizeModality("ct", window)(MetaTensor(change(HEAD)[None]))
    assert found.meta["intensity_range"] == expected.meta["intensity_range"]
    tissue = torch.as_tensor(HEAD[None] > -500)
    assert torch.equal(found.as_tensor()[tissue], expected.as_tensor()[tissue])
    assert expected.meta["warnings"] == []
    (warning,) = found.meta["warnings"]
    lower, upper = found.meta["intensity_range"]
    assert warning in caplog.text
    assert f"is not in HU (no air near -1000): the window {lower:g} to {upper:g} is applied" in warning


@pytest.mark.parametrize("padding", [-2000.0, -3024.0, 63536.0, 65535.0])
@pytest.mark.parametrize(("name", "scale"), [("ct", 1.0), ("mr", 2.0), ("pet", 2.0)])
def test_padding_becomes_background(name, scale, padding):
    """Without padding the darkest voxel there is 0 (CT: -1000 HU), and nothing else may change."""
    measured = HEAD if name == "ct" else np.where(HEAD > -500, scale * (HEAD + 100), 0).astype(np.float32)
    corner = np.zeros(HEAD.shape, bool)
    corner[:6, :6] = True
    image = NormalizeModality(name)(MetaTensor(np.where(corner, padding, measured)[None].astype(np.float32)))
    lower, upper = image.meta["intensity_range"]
    expected = np.where(corner, measured.min(), measured)
    np.testing.assert_allclose(image.numpy()[0], (expected - lower) / (upper - lower), rtol=1e-5, atol=1e-6)


def test_nan_is_not_a_value_and_stays_out_of_the_range(caplog):
    """NaN is replaced with the mean of the neighbours that have a value, so that interpolation meets no edge."""
    measured = np.random.default_rng(0).uniform(100, 900, (1, 9, 9, 9)).astype(np.float32)
    holed = measured.copy()
    holed[0, 5:] = np.nan
    with caplog.at_level(logging.INFO, "monai_s3im"):
        found = NormalizeModality("mr")(MetaTensor(holed))
    assert "a volume has no value (NaN) in 324 of 729 voxels: not covered" in caplog.text
    assert found.meta["intensity_range"] == NormalizeModality("mr")(MetaTensor(measured[:, :5])).meta["intensity_range"]
    assert torch.equal(found.meta["no_data"], torch.as_tensor(np.isnan(holed)))
    lower, upper = found.meta["intensity_range"]
    values = found.numpy() * (upper - lower) + lower
    np.testing.assert_allclose(values[0, :5], measured[0, :5], rtol=1e-5)
    assert values[0, 5, 4, 4] == pytest.approx(measured[0, 4, 3:6, 3:6].mean(), rel=1e-5)
    np.testing.assert_allclose(values[0, 6:], measured[0, :5].min(), rtol=1e-4)


def test_a_guess_is_reported(caplog):
    with caplog.at_level(logging.INFO, "monai_s3im"):
        assert NormalizeModality(window="brain")(a_ct(0, 1500)).meta["modality"] == "ct"
        unknown = NormalizeModality(option="modality_b")(MetaTensor(torch.rand(1, 4, 4, 4)))
    warning = (
        "a volume has an unknown modality (not given by header, name or values) and gets no colour: name its "
        "modality (--modality-b or modality_b)"
    )
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "a volume is treated as CT because of its values: name its modality if that is wrong"),
        ("WARNING", warning),
    ]
    assert (unknown.meta["modality"], unknown.meta["modality_from"]) == ("generic", "nothing")
    assert unknown.meta["warnings"] == [warning]


@pytest.mark.parametrize(
    ("meta", "modality", "origin"),
    [
        ({"filename_or_obj": "/study/pet.nii.gz"}, "pet", "name"),
        ({"filename_or_obj": "/study/PET/1.nii.gz"}, "pet", "folder"),
        ({"filename_or_obj": "/study/pet.nii.gz", "modality_tag": "MR"}, "mr", "dicom"),
        ({"filename_or_obj": "/study/SPECT/1.png", "value_range": 255.0}, "spect", "folder"),
    ],
)
def test_dicom_wins_over_a_name_and_the_log_says_which_was_used(meta, modality, origin, caplog):
    with caplog.at_level(logging.INFO, "monai_s3im"):
        found = NormalizeModality()(MetaTensor(torch.rand(1, 4, 4, 4), meta=meta)).meta
    assert (found["modality"], found["modality_from"], found["modality_guessed"]) == (modality, origin, False)
    said = {"name": "pet.nii.gz is treated as PET because of its name", "dicom": ""}.get(
        origin, "because of its folder"
    )
    assert said in caplog.text
    assert found["warnings"] == []


def test_values_win_over_a_file_name_and_give_a_warning_about_a_given_modality(caplog):
    head = np.where(HEAD > 48, HEAD + 300, HEAD)
    head[np.indices(head.shape)[0] == 12] -= 100  # fat
    ct = torch.as_tensor(head)[None]
    by_name = NormalizeModality()(MetaTensor(ct, meta={"filename_or_obj": "/x/mr.nii.gz"})).meta
    assert (by_name["modality"], by_name["modality_from"]) == ("ct", "values")
    assert "mr.nii.gz is named like MR, but its values are HU" in by_name["warnings"][0]
    given = NormalizeModality("mr")(MetaTensor(ct, meta={"filename_or_obj": "/x/1.nii.gz"})).meta
    assert given["modality"] == "mr"
    assert given["warnings"] == ["1.nii.gz is named MR, but its values are HU, with air at -1000: check its modality"]
    assert given["warnings"][0] in caplog.text
    assert NormalizeModality("generic")(MetaTensor(ct)).meta["warnings"] == []
    assert NormalizeModality("mr")(MetaTensor(ct + 1000)).meta["warnings"] == []
    padded = torch.where(ct < -500, ct, 10 * ct.abs())  # an MR, resampled as if it were a CT
    assert NormalizeModality("mr")(MetaTensor(padded)).meta["warnings"] == []


@pytest.mark.parametrize("modality", [None, "mr", "ct", "pet"])
@pytest.mark.parametrize(("value_range", "expected"), [(255.0, 51 / 255), (65535.0, 51 / 65535)])
def test_pictures_are_divided_by_the_largest_value_of_their_type(modality, value_range, expected):
    scaled = NormalizeModality(modality)(a_picture(value_range=value_range))
    assert scaled.flatten().tolist() == pytest.approx([expected] * 6)
    assert scaled.meta["modality"] == (modality or "generic")


def test_coloured_volumes_are_divided_by_the_largest_value_of_their_type_too():
    assert NormalizeModality("pet")(a_picture((3, 2, 2, 2))).flatten().tolist() == pytest.approx([0.2] * 24)


def test_a_volume_has_one_range_and_not_one_for_each_slice():
    volume = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) + torch.arange(8.0)
    scaled = NormalizeModality("mr")(MetaTensor(volume)).as_tensor()
    lower, upper = NormalizeModality("mr")(MetaTensor(volume)).meta["intensity_range"]
    torch.testing.assert_close(scaled, (volume - lower) / (upper - lower))


def test_the_image_is_not_changed():
    image = a_ct(0, 40)
    before = image.clone()
    NormalizeModality("ct")(image)
    assert torch.equal(image, before)
    assert "modality" not in image.meta


def test_each_image_of_a_dictionary_has_its_own_modality():
    data = {"image_a": a_ct(40), "image_b": MetaTensor(torch.rand(1, 4, 4, 4)), "modality_a": "CT", "modality_b": ""}
    result = NormalizeModalityd(["image_a", "image_b"], ["modality_a", "modality_b"])(data)
    assert [result[key].meta["modality"] for key in ("image_a", "image_b")] == ["ct", "generic"]


def test_unknown_modality_is_refused():
    with pytest.raises(InputError, match="unknown modality 'xray'"):
        NormalizeModality("xray")


@pytest.mark.parametrize(
    ("window", "expected"), [("brain", (0, 80)), ("bone", (-450, 1050)), ("-100,300", (-100, 300))]
)
def test_the_window_of_a_ct_may_be_chosen(window, expected):
    assert NormalizeModality("ct", window)(a_ct(0, 40)).meta["intensity_range"] == expected
    assert NormalizeModality(None, window)(a_ct(0, 1500)).meta["intensity_range"] == expected


def test_the_window_leaves_other_modalities_alone():
    image = MetaTensor(torch.rand(1, 5, 5, 5))
    for name in ("mr", "pet", "generic"):
        ranges = [NormalizeModality(name, window)(image).meta["intensity_range"] for window in ("brain", "bone")]
        assert ranges[0] == ranges[1]


def test_dicom_s_tag_is_believed_unless_a_modality_is_given(caplog):
    image = MetaTensor(torch.rand(1, 4, 4, 4), meta={"modality_tag": "PT"})
    with caplog.at_level(logging.INFO, "monai_s3im"):
        assert NormalizeModality()(image).meta["modality"] == "pet"
        assert NormalizeModality()(image).meta["modality_guessed"] is False
        assert NormalizeModality("mr")(image).meta["modality"] == "mr"
    assert caplog.text == ""


def test_a_tag_of_an_unknown_modality_leaves_the_guess():
    image = MetaTensor(torch.rand(1, 4, 4, 4), meta={"modality_tag": "OT"})
    assert NormalizeModality()(image).meta["modality"] == "generic"
    assert NormalizeModality()(image).meta["modality_guessed"] is True


def test_an_unusable_window_is_refused():
    with pytest.raises(InputError, match="unusable CT window 'lung'"):
        NormalizeModalityd(["image_a"], ["modality_a"], "lung")


def a_cylinder(radius_mm, *rings):
    """(1, X, Y, Z) of 5 mm voxels: a cylinder of 50 HU, and rings (from, to, HU) in it."""
    axis = 5.0 * (torch.arange(80) - 39.5)
    distance = (axis[:, None] ** 2 + axis**2).sqrt()[:, :, None].expand(-1, -1, 12)
    volume = torch.where(distance <= radius_mm, 50.0, -1000.0)
    for begin, end, value in rings:
        volume[(distance >= begin) & (distance < end)] = value
    affine = torch.diag(torch.tensor([5.0, 5.0, 5.0, 1.0], dtype=torch.float64))
    return MetaTensor(volume[None], affine=affine)


@pytest.mark.parametrize(
    ("ct", "name", "limits"),
    [
        (a_cylinder(90, (70, 80, 900.0)), "brain", (0.0, 80.0)),
        (a_cylinder(160, (0, 20, 900.0), (130, 160, -100.0)), "soft_tissue", (-160.0, 240.0)),
    ],
    ids=["head", "body"],
)
@pytest.mark.parametrize("window", [None, "auto"])
def test_the_window_chosen_by_content_is_used_logged_and_recorded(ct, name, limits, window, caplog):
    with caplog.at_level(logging.INFO, "monai_s3im"):
        scaled = NormalizeModality("ct", window)(ct)
    assert scaled.meta["intensity_range"] == limits
    assert scaled.meta["ct_window"] == name
    lower, upper = limits
    assert f"a volume: {name.replace('_', ' ')} window ({lower:g} to {upper:g} HU)" in caplog.text
    torch.testing.assert_close(scaled.as_tensor(), (ct.as_tensor() - lower) / (upper - lower))
    assert json.loads(DescribeSourcesd("ct")({"ct": scaled})["provenance"])["ct"]["ct_window"] == name


def test_the_window_by_content_is_only_for_cts_in_hu():
    shifted = MetaTensor(torch.arange(1000.0).reshape(1, 10, 10, 10))
    for name in ("ct", "mr", "generic"):
        described = NormalizeModality(name, "auto")(shifted).meta
        assert "ct_window" not in described
        assert described["intensity_range"] == NormalizeModality(name)(shifted).meta["intensity_range"]
    assert "ct_window" not in NormalizeModality("ct", "brain")(a_ct(0, 40)).meta


def test_a_dictionary_may_have_its_window_by_content():
    normalize = NormalizeModalityd(["image"], ["modality"], "auto")
    assert normalize({"image": a_cylinder(160), "modality": "ct"})["image"].meta["ct_window"] == "soft_tissue"


def a_ramp(lowest, highest, **meta):
    """(1, 5, 5, 4), evenly from the lowest to the highest value."""
    return MetaTensor(torch.linspace(lowest, highest, 100).reshape(1, 5, 5, 4), meta=meta)


@pytest.mark.parametrize("modality", [None, "ct", "mr", "pet", "spect", "us", "generic"])
@pytest.mark.parametrize("limits", ["-2,6", (-2, 6.0), [-2, 6]])
def test_limits_are_applied_to_every_modality(modality, limits):
    image = a_ramp(-1000, 20)
    scaled = NormalizeModality(modality, limits=limits)(image)
    assert torch.allclose(scaled.as_tensor(), (image.as_tensor() + 2) / 8)
    assert scaled.meta["intensity_range"] == (-2, 6)


def test_limits_win_over_the_window_and_the_type_of_a_picture():
    assert NormalizeModality("ct", "bone", (0, 80))(a_ct(40)).meta["intensity_range"] == (0, 80)
    assert NormalizeModality("mr", limits="0,102")(a_picture()).flatten().tolist() == [0.5] * 6


def test_the_same_limits_make_two_patients_comparable():
    quiet, bright = a_ramp(0, 5), a_ramp(0, 10)
    by_limits = [float(NormalizeModality("pet", limits=(0, 6))(image).amax()) for image in (quiet, bright)]
    assert by_limits == pytest.approx([5 / 6, 10 / 6])
    by_percentiles = [float(NormalizeModality("pet")(image).amax()) for image in (quiet, bright)]
    assert by_percentiles[0] == pytest.approx(by_percentiles[1])


def test_limits_of_another_unit_are_warned_about_and_those_that_show_nothing_refused(caplog):
    becquerel = a_ramp(0, 30_000, filename_or_obj="/study/pet.nii")
    scaled = NormalizeModality("pet", limits=(0, 6))(becquerel)
    warning = (
        "the range 0 to 6 of pet.nii, whose values are 0 to 30000, is far from them: check that it is in their unit"
    )
    assert scaled.meta["warnings"] == [warning]
    assert warning in caplog.messages
    assert NormalizeModality("pet", limits=(0, 6000))(becquerel).meta["warnings"] == []
    with pytest.raises(InputError, match=r"the range 4 to 6 of pet\.nii, whose values are 0 to 3, shows none of them"):
        NormalizeModality("pet", limits=(4, 6))(a_ramp(0, 3, filename_or_obj="/study/pet.nii"))


@pytest.mark.parametrize("limits", ["6", "6,0", "0,0", "a,b", "0,inf", "1,2,3", (1,), (0, float("nan"))])
def test_limits_that_are_not_a_range_are_refused(limits):
    with pytest.raises(InputError, match=r"unusable range .*: use LOWER,UPPER in the unit of the file, such as 0,6"):
        NormalizeModality(limits=limits)


def test_each_image_of_a_dictionary_has_its_own_range_and_the_description_says_which():
    normalize = NormalizeModalityd(["a", "b"], ["modality_a", "modality_b"], "brain", [None, "0,6"])
    item = normalize({"a": a_ct(0, 40, 80), "b": a_ramp(0, 10), "modality_a": "ct", "modality_b": "pet"})
    described = json.loads(DescribeSourcesd(["a", "b"])(item)["provenance"])
    assert [described[key]["intensity_range"] for key in "ab"] == [[0, 80], [0, 6]]
    assert [described[key]["unit"] for key in "ab"] == ["HU", None]


def test_a_unit_that_the_file_gives_is_described():
    item = {"a": NormalizeModality("pet", limits=(0, 6))(a_ramp(0, 10, unit="SUV (body weight)"))}
    assert json.loads(DescribeSourcesd("a")(item)["provenance"])["a"]["unit"] == "SUV (body weight)"
