import json

import pytest
import torch
from monai.data import MetaTensor

from monai_s3im.transforms import CautionSourcesd


def a_volume(modality, spacing, seed=0, **meta):
    values = torch.rand(1, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return MetaTensor(values, affine=affine, meta={"modality": modality, **meta})


def cautions(first, second, **settings):
    found = CautionSourcesd(["image_a", "image_b"], **settings)({"image_a": first, "image_b": second})
    return json.loads(found["warnings"])


PET = a_volume("pet", (4, 4, 4), filename_or_obj="/s/pet.nii.gz")
MR = a_volume("mr", (1, 1, 1), seed=1)


def test_a_coarse_pet_that_gives_the_grid_gives_a_warning(caplog):
    (warning,) = cautions(PET, MR)
    assert warning == (
        "pet.nii.gz gives the grid, 4 x 4 x 4 mm: on that of the PET the detail of the MR, 1 x 1 x 1 mm, is lost; "
        "choose the finer grid (--reference finer)"
    )
    assert warning in caplog.text
    assert cautions(MR, PET, reference="b") != []


@pytest.mark.parametrize(
    ("first", "second", "settings"),
    [
        (MR, PET, {}),
        (PET, MR, {"reference": "finer"}),
        (PET, MR, {"reference": "b"}),
        (PET, MR, {"spacing": "1"}),
        (PET, a_volume("mr", (4, 4, 3), seed=1), {}),
        (a_volume("ct", (4, 4, 4)), MR, {}),
    ],
)
def test_a_grid_that_loses_no_anatomy_or_was_requested_gets_no_warning(first, second, settings):
    assert cautions(first, second, **settings) == []


def test_two_volumes_of_uptake_give_a_warning():
    spect = a_volume("spect", (1, 1, 1), seed=2, filename_or_obj="/s/spect.nii.gz")
    (warning,) = cautions(PET, spect)
    assert warning == (
        "pet.nii.gz (PET) and spect.nii.gz (SPECT) both show uptake, and neither is readable where they mix: "
        "fuse each with an MR or CT"
    )
    assert cautions(spect, MR) == []


def test_pictures_have_no_grid():
    pictures = (MetaTensor(torch.rand(1, 4, 4), meta={"modality": name}) for name in ("pet", "mr"))
    assert cautions(*pictures) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"reference": "b"},
        {"spacing": "1"},
        {"of_volumes": {"plane": "coronal"}},
        {"of_volumes": {"window": "bone"}},
        {"of_volumes": {"color_map": "hot"}},
        {"of_volumes": {"color_model": "ycbcr"}},
    ],
)
def test_an_option_of_volumes_that_is_chosen_for_pictures_gives_a_warning(settings):
    pictures = (MetaTensor(torch.rand(1, 4, 4), meta={"modality": name}) for name in ("pet", "mr"))
    (name,) = settings.get("of_volumes", settings)
    option = f"--{name.replace('_', '-')}"
    assert cautions(*pictures, **settings) == [f"{option} has no effect on image_a and image_b: they are pictures"]


def test_a_window_without_a_ct_and_a_colour_map_without_uptake_give_a_warning():
    of_volumes = {"window": "bone", "color_map": "hot", "plane": "coronal"}
    ct = a_volume("ct", (1, 1, 1), seed=2)
    reason = "there is no volume of such a modality"
    assert cautions(ct, MR, of_volumes=of_volumes) == [f"--color-map has no effect on image_a and image_b: {reason}"]
    assert cautions(MR, PET, of_volumes=of_volumes) == [f"--window has no effect on image_a and pet.nii.gz: {reason}"]
    assert cautions(ct, PET, of_volumes=of_volumes) == []


def test_the_defaults_are_not_a_choice():
    pictures = [MetaTensor(torch.rand(1, 4, 4), meta={"modality": name}) for name in ("pet", "mr")]
    of_volumes = {"plane": "axial", "window": "auto", "color_map": None, "color_model": "lab"}
    assert cautions(*pictures, of_volumes=of_volumes) == []
    assert cautions(*pictures, of_volumes={"window": None}) == []


def test_an_image_with_itself_gives_a_warning():
    assert cautions(MR, MR) == ["image_a and image_b are the same image: name two images"]
    named = a_volume("mr", (1, 1, 1), seed=1, filename_or_obj="/s/t1.nii.gz")
    assert cautions(named, named) == ["t1.nii.gz is both image A and image B: name two images"]


def test_one_file_treated_as_two_modalities_gives_a_warning_too():
    provenance = json.dumps({key: {"sha256": "0" * 64} for key in ("image_a", "image_b")})
    found = CautionSourcesd(["image_a", "image_b"])({"image_a": MR, "image_b": PET, "provenance": provenance})
    assert "image_a and pet.nii.gz are the same image: name two images" in json.loads(found["warnings"])
