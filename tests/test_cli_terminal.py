"""What a person sees on a terminal while a command works, and what a pipe gets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyte
import pytest
from sample_images import write_picture, write_volume

from monai_s3im.cli.fusion import sentence
from monai_s3im.cli.progress import Steps, steps
from monai_s3im.record import FusionRecord

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal, which Windows lacks")
ROOT = Path(__file__).resolve().parents[1]

# Marks on the terminal where Python begins to import torch.
PROGRAM = """
import sys
class Mark:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.__stderr__.write("<torch>")
            sys.__stderr__.flush()
sys.meta_path.insert(0, Mark())
from monai_s3im.cli import main
main()
"""


def sent_to_a_terminal(*arguments, stdout=None):
    """What a process sends to its terminal, as it comes; and its exit code."""
    ours, its = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=stdout or its, stderr=its, env=environment)
    os.close(its)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux, where the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    return seen.decode(), process.wait(timeout=60)


def on_a_terminal(*arguments, stdout=None):
    """What the terminal of a process showed at any time, without its escape sequences; and its exit code."""
    sent, code = sent_to_a_terminal(*arguments, stdout=stdout)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent), code


def left_on_a_terminal(*arguments):
    """The lines that a person still sees when a process has ended; and its exit code."""
    sent, code = sent_to_a_terminal(*arguments)
    screen = pyte.Screen(200, 50)
    pyte.Stream(screen).feed(sent)
    return [line.rstrip() for line in screen.display if line.strip()], code


@pytest.fixture
def pictures(tmp_path):
    given = ["--modality-a", "mr", "--modality-b", "ct", "--device", "cpu"]
    return [write_picture(tmp_path / "a.png", 0), write_picture(tmp_path / "b.png", 5), tmp_path / "out.png", *given]


def test_a_terminal_shows_progress_before_torch_is_imported_and_a_sentence_at_the_end(pictures):
    seen, code = on_a_terminal("fuse", *pictures)
    assert code == 0, seen
    assert 0 <= seen.index("Loading PyTorch and MONAI") < seen.index("<torch>")
    last = seen.rstrip().splitlines()[-1]
    how = r"weights for ct-mri, cpu, \d+ s"
    pattern = rf"Fused a\.png \(MR\) with b\.png \(CT\) into .*out\.png \({how}\); out\.json records how"
    assert re.fullmatch(pattern, last), last


def test_a_pipe_gets_only_the_path_while_the_terminal_shows_progress(pictures, tmp_path):
    with (tmp_path / "piped").open("wb") as piped:
        seen, code = on_a_terminal("fuse", *pictures, stdout=piped)
    assert code == 0, seen
    assert (tmp_path / "piped").read_text() == f"{pictures[2]}\n"
    assert "Fused a.png" in seen


def test_an_error_on_a_terminal_is_the_last_line(pictures):
    pictures[1].write_bytes(b"no picture")
    lines, code = left_on_a_terminal("fuse", *pictures)
    assert code == 2
    assert [line for line in lines if "<torch>" not in line] == [lines[-1]]
    assert lines[-1].startswith(f"error: {pictures[1]}")


def test_data_phantom_shows_what_it_makes_and_how_long_it_took(tmp_path):
    seen, code = on_a_terminal("data", "phantom", tmp_path / "phantom", "--subjects", "2")
    assert code == 0, seen
    steps_seen = ["Loading PyTorch and MONAI", "Slices of head 1 of 2", "Making a head in CT, T1, T2, SPECT and PET"]
    places = [seen.index(step) for step in steps_seen]
    assert places == sorted(places)
    assert re.search(r"2 heads in \d+ s", seen)
    assert "datalist.json: slices to train on" in seen


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with steps() as step:
        step("reading")
        step("fusing", 3, 9)
        assert not step.is_shown
    assert capsys.readouterr() == ("", "")


def test_a_step_is_shown_with_its_count():
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(width=60, force_terminal=True, no_color=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), console=console)
    bar.add_task("Loading", total=None)
    step, shown = Steps(bar), []
    for call in (("reading",), ("fusing", 3, 12), ("fusing", 12, 12), ("writing", 0, 0)):
        step(*call)
        task = bar.tasks[0]
        shown.append((task.description, task.completed, task.total))
    assert shown == [("Reading", 0, None), ("Fusing 3 of 12", 3, 12), ("Fusing 12 of 12", 12, 12), ("Writing", 0, None)]


def source(file, modality):
    return {"file": file, "sha256": "0" * 64, "modality": modality, "intensity_range": [0.0, 1.0]}


RECORD = {
    "sources": {"image_a": source("t1.nii.gz", "mr"), "image_b": source("p.nii.gz", "pet")},
    "task": "spect-pet-mri",
    "weights_file": "model_spect_mri.pt",
    "register": "none",
    "transform": None,
    "device": "cuda:0",
    "warnings": [],
}


@pytest.mark.parametrize(
    ("changes", "how", "end"),
    [
        ({}, "weights for spect-pet-mri, cuda:0, 8 s", "records how"),
        ({"register": "rigid"}, "weights for spect-pet-mri, rigid registration, cuda:0, 8 s", "records how"),
        ({"transform": "move.tfm"}, "weights for spect-pet-mri, moved by move.tfm, cuda:0, 8 s", "records how"),
        ({"task": None, "weights_file": "my.pt"}, "weights my.pt, cuda:0, 8 s", "records how"),
        ({"warnings": ["one"]}, "weights for spect-pet-mri, cuda:0, 8 s", "records how; 1 warning, see above"),
        ({"warnings": ["a", "b"]}, "weights for spect-pet-mri, cuda:0, 8 s", "records how; 2 warnings, see above"),
    ],
)
def test_the_last_sentence_says_what_was_fused_how_and_with_how_many_warnings(changes, how, end):
    said = sentence(FusionRecord.from_json({**RECORD, **changes}), Path("out/f.nii.gz"), 7.6)
    assert said == f"Fused t1.nii.gz (MR) with p.nii.gz (PET) into out/f.nii.gz ({how}); f.json {end}"


def test_a_registered_volume_is_fused_step_by_step_on_a_terminal(tmp_path):
    pair = [write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5)]
    given = ["--modality-a", "mr", "--modality-b", "pet", "--register", "rigid", "--device", "cpu"]
    seen, code = on_a_terminal("fuse", *pair, tmp_path / "out.nii.gz", *given)
    assert code == 0, seen
    assert seen.index("Loading PyTorch") < seen.index("Registering") < seen.index("rigid registration, cpu")
