import numpy as np
import pytest
import torch

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image
from monai_s3im.functional import guess_modality, intensity_range, is_hounsfield, padding_of
from monai_s3im.modalities import (
    CT_WINDOWS,
    DICOM_CODES,
    MODALITIES,
    ct_window,
    modality_named,
    modality_of_dicom,
    modality_of_name,
)
from monai_s3im.pairs.lists import read_pairs
from monai_s3im.phantom import head_phantom
from monai_s3im.recognition import recognise

RAMP = torch.arange(1000.0).reshape(1, 10, 10, 10)


@pytest.mark.parametrize("name", list(MODALITIES))
def test_modality_is_found_by_its_name_in_any_case(name):
    assert modality_named(name.upper()) is MODALITIES[name]
    assert modality_named(name).name == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [("MRI", "mr"), ("PT", "pet"), ("NM", "spect"), ("vi", "visible"), ("IR", "infrared"), (" ct ", "ct")],
)
def test_usual_other_names_are_understood(alias, name):
    assert modality_named(alias).name == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [("T1w", "mr"), ("T2w", "mr"), ("FLAIR", "mr"), ("FDG", "pet"), ("CTA", "ct"), ("ultrasound", "us")],
)
def test_names_of_sequences_tracers_and_bids_are_understood(alias, name):
    assert modality_named(alias).name == name


@pytest.mark.parametrize("name", list(MODALITIES))
def test_a_folder_a_list_and_the_command_understand_the_same_names(name, tmp_path):
    for alias in MODALITIES[name].names:
        assert modality_named(alias).name == name
        assert recognise(tmp_path / alias.upper() / "1.png").modality.name == name
        (tmp_path / "pairs.csv").write_text(f"image_a,image_b,modality_a,modality_b\na.png,b.png,{alias},mr\n")
        assert read_pairs(tmp_path / "pairs.csv")[0].modality_a == name


def test_no_name_stands_for_two_modalities():
    names = [name for modality in MODALITIES.values() for name in modality.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("folder", ["PT", "NM", "MRI", "T1w", "crop_LR_visible", "cropinfrared"])
def test_a_folder_is_recognised_by_any_of_the_names(folder, tmp_path):
    expected = {"PT": "pet", "NM": "spect", "MRI": "mr", "T1w": "mr", "crop_LR_visible": "visible"}
    assert recognise(tmp_path / folder / "28005.png").modality.name == expected.get(folder, "infrared")


@pytest.mark.parametrize("folder", ["patients", "unknown", ""])
def test_another_folder_gives_no_message(folder, tmp_path):
    assert recognise(tmp_path / folder / "28005.png") is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MRHead", "mr"),
        ("chris_t1.nii.gz", "mr"),
        ("sub-01_T2w.nii.gz", "mr"),
        ("pet 2", "pet"),
        ("CTA-cardio", "ct"),
        ("spect.nii", "spect"),
        ("PET-CT", None),  # two
        ("direct", None),
        ("T10", None),
        ("pt_007.nii.gz", None),  # a patient
        ("", None),
    ],
)
def test_a_file_name_gives_the_modality_if_it_contains_only_one(text, name):
    found = modality_of_name(text)
    assert (found.name if found else None) == name


def test_the_codes_of_dicom_are_those_that_its_reader_knows():
    assert DICOM_CODES == ("CT", "MR", "PT", "NM", "US", "RTDOSE")


def test_unknown_modality_is_refused_and_the_known_ones_are_named():
    with pytest.raises(InputError, match="unknown modality 'xray': use one of ct, mr, pet, spect"):
        modality_named("xray")


@pytest.mark.parametrize("name", list(CT_WINDOWS))
def test_windows_run_upwards(name):
    lower, upper = CT_WINDOWS[name]
    assert lower < upper


def test_a_ct_in_hu_has_the_brain_window_whatever_else_is_in_it():
    volume = torch.full((1, 4, 4, 4), -1000.0)
    volume[0, 0, 0, 0] = 3000.0
    assert intensity_range(volume, MODALITIES["ct"]) == (0.0, 80.0)


@pytest.mark.parametrize(
    ("lowest", "highest", "name"),
    [
        (-1024, 1500, "ct"),
        (-1000, 300, "ct"),
        (0, 4095, "generic"),
        (-1000, 100, "generic"),
        (-30000, 30000, "generic"),
    ],
)
def test_ct_is_guessed_from_air_and_bone_in_hu(lowest, highest, name):
    volume = torch.full((1, 3, 3, 3), 20.0)
    volume[0, 0, 0, 0], volume[0, 1, 1, 1] = lowest, highest
    assert guess_modality(volume) is MODALITIES[name]


def a_head(air, tissue, bone, seed=0):
    """(1, 32, 32, 32): a ball of tissue in a shell of bone in air, with some noise."""
    radius = np.linalg.norm(np.indices((32, 32, 32)) - 15.5, axis=0)
    values = np.where(radius < 14, np.where(radius > 12, bone, tissue), air)
    noise = np.random.default_rng(seed).normal(0, 8, values.shape).round()
    return torch.as_tensor(values + noise, dtype=torch.float32)[None]


