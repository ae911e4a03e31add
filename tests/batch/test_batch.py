"""Batches: resuming, workers that die, and the summary."""

import csv
import json
import math
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batch_tools import FakeFuser, are_whole, called, outputs
from sample_images import GRID, SHAPE, blobs, write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.batch import run as batch
from monai_s3im.batch.local_pool import LostWorkerError
from monai_s3im.batch.run import fuse_batch, is_finished, output_path
from monai_s3im.batch.summary import CaseResult, Summary
from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.evaluation.evaluate import evaluate
from monai_s3im.formats.atomic import remove_leftovers
from monai_s3im.formats.writing import sha256_of, write_text, write_transform
from monai_s3im.metrics import FUSION_METRICS
from monai_s3im.pairs.lists import Pair, read_pairs
from monai_s3im.pipeline import Fuser


def run(*arguments):
    return CliRunner().invoke(app, ["fuse", *map(str, arguments), "--device", "cpu"])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def make_pairs(tmp_path):
    """Pairs of small pictures, by name; the second picture is the same for all."""

    def make(*names):
        other = write_picture(tmp_path / "b.png", 5)
        return [Pair(name, write_picture(tmp_path / "a" / f"{name}.png", i), other) for i, name in enumerate(names)]

    return make


def summary_of(folder):
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fused_anew(pairs, out, fuser=None):
    """Cases that a resumed batch works on."""
    before = len(called(out))
    list(fuse_batch(pairs, out, fuser or FakeFuser(), resume=True))
    return called(out)[before:]


def test_a_resumed_batch_skips_what_is_finished(make_pairs, out):
    pairs = make_pairs("one", "two", "three")
    list(fuse_batch(pairs[:2], out, FakeFuser()))
    before = outputs(out)
    results = list(fuse_batch(pairs, out, FakeFuser(), resume=True))
    assert [(result.name, result.status) for result in results] == [
        ("one", "skipped"),
        ("two", "skipped"),
        ("three", "fused"),
    ]
    assert called(out) == ["one", "two", "three"]
    assert before.items() <= outputs(out).items()


def test_without_resume_all_is_done_again(make_pairs, out):
    pairs = make_pairs("one", "two")
    for _ in range(2):
        assert {result.status for result in fuse_batch(pairs, out, FakeFuser())} == {"fused"}
    assert called(out) == ["one", "two"] * 2


def edit_record(out, **changes):
    record = json.loads((out / "one.json").read_text(encoding="utf-8"))
    (out / "one.json").write_text(json.dumps({**record, **changes}))


UNFINISHED = {
    "no output": lambda pair, out: (out / "one.png").unlink(),
    "no record": lambda pair, out: (out / "one.json").unlink(),
    "record cut short": lambda pair, out: os.truncate(out / "one.json", 40),
    "record empty": lambda pair, out: (out / "one.json").write_text(""),
    "record of something else": lambda pair, out: (out / "one.json").write_text("[1]"),
    "record without sources": lambda pair, out: edit_record(out, sources={}),
    "output cut short": lambda pair, out: os.truncate(out / "one.png", 40),
    "another output": lambda pair, out: write_picture(out / "one.png", 9),
    "image a changed": lambda pair, out: write_picture(pair.image_a, 9),
    "image b changed": lambda pair, out: write_picture(pair.image_b, 9),
    "other weights": lambda pair, out: edit_record(out, weights_sha256="1" * 64),
    "another setting": lambda pair, out: edit_record(out, plane="coronal"),
    "warnings that are none": lambda pair, out: edit_record(out, warnings=True),
    "one warning for a list": lambda pair, out: edit_record(out, warnings="what"),
    "numbers for warnings": lambda pair, out: edit_record(out, warnings=[1e300]),
    "another name": lambda pair, out: edit_record(out, fused="two.png"),
}


