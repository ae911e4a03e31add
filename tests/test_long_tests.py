"""The table of long tests names what there is; `make test` and `make test-all` share no test and miss none."""

import subprocess
import sys
from pathlib import Path

import pytest
from long_tests import LONG

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", LONG)
def test_each_name_is_of_a_test_or_a_folder(name):
    file, _, test = name.partition("::")
    assert (ROOT / "tests" / file).exists()
    assert f"def {test.partition('[')[0]}" in (ROOT / "tests" / file).read_text(encoding="utf-8") if test else True


def collected(marks):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", marks, "tests/test_batch.py"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in result.stdout.splitlines() if "::" in line}


def test_short_and_long_tests_are_all_tests_and_none_is_both():
    short, long = collected("not long and not slow"), collected("long and not slow")
    assert "tests/test_batch.py::test_two_workers_write_the_same_bytes_as_one" in long
    assert "tests/test_batch.py::test_a_resumed_batch_skips_what_is_finished" in short
    assert short | long == collected("not slow")
    assert short & long == set()
