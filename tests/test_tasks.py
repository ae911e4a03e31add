"""Weights by task: chosen by the modalities of each pair, or by name."""

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sample_images import write_volume
from typer.testing import CliRunner

from monai_s3im.batch import fuse_batch
from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.modalities import MODALITIES, TASKS, task_of, task_weights
from monai_s3im.networks import PyramidFusion, S3IMFusion, TaskNetworks, load_weights
from monai_s3im.pairs.inference import fusion_pairs
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser

MODELS = bundle_root() / "models"


def record_of(output):
    return json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


FIGURE_2 = {"model.pt", "model_paper.pt", "own.pt"}


def by_hand(weights, image_a, image_b):
    """The fusion of two gray pictures, 0..255, with these weights."""
    network = (S3IMFusion() if weights.name in FIGURE_2 else PyramidFusion()).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    pair = np.stack([np.asarray(Image.open(file), dtype=np.float32) for file in (image_a, image_b)]) / 255
    with torch.no_grad():
        return (network(torch.from_numpy(pair)[None])[0, 0].clamp(0, 1) * 255).round().numpy()


@pytest.mark.parametrize(
    ("modality_a", "modality_b", "task"),
    [
        ("mr", "ct", "ct-mri"),
        ("pet", "mr", "spect-pet-mri"),
        ("mr", "spect", "spect-pet-mri"),
        ("mr", "mr", "medical"),
        ("ct", "pet", "medical"),
        ("us", "generic", "medical"),
        ("generic", "generic", "medical"),
        ("visible", "infrared", "infrared-visible"),
        ("infrared", "visible", "infrared-visible"),
        ("generic", "infrared", "infrared-visible"),
        ("visible", "visible", "infrared-visible"),
        ("ct", "infrared", None),
        ("visible", "mr", None),
    ],
)
def test_the_modalities_of_a_pair_give_its_task(modality_a, modality_b, task):
    assert task_of(modality_a, modality_b) == task


def test_every_modality_belongs_to_a_task_with_its_like():
    assert {task_of(name, name) for name in MODALITIES} == {"medical", "infrared-visible"}


def test_each_task_has_weights_of_its_own_that_the_package_brings():
    files = [MODELS / task.weights for task in TASKS.values()]
    assert len({sha256(file) for file in files}) == len(TASKS)


@pytest.mark.parametrize(
    ("modalities", "task", "weights"),
    [
        (("mr", "ct"), "ct-mri", "model_ct_mri.pt"),
        (("mr", "spect"), "spect-pet-mri", "model_spect_mri.pt"),
        (("visible", "infrared"), "infrared-visible", "model_infrared.pt"),
        ((None, None), "medical", "model_medical.pt"),
        ((None, "infrared"), "infrared-visible", "model_infrared.pt"),
    ],
)
def test_a_pair_is_fused_by_the_weights_of_its_task(fuser, pictures, tmp_path, modalities, task, weights):
    fuser(*pictures, tmp_path / "out.png", *modalities)
    fused = np.asarray(Image.open(tmp_path / "out.png"), dtype=np.float32)
    np.testing.assert_allclose(fused, by_hand(MODELS / weights, *pictures), rtol=0, atol=1)
    record = record_of(tmp_path / "out.png")
    told = {name: record[name] for name in ("task", "weights_file", "weights_sha256", "warnings")}
    unknown = [name for name, modality in zip(("a.png", "b.png"), modalities, strict=True) if modality is None]
    warning = (
        f"{' and '.join(unknown)} {'have' if len(unknown) > 1 else 'has'} no modality in header or name, so the "
        f"weights are those of the task {task}: name the modalities (--modality-a, --modality-b)"
    )
    expected = {"task": task, "weights_file": weights, "weights_sha256": sha256(MODELS / weights)}
    assert told == {**expected, "warnings": [warning] if unknown else []}
    assert "weights" not in record  # those of the other task
    other = by_hand(MODELS / ({"model_paper.pt", "model_infrared.pt"} - {weights}).pop(), *pictures)
    assert np.abs(fused - other).max() > 3


def test_modalities_of_different_tasks_are_refused_in_one_sentence(fuser, pictures, tmp_path):
    sentence = (
        "CT and infrared match no task: name the right modalities, or choose a task: "
        "ct-mri, spect-pet-mri, medical, infrared-visible, figure-2"
    )
    with pytest.raises(InputError) as refusal:
        fuser(*pictures, tmp_path / "out.png", "ct", "infrared")
    assert str(refusal.value) == sentence
    assert not (tmp_path / "out.png").exists()