def outside_a_circle(volume):
    rows, columns = np.indices((32, 32)) - 15.5
    return torch.as_tensor(np.hypot(rows, columns) > 15)[None, :, :, None].expand(volume.shape)


def test_an_mr_with_undershoot_or_a_phase_image_is_not_recognised_as_ct():
    mr = a_head(100, 20_000, 5_000)
    mr[0, 2, 2, 2:5] = -600.0
    assert guess_modality(mr) is MODALITIES["generic"]
    for largest in (1000, 4096):
        phase = np.random.default_rng(0).integers(-largest, largest, (1, 20, 20, 20))
        assert guess_modality(torch.as_tensor(phase, dtype=torch.float32)) is MODALITIES["generic"]
    assert guess_modality(a_head(-1000, 30_000, 900)) is MODALITIES["generic"]
    assert guess_modality(a_head(-1000, 40, 900)) is MODALITIES["ct"]


def test_a_ct_with_metal_is_a_ct_and_a_volume_that_is_bright_throughout_is_not():
    ct = a_head(-1000, 40, 900)
    ct[0, 14:18, 14:18, 14:18] = 32767.0
    assert guess_modality(ct) is MODALITIES["ct"]
    assert guess_modality(a_head(-1000, 5000, 900)) is MODALITIES["generic"]


def test_two_values_of_padding_are_both_left_out():
    ct = a_head(-1000, 40, 900)
    padded = ct.masked_fill(outside_a_circle(ct), -2000.0)
    padded[:, :, :, :4] = torch.where(padded[:, :, :, :4] == -2000, -3024.0, padded[:, :, :, :4])
    assert padding_of(padded, MODALITIES["ct"]) == [-3024.0, -2000.0]
    assert guess_modality(padded) is MODALITIES["ct"]


