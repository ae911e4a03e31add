"""One guess of the modality, from names and sidecars, for every interface; 3D Slicer's is in slicer_extension/."""

import json
import logging

import pytest
import torch
from monai.data import MetaTensor
from recognition_cases import CASES
from sample_images import SMALLER, write_volume
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_parser
from monai_s3im.cli import app
from monai_s3im.pipeline import fuse
from monai_s3im.recognition import recognise, region_in_sidecar


@pytest.mark.parametrize(("path", "partner", "modality"), CASES.values(), ids=CASES.keys())
def test_names_of_data_sets_are_read(path, partner, modality, tmp_path):
    found = recognise(tmp_path / path, tmp_path / partner)
    assert (found.modality.name if found else None) == modality


@pytest.fixture(scope="module")
def normalize():
    return bundle_parser("inference", device="cpu").get_parsed_content("steps#normalize")


@pytest.mark.parametrize(("path", "partner", "modality"), CASES.values(), ids=CASES.keys())
def test_the_pipeline_of_command_python_and_bundle_reads_them_the_same_way(
    path, partner, modality, tmp_path, normalize
):
    volumes = {
        f"image_{key}": MetaTensor(torch.rand(1, 4, 4, 4) + 1, meta={"filename_or_obj": str(tmp_path / name)})
        for key, name in (("a", path), ("b", partner))
    }
    found = normalize(volumes)["image_a"].meta
    assert found["modality"] == (modality or "generic")
    assert (found["modality_from"] == "nothing") == (modality is None)


def test_t1_and_pet_are_recognised_by_command_and_function_and_give_colour(tmp_path, caplog):
    pair = write_volume(tmp_path / "t1.nii.gz", 0), write_volume(tmp_path / "pet.nii.gz", 5, *SMALLER)
    with caplog.at_level(logging.INFO, "monai_s3im"):
        result = CliRunner().invoke(app, ["fuse", *map(str, pair), "-o", str(tmp_path / "a.nii.gz"), "--device", "cpu"])
    assert result.exit_code == 0, result.stderr
    assert "t1.nii.gz is treated as MR because of its name" in caplog.text
    fused = fuse(*pair, tmp_path / "b.nii.gz", device="cpu")
    assert fused.shape[0] == 3  # in colour
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    named = fuse(*pair, modality_a="mr", modality_b="pet", device="cpu")
    assert torch.equal(fused.as_tensor(), named.as_tensor())
    record = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert record["task"] == "spect-pet-mri"
    assert [source["modality_from"] for source in record["sources"].values()] == ["name", "name"]


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")
def test_a_tensor_keeps_the_name_that_monai_read_it_from(tmp_path, normalize):
    from monai.transforms import LoadImage

    from monai_s3im.transforms import LoadSourcesd

    pair = write_volume(tmp_path / "t1.nii.gz", 0), write_volume(tmp_path / "pet.nii.gz", 5)
    read = LoadImage("NibabelReader", ensure_channel_first=True)
    item = {f"image_{key}": read(file) for key, file in zip("ab", pair, strict=True)}
    found = normalize(LoadSourcesd(["image_a", "image_b"])(item))
    assert [found[key].meta["modality"] for key in ("image_a", "image_b")] == ["mr", "pet"]


@pytest.mark.parametrize(
    ("content", "modality"),
    [
        ({"Modality": "PT"}, "pet"),
        ({"Modality": "PET"}, "pet"),
        ({"Modality": "MR", "SeriesDescription": "t1"}, "mr"),
        ({"TracerName": "FDG"}, "pet"),
        ({"MagneticFieldStrength": 3}, "mr"),
        ({"TracerName": "FDG", "MagneticFieldStrength": 3}, None),
        ({"Modality": 7}, None),
        ({"Modality": "PT", "fused_sha256": "ours"}, None),
        ([1], None),
        ("{", None),
    ],
)
def test_a_sidecar_says_the_modality(content, modality, tmp_path):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "scan_12.json").write_text(text)
    found = recognise(tmp_path / "scan_12.nii.gz", tmp_path / "b.nii.gz")
    assert (found.modality.name if found else None) == modality


def test_a_sidecar_wins_over_words_and_a_bids_suffix_over_a_sidecar(tmp_path):
    for stem in ("pet_1", "sub-1_T1w"):
        (tmp_path / f"{stem}.json").write_text('{"Modality": "CT"}')
    assert recognise(tmp_path / "pet_1.nii.gz").modality.name == "ct"
    assert recognise(tmp_path / "sub-1_T1w.nii.gz").modality.name == "mr"


@pytest.mark.parametrize("key", ["channel_names", "modality"])
def test_channels_of_nnu_net_are_read_from_its_list(key, tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({key: {"0": "CT", "1": "PET", "2": "rescale"}}))
    names = [f"imagesTr/fdg_{channel:04}.nii.gz" for channel in range(3)]
    found = [recognise(tmp_path / name, tmp_path / names[0]) for name in names[:2]]
    assert [(one.modality.name, one.by) for one in found] == [("ct", "sidecar"), ("pet", "sidecar")]


@pytest.mark.parametrize(
    ("content", "region"),
    [
        ({"BodyPartExamined": "BRAIN"}, "head"),
        ({"SeriesDescription": "Thorax 5.0"}, "body"),
        ({"BodyPartExamined": "HEAD", "SeriesDescription": "CHEST"}, "head"),
        ({"BodyPartExamined": "HEAD NECK"}, None),
        ({"BodyPartExamined": 3}, None),
        ({}, None),
    ],
)
def test_a_sidecar_says_the_part_of_the_body(content, region, tmp_path):
    (tmp_path / "ct.json").write_text(json.dumps(content))
    assert region_in_sidecar(tmp_path / "ct.nii.gz") == region