def test_a_task_against_the_modalities_gives_a_warning_and_is_recorded(pictures, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Fuser(device="cpu", task="medical")(*pictures, tmp_path / "out.png", "visible", "infrared")
    sentence = (
        "the pair is visible light and infrared, and the weights are those of the task medical: look at the result "
        "before you use it"
    )
    assert caplog.messages == [sentence]
    record = record_of(tmp_path / "out.png")
    assert (record["task"], record["weights_file"], record["warnings"]) == ("medical", "model_medical.pt", [sentence])


def test_a_warning_of_the_task_is_recorded_with_those_of_the_registration(tmp_path):
    volumes = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5)
    plain, warned = tmp_path / "plain.nii.gz", tmp_path / "warned.nii.gz"
    Fuser(device="cpu", register="rigid")(*volumes, plain, "mr", "pet")
    Fuser(device="cpu", register="rigid", task="infrared-visible")(*volumes, warned, "mr", "pet")
    before, after = (
        json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["warnings"] for name in ("plain", "warned")
    )
    assert after[:-1] == before
    assert after[-1].startswith("the pair is MR and PET, and the weights are those of the task infrared-visible")


def test_a_named_task_that_fits_is_used_without_a_warning(pictures, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Fuser(device="cpu", task="infrared-visible")(*pictures, tmp_path / "out.png")
    assert caplog.messages == []
    assert record_of(tmp_path / "out.png")["weights_file"] == "model_infrared.pt"


@pytest.mark.parametrize("modalities", [("mr", "ct"), ("mr", "mr"), ("pet", "mr")])
def test_the_network_of_figure_2_fuses_any_medical_pair_of_those_who_name_it(pictures, tmp_path, caplog, modalities):
    with caplog.at_level(logging.WARNING):
        Fuser(device="cpu", task="figure-2", gray=True)(*pictures, tmp_path / "out.png", *modalities)
    assert caplog.messages == []
    fused = np.asarray(Image.open(tmp_path / "out.png"), dtype=np.float32)
    expected = by_hand(MODELS / "model.pt", *pictures)
    np.testing.assert_allclose(fused, expected, rtol=0, atol=1)
    record = record_of(tmp_path / "out.png")
    assert (record["task"], record["weights_file"]) == ("figure-2", "model.pt")


def test_the_network_of_figure_2_is_not_for_infrared(pictures, tmp_path):
    Fuser(device="cpu", task="figure-2")(*pictures, tmp_path / "out.png", "visible", "infrared")
    (warning,) = record_of(tmp_path / "out.png")["warnings"]
    assert "the weights are those of the task figure-2" in warning


@pytest.mark.parametrize("modalities", [("mr", "ct"), ("visible", "infrared"), ("ct", "infrared")])
@pytest.mark.parametrize("task", ["auto", "medical"])
def test_own_weights_are_used_for_every_pair_whatever_the_task(pictures, tmp_path, caplog, modalities, task):
    own = tmp_path / "own.pt"
    torch.manual_seed(0)
    torch.save(S3IMFusion().state_dict(), own)
    with caplog.at_level(logging.WARNING):
        Fuser(device="cpu", task=task, weights=own)(*pictures, tmp_path / "out.png", *modalities)
    assert caplog.messages == []
    record = record_of(tmp_path / "out.png")
    assert (record["task"], record["weights_file"], record["weights_sha256"]) == (None, "own.pt", sha256(own))
    fused = np.asarray(Image.open(tmp_path / "out.png"), dtype=np.float32)
    np.testing.assert_allclose(fused, by_hand(own, *pictures), rtol=0, atol=1)


def test_an_unknown_task_is_refused_by_function_and_command(pictures, tmp_path):
    sentence = "unknown task 'thermal': use one of auto, ct-mri, spect-pet-mri, medical, infrared-visible, figure-2"
    with pytest.raises(InputError, match=sentence):
        Fuser(device="cpu", task="thermal")
    images = [str(file) for file in pictures]
    result = CliRunner().invoke(app, ["fuse", *images, "-o", str(tmp_path / "out.png"), "--task", "thermal"])
    assert (result.exit_code, result.stderr) == (2, f"error: {sentence}\n")


@pytest.fixture
def mixed(pictures, tmp_path):
    """A list of pairs of both tasks in turn, and one pair of neither."""
    rows = [("one", "mr", "ct"), ("two", "visible", "infrared"), ("odd", "ct", "infrared"), ("three", "mr", "pet")]
    lines = ["name,image_a,image_b,modality_a,modality_b", *[f"{n},a.png,b.png,{a},{b}" for n, a, b in rows]]
    (tmp_path / "pairs.csv").write_text("\n".join(lines), encoding="utf-8")
    return fusion_pairs(pairs=tmp_path / "pairs.csv")


def test_a_batch_loads_the_file_of_each_task_in_it_once(mixed, tmp_path, monkeypatch):
    loaded, load = [], torch.load

    def counted(*arguments, **options):
        loaded.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", counted)
    fuser = Fuser(device="cpu")
    assert loaded == []
    results = list(fuse_batch(mixed, tmp_path / "out", fuser))
    assert len(loaded) == 3  # of four tasks: no pair is of the weights for all
    list(fuse_batch(mixed, tmp_path / "again", fuser))
    assert len(loaded) == 3
    assert [result.status for result in results] == ["fused", "fused", "failed", "fused"]
    assert results[2].error.startswith("CT and infrared match no task")
    used = [record_of(tmp_path / "out" / f"{name}.png")["task"] for name in ("one", "two", "three")]
    assert used == ["ct-mri", "infrared-visible", "spect-pet-mri"]


def test_a_resumed_batch_repeats_pairs_for_another_task(mixed, tmp_path, fuser):
    pairs = [pair for pair in mixed if pair.name != "odd"]
    list(fuse_batch(pairs, tmp_path / "out", fuser))

    def statuses(settings):
        fuser = Fuser(device="cpu", **settings)
        return [result.status for result in fuse_batch(pairs, tmp_path / "out", fuser, resume=True)]

    assert statuses({}) == ["skipped"] * 3
    assert statuses({"task": "ct-mri"}) == ["skipped", "fused", "fused"]
    assert statuses({"weights": MODELS / "model_paper.pt"}) == ["fused"] * 3
    assert statuses({"weights": MODELS / "model_paper.pt"}) == ["skipped"] * 3


def test_workers_choose_by_pair_too(mixed, tmp_path, fuser):
    pairs: list[Pair] = [pair for pair in mixed if pair.name != "odd"]
    list(fuse_batch(pairs, tmp_path / "out", fuser, workers=2))
    used = {name: record_of(tmp_path / "out" / f"{name}.png")["task"] for name in ("one", "two", "three")}
    assert used == {"one": "ct-mri", "two": "infrared-visible", "three": "spect-pet-mri"}


def test_only_the_files_that_may_be_needed_are_named():
    chosen_from = {name: MODELS.__class__("models") / t.weights for name, t in TASKS.items() if name != "figure-2"}
    assert task_weights("auto", "models") == chosen_from
    assert list(task_weights("figure-2", "models")) == ["figure-2"]
    assert list(task_weights("medical", "models")) == ["medical"]
    assert list(task_weights(None, "models", "own.pt")) == ["own"]


def test_a_batch_of_tensors_has_one_task():
    networks = TaskNetworks(S3IMFusion(), task_weights("auto", MODELS))
    pair = torch.rand(2, 2, 16, 16)
    with torch.no_grad():
        assert torch.equal(networks(pair, ["medical", "medical"]), networks(pair, "medical"))
        assert not torch.equal(networks(pair, "infrared-visible"), networks(pair, "medical"))
        with pytest.raises(ValueError, match="must have one task, not infrared-visible, medical"):
            networks(pair, ["medical", "infrared-visible"])


def test_weights_of_the_package_are_loaded_when_a_pair_first_needs_them_and_once():
    weights = task_weights("auto", MODELS)
    networks = TaskNetworks(S3IMFusion(), weights)
    assert list(networks.networks) == []
    pair = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = networks(pair, "ct-mri")
        assert list(networks.networks) == ["ct-mri"]
        assert not networks.networks["ct-mri"].training
        assert torch.equal(first, load_weights(S3IMFusion(), weights["ct-mri"])(pair))
        loaded = networks.networks["ct-mri"]
        assert torch.equal(networks(pair, "ct-mri"), first)
    assert networks.networks["ct-mri"] is loaded


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("remove", r"model_infrared\.pt does not exist"),
        ("damage", r"model_infrared\.pt is not the file that manifest"),
    ],
)
def test_one_file_of_weights_that_is_missing_or_damaged_is_refused_before_any_pair(tmp_path, change, words):
    models = tmp_path / "models"
    shutil.copytree(MODELS, models)
    file = models / "model_infrared.pt"
    if change == "remove":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        TaskNetworks(S3IMFusion(), task_weights("auto", models))


def test_own_weights_are_loaded_at_once_and_share_one_network(tmp_path):
    torch.save(S3IMFusion().state_dict(), tmp_path / "own.pt")
    networks = TaskNetworks(S3IMFusion(), dict.fromkeys(("medical", "ct-mri"), tmp_path / "own.pt"))
    assert networks.networks["medical"] is networks.networks["ct-mri"]


def test_weights_that_give_no_numbers_are_named(pictures, tmp_path):
    state = torch.load(MODELS / "model.pt", weights_only=True)
    state["stem.weight"].fill_(1e38)
    torch.save(state, tmp_path / "huge.pt")
    with pytest.raises(InputError, match=r"huge.pt gives NaN or infinity for these images"):
        Fuser(device="cpu", weights=tmp_path / "huge.pt")(*pictures, tmp_path / "fused.png", "mr", "ct")
    assert not (tmp_path / "fused.png").exists()
