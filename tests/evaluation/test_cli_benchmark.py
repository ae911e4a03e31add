"""The command s3im benchmark quality."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from monai_s3im.cli import app


@pytest.fixture
def folders(tmp_path):
    random = np.random.default_rng(1)
    for name in ("mr", "ct", "mine"):
        (tmp_path / name).mkdir()
        for stem in ("1001", "2001"):
            Image.fromarray(random.integers(0, 256, (32, 40), dtype=np.uint8)).save(tmp_path / name / f"{stem}.png")
    return tmp_path


def run(folders, *arguments, modality_b="ct"):
    common = ["benchmark", "quality", str(folders / "mr"), str(folders / "ct"), "-o", str(folders / "out")]
    return CliRunner().invoke(app, [*common, "--modality-b", modality_b, *arguments])


def test_the_table_is_printed_and_everything_is_written(folders):
    result = run(folders, "--method", f"mine={folders / 'mine'}")
    assert result.exit_code == 0, result.output
    assert "| **mine** |" in result.output
    assert {file.name for file in (folders / "out").iterdir()} == {
        "quality.md",
        "quality.tex",
        "quality.csv",
        "quality.json",
        "radar.png",
        "boxes.png",
        "montage.png",
    }


@pytest.mark.parametrize(
    ("modality_b", "arguments", "weights"),
    [
        ("ct", [], "model_ct_mri.pt"),
        ("spect", [], "model_spect_mri.pt"),
        ("pet", [], "model_spect_mri.pt"),
        ("mr", [], "model_medical.pt"),
        ("infrared", [], "model_infrared.pt"),
        ("ir", [], "model_infrared.pt"),
        ("pet", ["--modality-a", "ct"], "model_medical.pt"),
    ],
)
def test_without_a_method_the_weights_are_those_of_the_task(modality_b, arguments, weights, folders):
    result = run(folders, *arguments, modality_b=modality_b)
    assert result.exit_code == 0, result.output
    records = [json.loads(file.read_text(encoding="utf-8")) for file in (folders / "out" / "S3IMFusion").glob("*.json")]
    assert [record["weights_file"] for record in records] == [weights, weights]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "mine"], "mine is not NAME=FOLDER"),
        (["--method", "mine=/nowhere"], "/nowhere is not a folder"),
        (["--peers", "/nowhere"], "/nowhere is not a folder"),
    ],
)
def test_input_that_cannot_be_compared_is_reported_in_one_line(arguments, sentence, folders):
    result = run(folders, *arguments)
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert sentence in result.output
    assert result.output.count("\n") == 1
