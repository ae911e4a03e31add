"""`s3im demo` makes what it says, where it says, and does nothing twice."""

import shlex
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from monai_s3im.batch.summary import read_summary
from monai_s3im.cli import app
from monai_s3im.phantom import head_phantom, training_set
from monai_s3im.record import FusionRecord

NAMES = ("t1_ct", "t1_spect", "t1_pet")


def s3im(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module", autouse=True)
def small_heads():
    """Heads of few voxels, so that the demo takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_set, "head_phantom", small_head)
        yield


def small_head(shape=None, spacing_mm=None, seed=0, **more):
    if shape is None:
        return head_phantom((44, 52, 42), (4.5, 4.5, 4.5), seed=seed, **more)
    return head_phantom(shape, spacing_mm, seed, **more)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder of a demo, and what the command said."""
    folder = tmp_path_factory.mktemp("first") / "a demo"
    return folder, s3im("demo", folder)


def changed_at(folder):
    return {file: file.stat().st_mtime_ns for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_files_that_the_last_lines_name_are_there(shown):
    folder, result = shown
    named = {"fused volume": [], "report": [], "record": []}
    for line in result.stdout.splitlines():
        for kind, files in named.items():
            if line.startswith(f"  {kind} "):
                files.append(Path(line.removeprefix(f"  {kind}").strip().split("   ")[0]))
    assert named["fused volume"] == [folder / "fused" / f"{name}.nii.gz" for name in NAMES]
    assert named["report"] == [folder / "fused" / "report.html"]
    assert named["record"] == [folder / "fused" / "t1_ct.json"]
    assert all(file.is_file() for files in named.values() for file in files)


def test_each_fused_volume_is_on_the_grid_of_t1_and_measured(shown):
    folder, _ = shown
    t1 = nibabel.load(folder / "head" / "volumes" / "t1.nii.gz")
    for name, partner in zip(NAMES, ("ct", "spect", "pet"), strict=True):
        fused = nibabel.load(folder / "fused" / f"{name}.nii.gz")
        assert fused.shape[:3] == t1.shape
        np.testing.assert_allclose(fused.affine, t1.affine)
        assert FusionRecord.read(folder / "fused" / f"{name}.nii.gz").sources["image_b"].modality == partner
    assert {result.name: len(result.metrics) > 5 for result in read_summary(folder / "fused")} == dict.fromkeys(
        NAMES, True
    )


def test_the_suggested_next_commands_work(shown, tmp_path, monkeypatch):
    _, result = shown
    (command,) = (line for line in result.stdout.splitlines() if " --modality-a mr " in line)
    words = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    s3im(*words[words.index("fuse") :])
    assert (tmp_path / "fused.nii.gz").is_file()


def test_a_second_run_reports_that_nothing_changed_and_names_the_same_files(shown):
    folder, first = shown
    before = changed_at(folder)
    again = s3im("demo", folder)
    assert "3 volumes fused; " in first.stdout
    assert "0 volumes fused, 3 already finished; " in again.stdout
    assert changed_at(folder) == before
    files = [line for line in first.stdout.splitlines() if line.startswith("  ")]
    assert [line for line in again.stdout.splitlines() if line.startswith("  ")] == files


def test_a_fused_volume_that_is_damaged_is_made_again_and_the_others_stay(shown):
    folder, _ = shown
    damaged = folder / "fused" / "t1_pet.nii.gz"
    content, before = damaged.read_bytes(), changed_at(folder)
    damaged.write_bytes(content[:100])
    assert "1 volumes fused, 2 already finished; " in s3im("demo", folder).stdout
    assert damaged.read_bytes() == content
    assert changed_at(folder)[folder / "fused" / "t1_ct.nii.gz"] == before[folder / "fused" / "t1_ct.nii.gz"]


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "letter.txt").write_text("mine")
    result = s3im("demo", tmp_path, code=2)
    assert result.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'head'} holds other files")
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["letter.txt"]


@pytest.mark.parametrize("is_opened", [True, False])
def test_open_shows_the_report_in_a_browser_or_reports_that_there_is_none(shown, monkeypatch, is_opened):
    folder, _ = shown
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda address: asked.append(address) or is_opened)
    result = s3im("demo", folder, "--open")
    report = folder / "fused" / "report.html"
    assert asked == [report.as_uri()]
    assert (f"no browser could be opened: open {report} in one" in result.stdout) is not is_opened


@pytest.mark.parametrize(
    ("called", "found", "shown_as"),
    [
        ("/x/bin/s3im", "/x/bin/s3im", "s3im"),
        ("/x y/bin/s3im", "/usr/bin/s3im", "'/x y/bin/s3im'"),
        (".venv/bin/s3im", None, ".venv/bin/s3im"),
        ("/x/monai_s3im/__main__.py", "/x/bin/s3im", "python -m monai_s3im"),
    ],
)
def test_the_command_is_named_as_it_was_called(monkeypatch, called, found, shown_as):
    from monai_s3im.cli.demo import _command

    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("shutil.which", lambda name: found)
    assert _command() == shown_as
