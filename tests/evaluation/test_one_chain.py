"""Fusing, evaluating and training prepare images by the same steps, with the same values."""

import pytest
import torch
from sample_images import SMALLER, write_picture, write_volume

from monai_s3im.bundle_config import bundle_parser, inference_steps
from monai_s3im.evaluation import evaluate as evaluation
from monai_s3im.pipeline import Fuser
from monai_s3im.settings import FusionSettings

OF_FUSING_ALONE = {
    "check": "nothing is written beside the weights or the values",
    "describe": "for the record",
    "compare": "for the record: a training pair is registered, and evaluation repeats no warning",
    "caution": "as compare",
    "register": "training takes registered pairs; evaluation moves B as the record says",
    "choose": "training is for one task; evaluation needs no weights",
    "forget": "MONAI's collation is given no modalities; training keeps only what select names",
}
OF_TRAINING_ALONE = {"select": "the image and its name, so that pairs of one batch have the same keys"}


@pytest.fixture(scope="module")
def configs():
    return {name: bundle_parser(name, device="cpu") for name in ("inference", "train")}


def test_training_leaves_out_what_is_for_fusing_alone_and_keeps_the_order(configs):
    fusing, training = (list(configs[name].get("steps")) for name in ("inference", "train"))
    assert [name for name in fusing if name not in OF_FUSING_ALONE] == training[:-1]
    assert training[-1:] == list(OF_TRAINING_ALONE)
    order = configs["train"].get("source_transforms")
    assert order == [f"@steps#{name}" for name in training]
    assert configs["inference"].get("preprocessing")["transforms"] == [f"@steps#{name}" for name in fusing]


@pytest.mark.parametrize("name", ["load", "normalize", "align", "color", "split", "join"])
def test_a_step_of_training_is_that_of_fusing_with_its_defaults(name, configs):
    fusing, training = (configs[config].get_parsed_content(f"steps#{name}") for config in ("inference", "train"))
    assert type(training) is type(fusing)
    assert state(training) == state(fusing)


def state(step):
    """The attributes of a transform and of its parts."""
    own = type(step).__module__.startswith("monai_s3im")
    return {name: state(value) for name, value in vars(step).items()} if own else step


def prepared_for_fusing(image_a, image_b, modalities, **settings):
    parser = bundle_parser("inference", device="cpu", **settings)
    item = dict(zip(("image_a", "image_b", "modality_a", "modality_b"), (image_a, image_b, *modalities), strict=True))
    return parser.get_parsed_content("preprocessing")(item)["image"].as_tensor()


def prepared_for_training(image_a, image_b, modalities):
    item = dict(zip(("image_a", "image_b", "modality_a", "modality_b"), (image_a, image_b, *modalities), strict=True))
    item["name"] = "pair"
    for step in bundle_parser("train", device="cpu").get_parsed_content("source_transforms"):
        item = step(item)
    return item["image"].as_tensor()


def test_training_sees_the_values_that_are_fused(tmp_path):
    volumes = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "pet.nii.gz", 5, *SMALLER)
    pictures = write_picture(tmp_path / "a.png", 0), write_picture(tmp_path / "b.png", 5, colour=True)
    for pair, modalities in ((volumes, ("mr", "pet")), (volumes, (None, None)), (pictures, ("visible", "infrared"))):
        assert torch.equal(prepared_for_training(*pair, modalities), prepared_for_fusing(*pair, modalities))


def measured(monkeypatch, *paths):
    """The input of the metrics in evaluation: the slices with content, (S, 3, H, W)."""
    seen = []
    real = evaluation.fusion_metrics

    def spy(fused, sources, data_range):
        seen.append(torch.cat([fused, sources], dim=1))
        return real(fused, sources, data_range=data_range)

    monkeypatch.setattr(evaluation, "fusion_metrics", spy)
    evaluation.evaluate(*paths)
    return torch.cat(seen)


def with_content(image):
    slices = image.movedim(-1, 0)
    return slices[slices.amax((1, 2, 3)) > 0].double()


def sources_on_the_grid(image_a, image_b, modalities, **settings):
    """What fusing joins: where a source does not cover a voxel, joining gives it its nearest value, for the network."""
    steps = inference_steps("load", "normalize", "align", "color", "split", device="cpu", **settings)
    item = dict(zip(("image_a", "image_b", "modality_a", "modality_b"), (image_a, image_b, *modalities), strict=True))
    for step in steps:
        item = step(item)
    return torch.cat([item[key].as_tensor() for key in ("image_a", "image_b")])


def test_evaluation_sees_the_sources_that_were_fused(monkeypatch, tmp_path):
    paths = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "ct.nii.gz", 5, *SMALLER)
    settings = {"window": "-160,240", "color_map": "inferno"}
    Fuser(FusionSettings(device="cpu", **settings))(*paths, tmp_path / "fused.nii.gz", "pet", "ct")
    seen = measured(monkeypatch, tmp_path / "fused.nii.gz", *paths)
    assert torch.equal(seen[:, 1:], with_content(sources_on_the_grid(*paths, ("pet", "ct"), **settings)))


def test_evaluation_and_training_see_the_sources_of_a_real_pair_as_they_are_fused(monkeypatch, shared_data, tmp_path):
    folder = shared_data / "data" / "volumes" / "pet_mr_template"
    paths = folder / "T1.nii", folder / "PET.nii"
    Fuser(device="cpu")(*paths, tmp_path / "fused.nii.gz", "mr", "pet")
    fused = prepared_for_fusing(*paths, ("mr", "pet"))
    assert fused.numel() > 1e6
    assert torch.equal(prepared_for_training(*paths, ("mr", "pet")), fused)
    assert torch.equal(measured(monkeypatch, tmp_path / "fused.nii.gz", *paths)[:, 1:], with_content(fused))
