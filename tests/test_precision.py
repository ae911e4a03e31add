"""The precision of the network, from the command to the record."""

import json

import torch
from sample_images import write_picture
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.formats.reading import read_image


def fused_in(folder, precision):
    output = folder / f"{precision}.png"
    arguments = [str(folder / "a.png"), str(folder / "b.png"), "-o", str(output), "--precision", precision]
    return CliRunner().invoke(app, ["fuse", *arguments, "--device", "cpu"]), output


def test_half_precision_fuses_nearly_the_same_picture_and_is_recorded(tmp_path):
    for seed, name in enumerate(("a.png", "b.png")):
        write_picture(tmp_path / name, seed)
    pictures = []
    for precision in ("float32", "bfloat16"):
        result, output = fused_in(tmp_path, precision)
        assert result.exit_code == 0, result.output
        assert json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["precision"] == precision
        pictures.append(read_image(output).as_tensor())
    assert not torch.equal(*pictures)
    torch.testing.assert_close(*pictures, rtol=0, atol=5)  # of 255


def test_an_unknown_precision_is_refused_in_one_sentence(tmp_path):
    for seed, name in enumerate(("a.png", "b.png")):
        write_picture(tmp_path / name, seed)
    result, output = fused_in(tmp_path, "float8")
    assert result.exit_code == 2
    assert "precision 'float8' is unknown: use float32, bfloat16, float16" in " ".join(result.output.split())
    assert not output.exists()
