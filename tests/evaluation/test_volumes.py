"""The command s3im benchmark volumes."""

import json

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from sample_images import GRID, SMALLER, write_volume
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.evaluation import READING_GUARDS, volume_guards

SHAPE = (24, 20, 18)


def s3im(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """Two fused pairs of volumes, one of MR and PET, with their list."""
    folder = tmp_path_factory.mktemp("volumes")
    write_volume(folder / "a.nii.gz", 0, SHAPE, GRID)
    write_volume(folder / "b.nii.gz", 5, SHAPE, GRID)
    write_volume(folder / "pet.nii.gz", 7, *SMALLER)
    rows = [
        "name,image_a,image_b,modality_a,modality_b",
        "same,a.nii.gz,b.nii.gz,mr,mr",
        "hot,a.nii.gz,pet.nii.gz,mr,pet",
    ]
    (folder / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    result = s3im("fuse", "--pairs", folder / "pairs.csv", "-o", folder / "fused", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    return folder


def test_every_volume_is_measured_and_drawn(fused, tmp_path):
    result = s3im("benchmark", "volumes", fused / "fused", "--pairs", fused / "pairs.csv", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"volumes.md", "volumes.json", "same.png", "hot.png"}
    volumes = json.loads((tmp_path / "out" / "volumes.json").read_text(encoding="utf-8"))["volumes"]
    assert list(volumes["same"]) == ["background", "invented", "calm", "grid"]
    readings = ["read", "read error", "reversed", "anatomy"]
    assert list(volumes["hot"]) == ["background", "uptake", "invented", "calm", "grid", *readings]
    assert all(READING_GUARDS[name].holds(volumes["hot"][name]) for name in readings)
    assert 0.5 < volumes["same"]["calm"] < 1.5
    assert "| same | mr + mr |" in result.output
    with Image.open(tmp_path / "out" / "hot.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 20


def test_volumes_that_are_missing_are_reported_in_a_line(fused, tmp_path):
    result = s3im("benchmark", "volumes", tmp_path, "--pairs", fused / "pairs.csv", "-o", tmp_path / "out")
    assert (result.exit_code, result.output) == (
        2,
        f"error: {tmp_path} holds no fused volume of these pairs: fuse them with s3im fuse --pairs first\n",
    )


def test_guards_of_pictures_are_means_over_the_slices():
    sources = torch.zeros(2, 16, 16, 20)
    sources[1, 4:8, 4:8, :4] = 1.0  # bone in 4 of 20 slices
    fused = sources[1:].clone()
    fused[..., :2] *= 0.5  # half as bright in two of them
    fused[0, 0, 0] = 1 / 255  # in the background
    found = volume_guards(fused, sources, "ct")
    assert found["bone"] == pytest.approx(0.75)
    assert found["background"] == pytest.approx(
        (4 / 240 + 16 / 256) / 20, rel=1e-5
    )  # one pixel of 1 among 240 or 256 dark ones


def fuse_hot(fused, output, *options):
    """The pair of MR and PET of the list, with options."""
    pairs = fused / "hot.csv"
    pairs.write_text("name,image_a,image_b,modality_a,modality_b\nhot,a.nii.gz,pet.nii.gz,mr,pet\n", encoding="utf-8")
    result = s3im("fuse", "--pairs", pairs, "-o", output, "--device", "cpu", *options)
    assert result.exit_code == 0, result.stderr
    return pairs


def test_a_colour_map_without_colour_is_measured_and_breaks_the_guards(fused, tmp_path):
    """Its RGB volume is read as a gray one."""
    pairs = fuse_hot(fused, tmp_path / "fused", "--color-map", "gray")
    result = s3im("benchmark", "volumes", tmp_path / "fused", "--pairs", pairs, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    volumes = json.loads((tmp_path / "out" / "volumes.json").read_text(encoding="utf-8"))["volumes"]
    assert volumes["hot"]["read"] < READING_GUARDS["read"].bound
    assert "(broken)" in result.output


def test_a_range_far_above_all_uptake_leaves_nothing_to_read(fused, tmp_path):
    pairs = fuse_hot(fused, tmp_path / "fused", "--range-b", "0,100000")
    result = s3im("benchmark", "volumes", tmp_path / "fused", "--pairs", pairs, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    volumes = json.loads((tmp_path / "out" / "volumes.json").read_text(encoding="utf-8"))["volumes"]
    assert volumes["hot"]["read"] is None


def test_the_file_of_a_colour_map_is_named_again(fused, tmp_path):
    colors = tmp_path / "own.txt"
    np.savetxt(colors, mpl.colormaps["plasma"](range(256))[:, :3])
    pairs = fuse_hot(fused, tmp_path / "fused", "--color-map", colors)
    measure = ["benchmark", "volumes", tmp_path / "fused", "--pairs", pairs, "-o", tmp_path / "out"]
    without = s3im(*measure)
    assert (without.exit_code, without.output.endswith("name it (--color-map)\n")) == (2, True)
    assert s3im(*measure, "--color-map", colors).exit_code == 0
    volumes = json.loads((tmp_path / "out" / "volumes.json").read_text(encoding="utf-8"))["volumes"]
    assert all(guard.holds(volumes["hot"][name]) for name, guard in READING_GUARDS.items())
