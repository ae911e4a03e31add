import json
import logging

import pytest

from monai_s3im.errors import InputError
from monai_s3im.pairs.layouts import dataset_pairs
from monai_s3im.pairs.lists import Pair


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def harvard_like(folder, sets=("CT", "SPECT", "PET"), sections=("train", "val")):
    for modality in sets:
        for number, section in enumerate(sections):
            touch(folder / f"{modality}-MRI" / section / "MRI", f"{number}001.png")
            touch(folder / f"{modality}-MRI" / section / modality, f"{number}001.png")
    return folder


def write_datalist(path, name):
    path.write_text(json.dumps({"training": [{"name": name, "image_a": "a.png", "image_b": "b.png"}]}))


def names_of(pairs):
    return [pair.name for pair in pairs]


def test_harvard_folders_give_ct_and_spect(tmp_path):
    harvard_like(tmp_path)
    assert dataset_pairs(tmp_path, "training") == [
        Pair(
            f"0001_{modality}",
            tmp_path / f"{modality.upper()}-MRI/train/MRI/0001.png",
            tmp_path / f"{modality.upper()}-MRI/train/{modality.upper()}/0001.png",
            "mr",
            modality,
        )
        for modality in ("ct", "spect")
    ]
    assert names_of(dataset_pairs(tmp_path, "validation")) == ["1001_ct", "1001_spect"]


def test_public_harvard_layout_has_a_test_section(tmp_path):
    harvard_like(tmp_path, sections=("train", "test"))
    assert names_of(dataset_pairs(tmp_path, "test")) == ["1001_ct", "1001_spect"]
    with pytest.raises(InputError, match="has no validation pairs, only training, test") as raised:
        dataset_pairs(tmp_path, "validation")
    assert str(tmp_path / "CT-MRI") in str(raised.value)


@pytest.mark.parametrize("modality", ["CT", "SPECT", "PET"])
def test_one_set_of_harvard_may_be_given(tmp_path, modality):
    harvard_like(tmp_path)
    (pair,) = dataset_pairs(tmp_path / f"{modality}-MRI", "training")
    assert (pair.name, pair.modality_a, pair.modality_b) == ("0001", "mr", modality.lower())
    assert pair.image_a == tmp_path / f"{modality}-MRI/train/MRI/0001.png"


def test_pet_is_used_if_it_is_alone(tmp_path):
    harvard_like(tmp_path, sets=("PET",))
    assert [pair.modality_b for pair in dataset_pairs(tmp_path, "training")] == ["pet"]


@pytest.mark.parametrize(("folder_a", "folder_b"), [("vi", "ir"), ("crop_LR_visible", "cropinfrared")])
def test_roadscene_folders_are_all_training(tmp_path, folder_a, folder_b):
    touch(tmp_path / folder_a, "1.jpg", "2.jpg")
    touch(tmp_path / folder_b, "1.jpg", "2.jpg")
    assert dataset_pairs(tmp_path, "training") == [
        Pair(name, tmp_path / folder_a / f"{name}.jpg", tmp_path / folder_b / f"{name}.jpg", "visible", "infrared")
        for name in "12"
    ]
    with pytest.raises(InputError, match=r"has no validation pairs, only training: move .* 'val'"):
        dataset_pairs(tmp_path, "validation")


def test_roadscene_may_be_split(tmp_path):
    for section in ("train", "val"):
        touch(tmp_path / section / "vi", f"{section}.jpg")
        touch(tmp_path / section / "ir", f"{section}.jpg")
    assert names_of(dataset_pairs(tmp_path, "training")) == ["train"]
    assert names_of(dataset_pairs(tmp_path, "validation")) == ["val"]


def test_images_without_a_partner_are_left_out_and_reported(tmp_path, caplog):
    touch(tmp_path / "vi", "1.jpg", "2.jpg")
    touch(tmp_path / "ir", "1.jpg", "3.jpg")
    with caplog.at_level(logging.WARNING):
        assert names_of(dataset_pairs(tmp_path, "training")) == ["1"]
    assert "2.jpg, 3.jpg" in caplog.text


def test_the_named_datalist_wins(tmp_path):
    harvard_like(tmp_path)
    write_datalist(tmp_path / "datalist.json", "default")
    write_datalist(tmp_path / "datalist_mine.json", "mine")
    assert names_of(dataset_pairs(tmp_path, "training", "datalist_mine.json")) == ["mine"]
    assert names_of(dataset_pairs(tmp_path, "training", str(tmp_path / "datalist_mine.json"))) == ["mine"]


def test_datalist_json_wins_over_any_layout(tmp_path):
    harvard_like(tmp_path)
    write_datalist(tmp_path / "datalist.json", "default")
    write_datalist(tmp_path / "datalist_CT+SPECT-MRI.json", "harvard")
    assert names_of(dataset_pairs(tmp_path, "training")) == ["default"]


def test_a_harvard_datalist_wins_over_its_folders(tmp_path):
    harvard_like(tmp_path)
    write_datalist(tmp_path / "datalist_CT+SPECT-MRI.json", "harvard")
    write_datalist(tmp_path / "datalist_CT-MRI.json", "ct")
    assert names_of(dataset_pairs(tmp_path, "training")) == ["harvard"]


def test_the_only_datalist_is_used(tmp_path):
    write_datalist(tmp_path / "datalist_mine.json", "mine")
    assert names_of(dataset_pairs(tmp_path, "training")) == ["mine"]


def test_several_datalists_without_a_rule_are_listed(tmp_path):
    write_datalist(tmp_path / "datalist_b.json", "b")
    write_datalist(tmp_path / "datalist_a.json", "a")
    with pytest.raises(
        InputError, match=r"several datalists: choose one of datalist_a\.json, datalist_b\.json"
    ) as raised:
        dataset_pairs(tmp_path, "training")
    assert str(tmp_path) in str(raised.value)


def test_missing_datalist_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"other\.json does not exist"):
        dataset_pairs(tmp_path, "training", "other.json")


def test_folders_of_no_known_layout_are_refused_with_those_that_are_known(tmp_path):
    touch(tmp_path / "odd" / "left", "1.png")
    touch(tmp_path / "train" / "train" / "left", "1.png")
    touch(tmp_path / "empty")
    for name in ("odd", "train", "empty", "missing"):
        with pytest.raises(InputError, match=r"Harvard layout .* RoadScene layout") as raised:
            dataset_pairs(tmp_path / name, "training")
        assert str(tmp_path / name) in str(raised.value)


def test_unknown_section_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown section 'train': use one of training, validation, test"):
        dataset_pairs(tmp_path, "train")


def test_real_data_sets_have_the_counts_of_their_table(shared_data):
    data = shared_data / "data"
    for folder, training, validation in [("harvard", 379, 46), ("harvard/PET-MRI", 230, 27), ("roadscene", 129, 17)]:
        assert len(dataset_pairs(data / folder, "training")) == training
        assert len(dataset_pairs(data / folder, "validation")) == validation


def test_real_folders_give_the_pairs_of_their_datalist(shared_data):
    harvard = shared_data / "data" / "harvard"
    for name in ("CT-MRI", "SPECT-MRI", "PET-MRI"):
        for section in ("training", "validation"):
            by_list = dataset_pairs(harvard, section, f"datalist_{name}.json")
            by_folder = dataset_pairs(harvard / name, section)
            assert set(by_folder) == set(by_list)
