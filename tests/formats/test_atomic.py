"""Folders that are written atomically."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from monai_s3im.errors import OutputError
from monai_s3im.formats.atomic import remove_leftovers, write_folder

WRITE_AND_HANG = """
import sys, time
from pathlib import Path
from monai_s3im.formats.atomic import write_folder

def write(folder):
    (folder / "0001.dcm").write_text("new")
    print("written", flush=True)
    time.sleep(60)

write_folder(Path(sys.argv[1]), write)
"""


def files_of(text):
    def write(folder):
        for name in ("a", "b"):
            (folder / name).write_text(text)

    return write


def contents(folder):
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_a_folder_is_replaced_with_all_that_is_in_it(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    write_folder(tmp_path / "out", files_of("new"))
    assert contents(tmp_path / "out") == {"a": "new", "b": "new"}
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208


def test_a_full_disk_is_reported_and_leaves_the_old_folder(tmp_path):
    write_folder(tmp_path / "out", files_of("old"))

    def write(folder):
        (folder / "a").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"out cannot be written \(no space left on the device\): free some space"):
        write_folder(tmp_path / "out", write)
    assert contents(tmp_path / "out") == {"a": "old", "b": "old"}
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208


def test_a_swap_that_fails_halfway_restores_the_old_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "out", files_of("old"))
    replace, calls = os.replace, []

    def fail_the_second_time(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.EACCES, "denied")
        replace(source, target)

    monkeypatch.setattr("monai_s3im.formats.atomic.os.replace", fail_the_second_time)
    with pytest.raises(OutputError, match="read-only"):
        write_folder(tmp_path / "out", files_of("new"))
    assert contents(tmp_path / "out") == {"a": "old", "b": "old"}
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208


@pytest.mark.skipif(os.name != "posix", reason="leftovers stay on Windows")
def test_a_killed_process_leaves_the_old_folder_and_what_the_next_one_removes(tmp_path):
    write_folder(tmp_path / "out", files_of("old"))
    command = [sys.executable, "-c", WRITE_AND_HANG, tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert contents(tmp_path / "out") == {"a": "old", "b": "old"}
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208
