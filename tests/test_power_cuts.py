"""Killed at random, on a full disk, twice at once: nothing is lost or half-written; the next start continues."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_tools import are_whole, outputs
from power_cut_tools import (
    SlowServer,
    command,
    fetch,
    finish,
    killed_after,
    random_content,
    told,
    with_small_files,
)
from sample_images import write_picture, write_volume

from monai_s3im.formats.writing import sha256_of
from monai_s3im.networks import S3IMFusion, load_weights
from monai_s3im.training.handlers import latest_checkpoint

TRAINING = ["--batch_size", "2", "--patch_size", "64", "--device", "cpu", "--logging_file", "false"]


@pytest.fixture(scope="module", autouse=True)
def imported():
    """The server has imported everything, so the first task is timed without imports."""
    finish(time.sleep, 0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A list of six pairs, and a datalist of four of them to train on and two to validate on."""
    folder = tmp_path_factory.mktemp("pictures")
    rows, items = [], []
    for index in range(6):
        files = [
            write_picture(folder / f"{key}{index}.png", 10 * index + n, (66, 72)).name for n, key in enumerate("ab")
        ]
        rows.append([f"case{index}", *files, "mr", "ct"])
        items.append({"image_a": files[0], "image_b": files[1], "modality_a": "mr", "modality_b": "ct"})
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["name", "image_a", "image_b", "modality_a", "modality_b"], *rows])
    (folder / "datalist.json").write_text(json.dumps({"training": items[:4], "validation": items[4:]}))
    return folder


def train(data, out, epochs):
    resume = ["--resume", "latest"] if latest_checkpoint(out / "checkpoints") else []
    return [command, "train", "--dataset_dir", data, "--output_dir", out, "--epochs", epochs, *TRAINING, *resume]


def check_training(undisturbed, disturbed):
    """Compare bit by bit: the last checkpoint with all its contents, and the best model."""
    first, second = (latest_checkpoint(folder / "checkpoints") for folder in (undisturbed, disturbed))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert (undisturbed / "model.pt").read_bytes() == (disturbed / "model.pt").read_bytes()
    assert not list(disturbed.rglob(".s3im-*"))


def kill_training(data, out, epochs, kills, seconds, random):
    """Kill it several times before its end, each time after a random delay; return how often it was still running."""
    done = 0
    while done < kills:
        before = latest_checkpoint(out / "checkpoints")
        done += killed_after(random.uniform(0, seconds), *train(data, out, epochs))
        after = latest_checkpoint(out / "checkpoints")
        if after is not None:
            torch.load(after, weights_only=True)  # whole, whenever it was killed
        assert before is None or after is not None
        if (out / "model.pt").exists():
            load_weights(S3IMFusion(), out / "model.pt")
        if after is not None and f"={2 * epochs}." in after.name:
            break
    return done


def test_training_that_is_killed_ends_with_the_very_weights_of_an_undisturbed_one(pictures, tmp_path):
    seconds = finish(*train(pictures, tmp_path / "undisturbed", 3))
    assert kill_training(pictures, tmp_path / "out", 3, 2, 0.7 * seconds, np.random.default_rng(0)) > 0
    finish(*train(pictures, tmp_path / "out", 3))
    check_training(tmp_path / "undisturbed", tmp_path / "out")


@pytest.mark.slow
def test_training_that_is_killed_twenty_times_ends_with_the_very_weights(pictures, tmp_path):
    first = finish(*train(pictures, tmp_path / "first", 1))  # most of it is not the epoch, but the start
    others = finish(*train(pictures, tmp_path / "undisturbed", 40)) - first
    assert kill_training(pictures, tmp_path / "out", 40, 20, first + others / 10, np.random.default_rng(1)) == 20
    assert latest_checkpoint(tmp_path / "out" / "checkpoints") is not None  # it did go on between the kills
    finish(*train(pictures, tmp_path / "out", 40))
    check_training(tmp_path / "undisturbed", tmp_path / "out")


