"""The commands beside `fuse`: train, evaluate, data."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.engines import SupervisedTrainer
from PIL import Image
from typer.testing import CliRunner

from monai_s3im import __version__
from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.pairs import download
from monai_s3im.workflows import Training


def s3im(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data_set(tmp_path):
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    for name in ("image_a", "image_b"):
        (folder / name).mkdir(parents=True)
        for index in range(4):
            coarse = Image.fromarray(random.integers(0, 256, (9, 9), dtype=np.uint8))
            coarse.resize((72, 72), Image.Resampling.BICUBIC).save(folder / name / f"{index}.png")
    items = [{"image_a": f"image_a/{i}.png", "image_b": f"image_b/{i}.png"} for i in range(4)]
    (folder / "datalist.json").write_text(json.dumps({"training": items[:3], "validation": items[3:]}))
    return folder


def train(data_set, tmp_path, *more, code=0):
    settings = ["--output_dir", tmp_path / "run", "--batch_size", 3, "--patch_size", 64, "--device", "cpu"]
    return s3im("train", "--dataset_dir", data_set, *settings, *more, code=code)


def test_train_writes_weights_that_fuse_takes(data_set, tmp_path):
    train(data_set, tmp_path, "--epochs", 1)
    weights = tmp_path / "run" / "model.pt"
    pair = [data_set / "image_a" / "0.png", data_set / "image_b" / "0.png"]
    s3im("fuse", *pair, "-o", tmp_path / "fused.png", "--weights", weights)
    with Image.open(tmp_path / "fused.png") as fused:
        assert fused.size == (72, 72)


def test_train_prints_the_loss(data_set, tmp_path):
    settings = ["--output_dir", tmp_path / "run", "--patch_size", 64, "--device", "cpu", "--epochs", 1]
    command = [sys.executable, "-m", "monai_s3im", "train", "--dataset_dir", data_set, *settings]
    said = subprocess.run(list(map(str, command)), capture_output=True, check=True, text=True, encoding="utf-8")
    assert re.search(r"Epoch: 1/1, Iter: 1/1 -- train_loss: \d+\.\d+", said.stdout)


def test_the_second_recipe_starts_from_the_weights_of_the_first(data_set, tmp_path):
    train(data_set, tmp_path, "--config", "train_salient", "--epochs", 1, "--learning_rate", 0)
    trained = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    first = torch.load(bundle_root() / "models" / "model_paper.pt", weights_only=True)
    for name in first:  # the mean of constant weights is the weights, except for rounding
        if "running" not in name and "num" not in name:
            torch.testing.assert_close(trained[name], first[name])


def test_train_names_a_config_that_is_missing(data_set, tmp_path):
    assert "gone.json is neither" in train(data_set, tmp_path, "--config", "gone.json", code=2).stderr


def test_train_names_a_data_set_that_is_missing(tmp_path):
    result = train(tmp_path / "gone", tmp_path, code=2)
    assert result.stderr.startswith("error: ")
    assert str(tmp_path / "gone") in result.stderr
    assert "Traceback" not in result.output


def test_train_names_what_it_cannot_resume_from(data_set, tmp_path):
    result = train(data_set, tmp_path, "--resume", "latest", code=2)
    assert "no checkpoint to resume from" in result.stderr


@pytest.mark.parametrize("arguments", [["--epochs"], ["epochs", "3"]])
def test_train_refuses_what_is_not_an_override(arguments):
    assert "is not an option with a value: write --ID VALUE" in s3im("train", *arguments, code=2).stderr


@pytest.mark.parametrize(
    ("name", "said"), [("--epoch", "did you mean --epochs?"), ("--qqq", "config"), ("--los#gamma_1", "--loss?")]
)
def test_train_refuses_an_id_that_the_config_lacks(name, said, tmp_path):
    message = s3im("train", "--output_dir", tmp_path, name, 1, code=2).stderr
    assert f"{name} is not an id of the config" in message
    assert message.strip().endswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--patch_size", 32],
            "32 x 32 pixels are too small for this loss, which draws 64 x 64 of them: train on larger crops (",
        ),
        (["--device", "gpu"], "device string: gpu"),
        (["--loss#gamma_1", "much"], "--loss#gamma_1 much cannot be used: "),
        (["--loss#s3im", 5], "--loss#s3im is not an id of the config"),
        (["--loss#gamma_4", 5], "did you mean --loss#gamma_3?"),
        (["--train#trianer#max_epochs", 5], "did you mean --train#trainer?"),
        (["--trainer::max_epochs", 2], "did you mean --train#trainer#max_epochs?"),
        (["--network_def#in_channels", 3], "the network takes 3 sources, but the data has 2 (image_a, image_b)"),
        (["--train#handlers#9", 5], "--train#handlers#9 is not an id of the config"),
        (["--epochs", 0], "--epochs 0 cannot be used: give a whole number, 1 or more"),
        (["--epochs", "many"], "--epochs many cannot be used"),
        (["--batch_size", 0], "--batch_size 0 cannot be used"),
    ],
)
def test_train_says_in_one_sentence_which_settings_cannot_be_used(arguments, said, data_set, tmp_path):
    result = train(data_set, tmp_path, *arguments, code=2)
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output


def test_train_without_settings_shows_the_traceback_of_what_fails(monkeypatch):
    def fails(self):
        raise ValueError("a fault of the program")

    monkeypatch.setattr(Training, "initialize", fails)
    assert "a fault of the program" in str(s3im("train", code=1).exception)
    assert "error: the settings --epochs 3 cannot be used: a fault" in s3im("train", "--epochs", 3, code=2).stderr


def test_train_shows_the_traceback_of_what_fails_after_a_step(data_set, tmp_path, monkeypatch):
    step = SupervisedTrainer._iteration

    def step_then_fail(self, engine, batch):
        if engine.state.iteration == 2:
            raise ValueError("no fault of the settings")
        return step(self, engine, batch)

    monkeypatch.setattr(SupervisedTrainer, "_iteration", step_then_fail)
    result = train(data_set, tmp_path, "--batch_size", 1, "--epochs", 1, code=1)
    assert "no fault of the settings" in str(result.exception.__cause__)


def test_train_takes_parameters_that_the_config_does_not_name(data_set, tmp_path):
    more = [
        "--optimizer#eps",
        1e-7,
        "--train#dataloader#drop_last",
        "false",
        "--train#trainer#optim_set_to_none",
        "true",
    ]
    train(data_set, tmp_path, "--epochs", 1, "--learning_rate", ".001", *more)


def test_train_accepts_a_number_as_the_name_of_a_folder(data_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_set.rename("2024")
    train("2024", tmp_path, "--epochs", 1, "--output_dir", "11")
    assert (tmp_path / "11" / "model.pt").is_file()


def test_interrupted_training_is_reported_and_can_be_resumed(data_set, tmp_path, monkeypatch):
    step = SupervisedTrainer._iteration

    def step_then_ctrl_c(self, engine, batch):
        if engine.state.iteration == 2:
            raise KeyboardInterrupt
        return step(self, engine, batch)

    monkeypatch.setattr(SupervisedTrainer, "_iteration", step_then_ctrl_c)
    train(data_set, tmp_path, "--epochs", 5, code=130)
    monkeypatch.undo()
    train(data_set, tmp_path, "--epochs", 2, "--resume", "latest")
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert "checkpoint_iteration=2.pt" in names


def test_evaluate_prints_a_table_and_writes_json_and_csv(data_set, tmp_path):
    sources = ["--source", data_set / "image_a", "--source", data_set / "image_b"]
    files = ["--json", tmp_path / "v.json", "--csv", tmp_path / "v.csv"]
    result = s3im("evaluate", data_set / "image_a", *sources, *files)
    assert "Qabf" in result.output
    values = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert list(values["cases"]) == ["0", "1", "2", "3"]
    assert list(values["mean"]) == ["EN", "AG", "MI", "SSIM", "PSNR", "Qabf", "SCD", "SF", "SD", "VIF"]
    assert values["mean"]["EN"] == pytest.approx(np.mean([case["EN"] for case in values["cases"].values()]))
    assert len((tmp_path / "v.csv").read_text(encoding="utf-8").splitlines()) >= 5


def test_evaluate_requires_two_sources(data_set):
    assert "two sources" in s3im("evaluate", data_set / "image_a", "--source", data_set / "image_a", code=2).stderr


def test_data_list_names_each_pair_with_its_section(data_set):
    lines = s3im("data", "list", data_set).output.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["training", str(i)] for i in range(3)] + [["validation", "3"]]


def test_data_check_reports_every_problem_at_once(data_set):
    assert s3im("data", "check", data_set).output.startswith("4 pairs, 0 problems")
    (data_set / "image_b" / "0.png").unlink()
    Image.new("L", (5, 5), 3).save(data_set / "image_b" / "1.png")
    result = s3im("data", "check", data_set, code=2)
    assert "0.png does not exist" in result.stderr
    assert "5 x 5" in result.stderr
    assert "4 pairs, 2 problems" in result.output


@pytest.mark.parametrize("command", ["list", "check"])
def test_data_names_an_empty_folder(command, tmp_path):
    assert str(tmp_path) in s3im("data", command, tmp_path, code=2).stderr


def test_the_version_is_reported():
    assert s3im("--version").output == f"{__version__}\n"


def test_data_phantom_writes_a_set_that_checks(tmp_path):
    result = s3im("data", "phantom", tmp_path / "phantom", "--subjects", 2)
    output = result.output
    assert result.stderr == "", "no progress where nobody looks"
    assert all(str(tmp_path / "phantom" / name) in output for name in ("datalist.json", "volumes/pairs.csv"))
    assert "0 problems" in s3im("data", "check", tmp_path / "phantom").output
    assert "3 pairs, 0 problems" in s3im("data", "check", tmp_path / "phantom" / "volumes" / "pairs.csv").output


def test_data_download_names_a_set_that_it_does_not_know(tmp_path):
    result = s3im("data", "download", "atlantis", tmp_path / "x", code=2)
    assert all(name in result.stderr for name in download.DATASETS)
