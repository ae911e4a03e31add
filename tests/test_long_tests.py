"""The table of long tests names existing tests; `make test` and `make test-all` share no test and miss none."""

import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from long_tests import LONG, mark_long

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", LONG)
def test_each_name_is_of_a_test_or_a_folder(name):
    file, _, test = name.partition("::")
    assert (ROOT / "tests" / file).exists()
    assert f"def {test.partition('[')[0]}" in (ROOT / "tests" / file).read_text(encoding="utf-8") if test else True


def dry_run(target):
    """What make would run."""
    command = ["make", "-n", "-C", str(ROOT), target, "PYTHON=python", "VENV=there"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in result.stdout.splitlines() if "-m pytest" in line]


def marks_of(command):
    return command[[i for i, word in enumerate(command) if word == "-m"][-1] + 1]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_test_runs_what_is_not_long_and_the_halves_of_test_long_are_the_rest():
    (short,) = dry_run("test")
    half, rest = dry_run("test-long")
    assert marks_of(short) == "not long and not slow"
    assert marks_of(half) == marks_of(rest) == "long and not slow"
    folders = [word for word in half if word.startswith("tests/")]
    ignored = {rest[i + 1] for i, word in enumerate(rest) if word == "--ignore"}
    assert ignored - {*folders} == {"tests/batch/test_ray_pool.py", "tests/web"}  # which have targets of their own
    assert {*folders} < ignored


def test_a_test_of_the_table_is_marked_and_its_neighbour_is_not():
    marked = {"batch/test_batch.py::test_two_workers": True, "batch/test_batch.py::test_a_resumed_batch_skips": False}
    for name, is_long in marked.items():
        item = SimpleNamespace(nodeid=f"tests/{name}", added=[])
        item.add_marker = item.added.append
        mark_long([item])
        assert [mark.name for mark in item.added] == ["long"] * is_long