@pytest.mark.parametrize("spoil", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_a_changed_output_is_made_again(make_pairs, out, spoil):
    pairs = make_pairs("one")
    list(fuse_batch(pairs, out, FakeFuser()))
    assert fused_anew(pairs, out) == []
    spoil(pairs[0], out)
    assert fused_anew(pairs, out) == ["one"]
    assert fused_anew(pairs, out) == []


def test_another_modality_is_done_again_and_another_spelling_is_not(make_pairs, out):
    pairs = make_pairs("one")
    list(fuse_batch(pairs, out, FakeFuser()))
    pet = [replace(pairs[0], modality_b="pet")]
    assert fused_anew(pet, out) == ["one"]
    assert fused_anew([replace(pairs[0], modality_b="PET")], out) == []
    assert fused_anew([replace(pairs[0], modality_b="spect")], out) == ["one"]
    assert fused_anew(pairs, out) == ["one"]


def test_a_lost_or_altered_movement_is_estimated_again(make_pairs, out):
    pairs = make_pairs("one")
    list(fuse_batch(pairs, out, FakeFuser()))
    for spoil in ((out / "one.tfm").unlink, lambda: (out / "one.tfm").write_text("another")):
        (out / "one.tfm").write_text("a movement")
        found = {"kind": "rigid", "file": "one.tfm", "file_sha256": sha256_of(out / "one.tfm")}
        edit_record(out, registration=found)
        assert fused_anew(pairs, out) == []
        spoil()
        assert fused_anew(pairs, out) == ["one"]


def test_a_new_setting_of_the_pipeline_is_done_again(make_pairs, out):
    pairs = make_pairs("one")
    list(fuse_batch(pairs, out, FakeFuser()))
    assert fused_anew(pairs, out, FakeFuser(window="bone")) == ["one"]


def test_an_internal_error_does_not_stop_a_batch(make_pairs, out):
    results = list(fuse_batch(make_pairs("one", "broken", "two"), out, FakeFuser()))
    assert [result.status for result in results] == ["fused", "failed", "fused"]
    assert results[1].error == "unexpected ZeroDivisionError: our own fault"


def test_a_case_whose_worker_died_is_reported(make_pairs, out, monkeypatch):
    def one_dies(function, tool, pairs, workers):
        yield pairs[1], LostWorkerError("its process died, twice")
        yield pairs[0], function(tool, pairs[0])

    monkeypatch.setattr("monai_s3im.batch.run.run_in_workers", one_dies)
    pairs = make_pairs("one", "dead")
    results = {result.name: result for result in fuse_batch(pairs, out, FakeFuser(), workers=2)}
    assert results["one"].status == "fused"
    assert results["dead"].status == "failed"
    assert results["dead"].error == f"its process died, twice: try {pairs[1].image_a} and {pairs[1].image_b} alone"
    assert [row["name"] for row in summary_of(out)] == ["one", "dead"]


def test_an_interrupt_loses_nothing_that_is_finished_and_exits_with_130(many_pictures, out, monkeypatch):
    def interrupt(fuser, pair, **options):
        if pair.name == "3":
            raise KeyboardInterrupt
        return settle(fuser, pair, **options)

    settle = batch._settle
    monkeypatch.setattr(batch, "_settle", interrupt)
    result = run("--pairs", many_pictures, "-o", out)
    assert result.exit_code == 130
    assert "interrupted after 3 of 40 pairs: continue with --resume" in result.stderr
    assert [row["name"] for row in summary_of(out)] == ["0", "1", "2"]
    assert len(outputs(out)) == 6


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_workers_write_the_same_bytes_as_one(tmp_path):
    rows = ["name,image_a,image_b"]
    for index in range(4):
        write_picture(tmp_path / f"{index}.png", index)
        write_volume(tmp_path / f"{index}.nii.gz", index)
        rows += [f"p{index},{index}.png,0.png", f"v{index},{index}.nii.gz,0.nii.gz"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    for workers in (1, 2):
        more = ["--workers", workers, "--deterministic"]
        result = run("--pairs", tmp_path / "pairs.csv", "-o", tmp_path / str(workers), *more)
        assert result.exit_code == 0, result.stderr
    assert len(outputs(tmp_path / "1")) == 16
    assert outputs(tmp_path / "1") == outputs(tmp_path / "2")
    result = run("--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "2", "--resume", "--deterministic")
    assert result.stdout == f"8 of 8 pairs fused into {tmp_path / '2'}, 8 of them earlier\n"


def batch_command(pairs, out):
    options = ["--pairs", str(pairs), "-o", str(out), "--device", "cpu", "--resume"]
    return [sys.executable, "-m", "monai_s3im", "fuse", *options]


@pytest.fixture
def many_pictures(tmp_path):
    """A list of 40 pairs of pictures."""
    for index in range(40):
        write_picture(tmp_path / "a" / f"{index}.png", index)
    rows = ["image_a,image_b", *(f"a/{index}.png,a/{(index + 1) % 40}.png" for index in range(40))]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    return tmp_path / "pairs.csv"


def test_a_batch_that_is_killed_and_resumed_equals_an_uninterrupted_one(many_pictures, tmp_path, out):
    random = np.random.default_rng(3)
    assert run("--pairs", many_pictures, "-o", tmp_path / "undisturbed").exit_code == 0
    for kill in range(3):
        with subprocess.Popen(batch_command(many_pictures, out), stderr=subprocess.DEVNULL) as batch:
            wait_until(lambda: len(list(out.glob("*.png"))) > 10 * kill + 1)  # noqa: B023 (called in this turn)
            time.sleep(random.uniform(0, 0.1))
            batch.kill()
    assert len(list(out.glob("*.json"))) < 40
    result = run("--pairs", many_pictures, "-o", out, "--resume")
    assert result.exit_code == 0
    assert "of them earlier" in result.stdout
    assert outputs(out) == outputs(tmp_path / "undisturbed")


def test_two_batches_in_one_folder_leave_each_output_complete(many_pictures, tmp_path, out):
    assert run("--pairs", many_pictures, "-o", tmp_path / "alone").exit_code == 0
    command = [option for option in batch_command(many_pictures, out) if option != "--resume"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as other:
        wait_until(lambda: any(out.glob("*.png")))
        while other.poll() is None:
            assert run("--pairs", many_pictures, "-o", out).exit_code == 0
            assert are_whole(out)
    assert other.returncode == 0
    assert outputs(out) == outputs(tmp_path / "alone")


def test_leftovers_of_killed_processes_only_are_removed(out, monkeypatch):
    out.mkdir()
    monkeypatch.setattr("monai_s3im.formats.atomic.os.replace", lambda temporary, path: names.append(temporary.name))
    names = []
    write_text("", out / "case.png")
    ended = subprocess.Popen(["true"])
    ended.wait()
    alive, killed = out / names[0], out / names[0].replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    namespace = Path("/proc/self/ns/pid").stat().st_ino if Path("/proc/self/ns/pid").exists() else 0
    in_another_container = out / killed.name.replace(f"-{namespace}-", "-1-")
    for file in (alive, killed, in_another_container, out / ".s3im-notes"):
        file.touch()
    assert len({alive, killed, in_another_container}) == 3
    remove_leftovers(out)
    assert sorted(out.iterdir()) == sorted([alive, in_another_container, out / ".s3im-notes"])


def bad_volumes(folder):
    """One unusable volume of each kind, with its message."""
    array = blobs(SHAPE).astype(np.float32)
    infinite, far = array.copy(), GRID.copy()
    infinite[3, 3, 3] = np.inf
    far[:3, 3] += 1000
    write_volume(folder / "truncated.nii.gz", 5)
    os.truncate(folder / "truncated.nii.gz", 600)
    write_volume(folder / "infinite.nii.gz", array=infinite)
    (folder / "text.nii.gz").write_text("this is not a volume\n")
    write_volume(folder / "4d.nii.gz", array=np.stack([array] * 2, axis=-1))
    write_volume(folder / "empty.nii.gz", array=np.zeros(SHAPE, np.int16))
    write_volume(folder / "far.nii.gz", 5, affine=far)
    write_volume(folder / "unreadable.nii.gz", 5)
    return {
        "truncated": "truncated.nii.gz is damaged, cut short",
        "infinite": "infinite.nii.gz has 1 infinite voxel out of",
        "text": "text.nii.gz is damaged",
        "4d": "4d.nii.gz is 4D and has 2 frames",
        "empty": "empty.nii.gz has no content",
        "far": "do not overlap",
        "missing": "missing.nii.gz does not exist",
        "unreadable": "unreadable.nii.gz is not readable",
    }


def a_mixed_list(folder, names):
    """Each bad case between two good ones; every bad volume is image B."""
    write_volume(folder / "a.nii.gz", 0)
    write_volume(folder / "b.nii.gz", 5)
    rows = ["name,image_a,image_b", "good,a.nii.gz,b.nii.gz"]
    for name in names:
        rows += [f"{name},a.nii.gz,{name}.nii.gz", f"after {name},a.nii.gz,b.nii.gz"]
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


def test_in_a_mixed_batch_each_good_case_is_done_and_each_bad_one_named(tmp_path, out, monkeypatch):
    faults = bad_volumes(tmp_path)
    pairs = a_mixed_list(tmp_path, faults)
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "unreadable" not in str(path) and may(path, mode))
    result = run("--pairs", pairs, "-o", out)
    assert result.exit_code == 1
    good = ["good", *(f"after {name}" for name in faults)]
    assert sorted(outputs(out)) == sorted(f"{name}{suffix}" for name in good for suffix in (".json", ".nii.gz"))
    assert are_whole(out)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(faults)
    rows = {row["name"]: row for row in summary_of(out)}
    assert list(rows) == [line.split(",")[0] for line in pairs.read_text(encoding="utf-8").splitlines()[1:]]
    for name, words in faults.items():
        assert [line for line in errors if line.startswith(f"error: {name}: ") and words in line]
        assert rows[name]["status"] == "failed"
        assert words in rows[name]["error"]
        assert rows[name]["output"] == rows[name]["fused_sha256"] == ""
    assert all(rows[name]["status"] == "fused" for name in good)


@pytest.fixture
def a_small_disk(tmp_path):
    """A file system of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with suppress(OSError):
        mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            yield disk
            subprocess.run(["umount", str(disk)], check=True)
            return
    pytest.skip("no small disk can be mounted here (that needs root): a full disk is NOT tested")


def test_a_full_disk_fails_only_the_case_that_does_not_fit(tmp_path, a_small_disk):
    random = np.random.default_rng(0).integers(0, 1000, (48, 48, 48)).astype(np.int16)
    write_volume(tmp_path / "large.nii.gz", array=random)
    rows = (
        a_mixed_list(tmp_path, []).read_text(encoding="utf-8")
        + "\nlarge,large.nii.gz,large.nii.gz\nafter,a.nii.gz,b.nii.gz"
    )
    (tmp_path / "pairs.csv").write_text(rows)
    result = run("--pairs", tmp_path / "pairs.csv", "-o", a_small_disk)
    assert result.exit_code == 1
    assert "large.nii.gz cannot be written (no space left on the device)" in result.stderr
    assert [row["status"] for row in summary_of(a_small_disk)] == ["fused", "failed", "fused"]
    assert set(outputs(a_small_disk)) == {"good.json", "good.nii.gz", "after.json", "after.nii.gz"}


def test_the_summary_reports_what_became_of_each_case(make_pairs, out):
    pairs = make_pairs("one", "broken")
    list(fuse_batch(pairs, out, FakeFuser(), refused={"sub-9": "fits two alike"}))
    refused, one, broken = summary_of(out)
    assert list(one) == ["name", "status", "error", "warnings", "seconds", "output", "fused_sha256"]
    assert (refused["name"], refused["status"], refused["error"]) == ("sub-9", "failed", "fits two alike")
    assert (one["name"], one["status"], one["error"], one["output"]) == ("one", "fused", "", "one.png")
    assert one["warnings"] == "warned of one"
    assert one["fused_sha256"] == json.loads((out / "one.json").read_text(encoding="utf-8"))["fused_sha256"]
    assert 0 <= float(one["seconds"]) < 60
    assert (broken["status"], broken["output"]) == ("failed", "")


def test_the_summary_is_written_after_every_tenth_case(make_pairs, out):
    names = [str(number) for number in range(12)]
    with closing(fuse_batch(make_pairs(*names), out, FakeFuser())) as results:
        written = [len(summary_of(out)) if (out / "summary.csv").exists() else 0 for _ in results]
    assert written == [0] * 9 + [10] * 3
    assert len(summary_of(out)) == 12


def test_no_cell_of_the_summary_is_a_formula(out):
    names = ["=1+1", "+1", "-1", "@x", "plain"]
    summary = Summary(out, names, metrics=True)
    for name in names:
        summary.add(CaseResult(name, "fused", metrics={"EN": -1.5, "AG": float("nan")}))
    summary.write()
    assert [row["name"] for row in summary_of(out)] == ["'=1+1", "'+1", "'-1", "'@x", "plain"]
    assert [summary_of(out)[0][name] for name in ("EN", "AG", "MI")] == ["-1.5", "", ""]


def test_a_name_that_is_not_text_can_be_written(make_pairs, out):
    names = [os.fsdecode(b"caf\xe9"), "lone \ud800"]
    summary = Summary(out, names, metrics=False)
    for name in names:
        summary.add(CaseResult(name, "failed", f"{name} is missing"))
    summary.write()
    assert [row["name"] for row in summary_of(out)] == [r"caf\udce9", r"lone \ud800"]


def test_another_summary_is_not_overwritten(make_pairs, out):
    out.mkdir()
    (out / "summary.csv").write_text("patient,age\n1,50\n")
    with pytest.raises(InputError, match="is not the summary of a batch and would be overwritten"):
        list(fuse_batch(make_pairs("one"), out, FakeFuser()))
    assert (out / "summary.csv").read_text(encoding="utf-8") == "patient,age\n1,50\n"
    assert called(out) == []


def test_metrics_are_those_of_evaluate(tmp_path, out):
    (tmp_path / "pairs.csv").write_text("name,image_a,image_b\nflat,a.png,b.png\ndeep,a.nii.gz,b.nii.gz")
    for suffix, write in ((".png", write_picture), (".nii.gz", write_volume)):
        write(tmp_path / f"a{suffix}", 0)
        write(tmp_path / f"b{suffix}", 5)
    assert run("--pairs", tmp_path / "pairs.csv", "-o", out, "--metrics").exit_code == 0
    for row, name, suffix in zip(summary_of(out), ["flat", "deep"], [".png", ".nii.gz"], strict=True):
        expected = evaluate(out / f"{name}{suffix}", tmp_path / f"a{suffix}", tmp_path / f"b{suffix}").mean
        shown = {metric: str(value) if math.isfinite(value) else "" for metric, value in expected.items()}
        assert {metric: row[metric] for metric in FUSION_METRICS} == shown
        assert row["EN"]


def test_a_registered_pair_is_measured_where_registration_brought_it(tmp_path, out):
    shift = np.eye(4)
    shift[:3, 3] = (3.0, 0.0, 0.0)
    write_volume(tmp_path / "a.nii.gz", 0)
    write_volume(tmp_path / "b.nii.gz", 5, affine=GRID)
    write_volume(tmp_path / "displaced.nii.gz", 5, affine=shift @ GRID)
    (tmp_path / "pairs.csv").write_text("name,image_a,image_b\nthere,a.nii.gz,b.nii.gz\naway,a.nii.gz,displaced.nii.gz")
    there, away = read_pairs(tmp_path / "pairs.csv")
    back = np.eye(4)
    back[:3, 3] = (-3.0, 0.0, 0.0)  # LPS
    write_transform(back, tmp_path / "back.tfm")
    (expected,) = fuse_batch([there], out, Fuser(device="cpu"), metrics=True)
    (found,) = fuse_batch([away], out, Fuser(device="cpu", transform=tmp_path / "back.tfm"), metrics=True)
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-3, nan_ok=True)


def test_patterns_find_the_pairs_of_a_bids_tree(tmp_path, out):
    root = tmp_path / "bids"
    for seed, name in enumerate(["sub-01/ses-1/{}/sub-01_ses-1_{}", "sub-02/ses-1/{}/sub-02_ses-1_{}"]):
        write_volume(root / f"{name.format('anat', 'T1w')}.nii.gz", seed)
    write_volume(root / "sub-01/ses-1/ct/sub-01_ses-1_ct.nii.gz", 5)
    for kernel in ("bone", "soft"):
        write_volume(root / f"sub-02/ses-1/ct/sub-02_ses-1_rec-{kernel}_ct.nii.gz", 3)
    write_volume(root / "sub-03/anat/sub-03_T1w.nii.gz", 3)
    patterns = ["--root", root, "--pattern-a", "**/*_T1w.nii.gz", "--pattern-b", "**/*_ct.nii.gz"]
    result = run(*patterns, "-o", out)
    assert result.exit_code == 1
    assert set(outputs(out)) == {"sub-01_ses-1.json", "sub-01_ses-1.nii.gz"}
    assert result.stdout == f"1 of 2 pairs fused into {out}\n"
    assert f"note: {root / 'sub-03/anat/sub-03_T1w.nii.gz'} has no partner" in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "sub-02_ses-1_rec-soft_ct.nii.gz equally well: narrow the patterns" in errors[0]
    assert [row["status"] for row in summary_of(out)] == ["failed", "fused"]


def test_is_finished_requires_the_same_pair(make_pairs, out):
    one, two = make_pairs("one", "two")
    list(fuse_batch([one], out, FakeFuser()))
    assert is_finished(one, output_path(one, out), FakeFuser())
    assert not is_finished(replace(two, name="one"), output_path(one, out), FakeFuser())


def test_metrics_keep_to_the_limit_of_the_batch_and_a_pair_that_cannot_be_measured_is_reported(
    tmp_path, out, monkeypatch
):
    (tmp_path / "pairs.csv").write_text("name,image_a,image_b\none,a.nii.gz,b.nii.gz")
    for seed, name in enumerate(("a", "b")):
        write_volume(tmp_path / f"{name}.nii.gz", seed)
    pairs, gib = read_pairs(tmp_path / "pairs.csv"), math.prod(SHAPE) * 4 / 2**30
    limits = []

    def too_small(*paths, max_gib):
        limits.append(max_gib)
        return evaluate(*paths, max_gib=max_gib / 2)

    monkeypatch.setattr(batch, "evaluate", too_small)
    (result,) = fuse_batch(pairs, out, Fuser(device="cpu", max_gib=gib), metrics=True)
    assert limits == [gib]
    assert result.status == "failed"
    assert result.error.startswith(f"fused into {out / 'one.nii.gz'}, but not measured: ")
    assert "more than the limit of" in result.error