@pytest.mark.parametrize("padding", [-2000.0, -3024.0, -32768.0, 63536.0, 65535.0])
@pytest.mark.parametrize("name", ["ct", "mr", "pet", "generic"])
def test_padding_stays_out_of_the_range(name, padding):
    volume = a_head(24, 1064, 1924)
    expected = intensity_range(volume[~outside_a_circle(volume)], MODALITIES[name])
    padded = volume.masked_fill(outside_a_circle(volume), padding)
    assert padding_of(padded, MODALITIES[name]) == [padding]
    assert intensity_range(padded, MODALITIES[name]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("padding", [None, -2000.0, 63536.0])
def test_padding_is_not_evidence_of_hu(padding):
    for air, tissue, bone, expected in ((24, 1064, 1924, False), (-1000, 40, 900, True)):
        volume = a_head(air, tissue, bone)
        if padding is not None:
            volume = volume.masked_fill(outside_a_circle(volume), padding)
        assert is_hounsfield(volume) is expected
        assert (guess_modality(volume) is MODALITIES["ct"]) is expected


def test_air_zero_and_saturated_voxels_are_not_padding():
    ct = a_head(-1000, 40, 900)
    assert padding_of(torch.where(ct < -500, -1000.0, ct), MODALITIES["ct"]) == []
    assert padding_of(ct.clamp(-200, 300), MODALITIES["ct"]) == []
    assert padding_of(torch.where(ct < -500, 0.0, ct + 1500), MODALITIES["mr"]) == []
    assert padding_of(a_head(24, 60_000, 30_000).clamp(0, 60_000), MODALITIES["mr"]) == []
    assert padding_of(torch.where(ct < -500, -1000.0, ct + 1500), MODALITIES["mr"]) == [-1000.0]


def test_range_of_a_ramp_by_hand():
    """1st percentile of 0 ... 999: 9.99; foreground, above (9.99 + mean 499.54) / 2: 255 ... 999; 99.5th: 995.28."""
    assert intensity_range(RAMP, MODALITIES["mr"]) == pytest.approx((9.99, 995.28), abs=1e-3)
    assert intensity_range(RAMP, MODALITIES["pet"]) == pytest.approx((0.0, 255 + 0.998 * 744), abs=1e-3)


@pytest.mark.parametrize("name", ["mr", "pet", "spect", "us", "dose", "generic"])
def test_one_hot_voxel_hardly_changes_the_range(name):
    hot = RAMP.clone()
    hot[0, 5, 5, 5] = 1e6
    without, with_hot = (intensity_range(volume, MODALITIES[name]) for volume in (RAMP, hot))
    assert with_hot == pytest.approx(without, abs=5)


def test_one_cold_voxel_hardly_changes_the_range():
    cold = RAMP.clone()
    cold[0, 5, 5, 5] = -32768
    assert intensity_range(cold, MODALITIES["mr"]) == pytest.approx(intensity_range(RAMP, MODALITIES["mr"]), abs=5)


@pytest.mark.parametrize("name", ["ct", "mr", "pet"])
def test_range_does_not_depend_on_the_order_of_the_voxels(name):
    volume = torch.as_tensor(np.random.default_rng(0).gamma(2.0, 100.0, (1, 12, 13, 14)))
    expected = intensity_range(volume, MODALITIES[name])
    assert intensity_range(volume.permute(0, 3, 1, 2).flip(2), MODALITIES[name]) == pytest.approx(expected, rel=1e-12)


def test_air_around_the_head_does_not_lower_the_upper_end():
    head = torch.rand(1, 10, 10, 10, generator=torch.Generator().manual_seed(0)) * 100 + 400
    with_air = torch.zeros(1, 30, 30, 30)
    with_air[:, :10, :10, :10] = head
    assert intensity_range(with_air, MODALITIES["mr"])[1] == pytest.approx(float(head.quantile(0.995)), abs=0.1)


@pytest.mark.parametrize("name", ["mr", "pet", "generic", "ct"])
def test_a_nearly_empty_volume_still_has_a_range(name):
    volume = torch.zeros(1, 20, 20, 20)
    volume[0, 3, 3, 3] = 7.0
    assert intensity_range(volume, MODALITIES[name]) == (0.0, 7.0)


def test_the_range_of_a_large_volume_is_that_of_a_sample_of_it(monkeypatch):
    volume = torch.rand(1, 40, 40, 40, generator=torch.Generator().manual_seed(0))
    exact = intensity_range(volume, MODALITIES["mr"])
    monkeypatch.setattr("monai_s3im.functional.intensity._MOST_SAMPLES", 10_000)
    sampled = intensity_range(volume, MODALITIES["mr"])
    assert sampled != exact
    assert sampled == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("name", list(CT_WINDOWS))
def test_a_window_is_found_by_its_name(name):
    assert ct_window(name) == CT_WINDOWS[name]


@pytest.mark.parametrize("given", ["-160,240", " -160 , 240.0", (-160, 240), [-160.0, 240.0]])
def test_a_window_may_be_two_numbers_in_hu(given):
    assert ct_window(given) == (-160.0, 240.0)


@pytest.mark.parametrize("given", ["lung", "80", "80,0", "40,40", "0,80,160", "0,inf", "nan,80", (1,), 80, None])
def test_an_unusable_window_is_refused_and_the_usable_ones_are_named(given):
    with pytest.raises(
        InputError,
        match=r"unusable CT window .*: use auto, brain, soft_tissue, bone, full, brain\+bone, or LOWER,UPPER in",
    ):
        ct_window(given)


@pytest.mark.parametrize(
    ("tag", "name"),
    [("CT", "ct"), ("MR", "mr"), ("PT", "pet"), ("NM", "spect"), ("US", "us"), ("RTDOSE", "dose"), (" ct ", "ct")],
)
def test_dicom_s_modality_is_known(tag, name):
    assert modality_of_dicom(tag) is MODALITIES[name]


@pytest.mark.parametrize("tag", ["", "OT", "XA", "SEG"])
def test_other_modalities_of_dicom_are_left_to_the_guess(tag):
    assert modality_of_dicom(tag) is None


@pytest.fixture(scope="module")
def head():
    return head_phantom((48, 57, 39), (4.0, 4.0, 4.9))


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("bias", [0.0, 0.6])
@pytest.mark.parametrize("name", ["t1", "t2"])
def test_the_upper_end_of_an_mr_is_that_of_the_head_alone_with_bias_and_noise_too(head, name, bias, noise):
    """Bias: a gain of 1 - bias to 1 + bias across the head; noise: Rician, its sigma a part of the 99th percentile."""
    clean = head.volumes[name].numpy()[0]
    signal = clean * np.linspace(1 - bias, 1 + bias, len(clean))[:, None, None]
    random, sigma = np.random.default_rng(0), noise * np.percentile(clean, 99)
    image = np.hypot(signal + sigma * random.standard_normal(clean.shape), sigma * random.standard_normal(clean.shape))
    expected = np.percentile(image[head.volumes["labels"].numpy()[0] > 0], 99.5)
    assert intensity_range(torch.as_tensor(image)[None], MODALITIES["mr"])[1] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "file", ["stroke_t1_t2_flair/T1.nii.gz", "stroke_t1_t2_flair/T2.nii.gz", "stroke_t1_t2_flair/FLAIR.nii.gz"]
)
def test_the_upper_end_of_a_real_mr_is_that_of_only_the_brain(shared_data, file):
    """These volumes are brain-extracted: what is not 0 is brain."""
    volume = read_image(shared_data / "data" / "volumes" / file)
    expected = np.percentile(volume.numpy()[volume.numpy() > 0], 99.5)
    assert intensity_range(volume, MODALITIES["mr"])[1] == pytest.approx(expected, rel=0.03)