def batch(pictures, out):
    return [command, "fuse", "--pairs", pictures / "pairs.csv", "-o", out, "--device", "cpu", "--resume"]


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_batch_that_is_killed_and_resumed_is_that_of_an_undisturbed_one(pictures, tmp_path, kills):
    out, random = tmp_path / "out", np.random.default_rng(kills)
    seconds = finish(*batch(pictures, tmp_path / "undisturbed"))
    for _ in range(kills):
        killed_after(random.uniform(0, seconds), *batch(pictures, out))
        assert not out.exists() or are_whole(out)
    finish(*batch(pictures, out))
    assert outputs(out) == outputs(tmp_path / "undisturbed")


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_volume_fused_during_a_power_cut_is_old_or_new_and_never_half(tmp_path, kills):
    a, b = (write_volume(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("ab"))
    out = tmp_path / "out"
    work = [command, "fuse", a, b, "-o", out / "fused.nii.gz", "--device", "cpu"]
    seconds, random = finish(*work), np.random.default_rng(kills)
    image, record = (out / "fused.nii.gz").read_bytes(), (out / "fused.json").read_bytes()
    for trial in range(kills):
        if trial % 2:
            (out / "fused.nii.gz").unlink()
            (out / "fused.json").unlink()
        killed_after(random.uniform(0, seconds), *work)
        for file, content in (("fused.nii.gz", image), ("fused.json", record)):
            assert not (out / file).exists() or (out / file).read_bytes() == content
        finish(*work)
        assert sorted(path.name for path in out.iterdir()) == ["fused.json", "fused.nii.gz"]


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_report_is_the_old_one_or_none(pictures, tmp_path, kills):
    finish(*batch(pictures, tmp_path))
    page, random = tmp_path / "report.html", np.random.default_rng(kills)
    work = [command, "report", tmp_path, "--pairs", pictures / "pairs.csv"]
    seconds = finish(*work)
    for _ in range(kills):
        killed_after(random.uniform(0, seconds), *work)
        assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
    finish(*work)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_killed_download_leaves_the_complete_file_or_none(tmp_path, kills):
    content, random = random_content(4_000_000), np.random.default_rng(kills)
    with closing(SlowServer(content)) as server:
        seconds = finish(fetch, server.url, tmp_path / "once.bin")
        for _ in range(kills):
            killed_after(random.uniform(0, seconds), fetch, server.url, tmp_path / "file.bin")
            assert not (tmp_path / "file.bin").exists() or (tmp_path / "file.bin").read_bytes() == content
        finish(fetch, server.url, tmp_path / "file.bin")
        assert (tmp_path / "file.bin").read_bytes() == content


def test_two_batches_at_once_in_one_folder_end_with_the_files_of_one(pictures, tmp_path):
    finish(*batch(pictures, tmp_path / "alone"))
    waits = [told(batch(pictures, tmp_path / "out")[1:]) for _ in range(2)]
    assert [wait()[0] for wait in waits] == [0, 0]
    assert outputs(tmp_path / "out") == outputs(tmp_path / "alone")


def test_training_reports_a_full_disk_and_leaves_nothing_half_written(pictures, tmp_path):
    finish(*train(pictures, tmp_path, 1))
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    before = {path: sha256_of(path) for path in (checkpoint, tmp_path / "model.pt")}
    code, said = with_small_files(100_000, *train(pictures, tmp_path, 2)[1:])
    assert code == 2, said[-3000:]
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "cannot be written (the file is larger than the limit here)" in line
    assert {path: sha256_of(path) for path in before} == before
    finish(*train(pictures, tmp_path, 2))
    assert latest_checkpoint(tmp_path / "checkpoints").name == "checkpoint_iteration=4.pt"


READ_ONLY = """
import logging, sys
logging.raiseExceptions = False  # the runner closes the stream of each command before
from typer.testing import CliRunner
from monai_s3im.cli import app
for line in sys.stdin.read().splitlines():
    result = CliRunner().invoke(app, line.split("|"))
    errors = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    print(result.exit_code, *errors[-1:], sep="|")
"""


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_read_only_folder_is_reported_and_stays_unchanged(pictures, tmp_path):
    folder = tmp_path / "archive"
    shutil.copytree(pictures, folder)
    finish(*batch(folder, folder))
    before = outputs(folder)
    picture = ["fuse", folder / "a0.png", folder / "b0.png", "-o"]
    sources = ["--source", folder / "a0.png", "--source", folder / "b0.png"]
    lines = [
        [*picture, folder / "fused.png"],
        [*picture, folder / "new" / "fused.png"],
        ["fuse", "--pairs", folder / "pairs.csv", "-o", folder],
        ["report", folder],
        ["train", "--dataset_dir", folder, "--output_dir", folder / "run", "--epochs", "1", *TRAINING],
        ["evaluate", folder / "case0.png", *sources, "--csv", folder / "values.csv"],
        ["export", folder / "model.ts"],
    ]
    folder.chmod(0o500)
    may_not = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        said = subprocess.run(
            [*may_not, sys.executable, "-c", READ_ONLY],
            input="\n".join("|".join(map(str, line)) for line in lines),
            capture_output=True, check=True, text=True, encoding="utf-8",
        ).stdout.splitlines()  # fmt: skip
    finally:
        folder.chmod(0o700)
    for line, answer in zip(lines, said, strict=True):
        code, _, sentence = answer.partition("|")
        assert code == "2", (line, answer)
        assert sentence.startswith("error: "), (line, answer)
        assert str(folder) in sentence, (line, answer)
    assert outputs(folder) == before
    assert not [file.name for file in folder.iterdir() if file.is_dir() or file.name.startswith(".")]


@pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_full_disk_is_reported_by_a_fusion_that_leaves_nothing(tmp_path, suffix):
    write = write_picture if suffix == ".png" else write_volume
    file = write(tmp_path / ("a.png" if suffix == ".png" else "a.nii.gz"))
    out = tmp_path / "out" / f"fused{suffix}"
    code, said = with_small_files(150, "fuse", file, file, "-o", out, "--device", "cpu")
    assert code == 2
    assert f"fused{suffix} cannot be written" in said
    assert not Path(tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
