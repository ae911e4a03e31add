"""The process that computes."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from S3IMFusionLib.errors import FusionError
from S3IMFusionLib.logic import FusionLogic
from S3IMFusionLib.process import Worker, find_python

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension" / "S3IMFusion"


def is_alive(pid):
    """Whether a process runs; one that has ended and is not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ends_within(seconds, *pids):
    end = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(is_alive(pid) for pid in pids)


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def a_launcher(folder, arguments=""):
    """A program that starts Python as its child and waits, as PythonSlicer does on some platforms."""
    file = folder / "PythonSlicer"
    file.write_text(f'#!/bin/sh\necho "words of a launcher"\n"{sys.executable}" {arguments} "$@"\nexit $?\n')
    file.chmod(0o755)
    return file


@pytest.fixture
def own_worker():
    """A worker that a test may kill."""
    workers = []

    def make(**arguments):
        workers.append(Worker(**arguments))
        return workers[-1]

    yield make
    for one in workers:
        one.close()


def test_second_request_goes_to_the_same_process(worker):
    worker.call("devices")
    pid = worker.pid
    worker.call("devices")
    assert worker.pid == pid


def test_devices_are_listed_with_their_free_memory(worker):
    devices = worker.call("devices")["devices"]
    assert devices[0]["name"] == "cpu"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < devices[0]["free"] <= total


def test_folder_is_for_this_user_only_and_is_removed_at_the_end(own_worker):
    worker = own_worker()
    folder = worker.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    worker.close()
    assert not folder.exists()


def test_a_killed_process_is_reported_and_started_again(own_worker):
    worker = own_worker()
    worker.submit("devices")
    first, folder = worker.pid, worker.folder
    os.kill(first, signal.SIGKILL)
    assert ends_within(2, first)
    with pytest.raises(
        FusionError, match="the fusion process was killed, possibly for lack of memory, before it finished"
    ):
        worker.replies()
    worker.start()
    assert worker.is_alive
    assert worker.pid != first
    assert not folder.exists()


def test_close_ends_the_launcher_and_its_child(own_worker, tmp_path):
    worker = own_worker(python=str(a_launcher(tmp_path)))
    worker.start()
    launcher, end = worker.pid, time.monotonic() + 5
    while not children_of(launcher) and time.monotonic() < end:
        time.sleep(0.02)
    (child,) = children_of(launcher)
    begin = time.monotonic()
    worker.close()
    assert ends_within(2, launcher, child)
    assert time.monotonic() - begin < 2


def test_words_of_a_launcher_are_not_a_reply_and_a_missing_package_is_named(own_worker, tmp_path):
    worker = own_worker(python=str(a_launcher(tmp_path, "-I -S")))
    with pytest.raises(
        FusionError, match=r"the Python package \w+ is not installed: install the module's dependencies"
    ):
        worker.call("devices", timeout_s=20)
    assert worker.is_alive


def test_process_ends_and_cleans_up_when_its_parent_is_killed():
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from S3IMFusionLib.process import Worker\n"
        "worker = Worker(); worker.start(); print(worker.pid, worker.folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(EXTENSION)], stdout=subprocess.PIPE, text=True) as parent:
        pid, folder = parent.stdout.readline().split()
        time.sleep(1)  # torch is being loaded
        parent.kill()
    assert ends_within(5, int(pid))
    assert not Path(folder).exists()


def test_process_ends_with_the_interpreter_that_forgot_to_close_it():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from S3IMFusionLib.process import Worker\n"
        "worker = Worker(); worker.start(); print(worker.pid, worker.folder, flush=True)"
    )
    command = [sys.executable, "-c", program, str(EXTENSION)]
    pid, folder = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()
    assert ends_within(2, int(pid))
    assert not Path(folder).exists()


def test_process_ends_though_its_folder_cannot_be_removed(tmp_path):
    main = EXTENSION / "S3IMFusionLib" / "worker_main.py"
    program = (
        "import runpy, shutil, sys\n"
        "shutil.rmtree = lambda *_, **__: None\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", program, str(main), str(tmp_path / "no library"), str(tmp_path)]
    result = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    assert result.returncode == 0
    assert tmp_path.exists()


def test_an_interpreter_that_does_not_exist_is_reported(own_worker, tmp_path):
    with pytest.raises(FusionError, match="nowhere cannot be started"):
        own_worker(python=str(tmp_path / "nowhere")).start()


def test_a_temporary_folder_that_does_not_exist_is_reported(own_worker, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FusionError, match=f"no usable temporary folder .{tmp_path}/gone: No such file"):
        own_worker().start()


def test_an_answer_that_does_not_come_in_time_is_reported(own_worker):
    with pytest.raises(FusionError, match=r"did not answer within 0\.1 s"):
        own_worker().call("devices", timeout_s=0.1)


def test_slicers_own_interpreter_is_used_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.delenv("SLICER_HOME", raising=False)
    assert find_python() == sys.executable
    (tmp_path / "bin").mkdir()
    launcher = a_launcher(tmp_path / "bin")
    monkeypatch.setenv("SLICER_HOME", str(tmp_path))
    assert find_python() == str(launcher)


def test_library_errors_are_returned_as_one_sentence_and_the_process_continues(worker, tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((3, 4, 5), np.float32))
    source = {"path": str(tmp_path / "flat.npy"), "affine": np.eye(4).tolist(), "modality": "mr"}
    with pytest.raises(FusionError, match="image_a has no content, every voxel is 0"):
        worker.call("fuse", a=source, b=source, settings={}, output=str(tmp_path / "fused.nii"))
    assert worker.is_alive


def test_a_sentence_that_names_something_endless_is_shortened_and_keeps_its_end(worker, tmp_path):
    source = {"path": str(tmp_path / "none.npy"), "affine": np.eye(4).tolist(), "modality": "mr"}
    with pytest.raises(FusionError, match=r"x{300}.* \.\.\. .*choose one of axial, coronal") as caught:
        worker.call("fuse", a=source, b=source, settings={"plane": 5000 * "x"}, output=str(tmp_path / "fused.nii"))
    assert len(str(caught.value)) < 1100


def test_parent_loads_no_torch():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy, slicer\n"
        "from S3IMFusionLib.logic import FusionLogic\n"
        "scene = slicer.vtkMRMLScene()\n"
        "nodes = [scene.AddNewNodeByClass('vtkMRMLScalarVolumeNode', name) for name in ('CT', 'MR')]\n"
        "voxels = numpy.random.default_rng(0).normal(size=(2, 16, 16)).astype('f4')\n"
        "for node in nodes: slicer.util.updateVolumeFromArray(node, voxels)\n"
        "logic = FusionLogic(scene)\n"
        "fused = logic.process(*nodes)\n"
        "logic.close()\n"
        "print(fused.GetName(), sorted({'torch', 'monai', 'monai_s3im.pipeline', 'SimpleITK'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(EXTENSION)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert result.stdout.splitlines()[-1:] == ["CT + MR fused []"], result.stderr


def test_ending_a_process_of_windows_opens_no_console_window(monkeypatch):
    import S3IMFusionLib.process

    calls = []
    monkeypatch.setattr(S3IMFusionLib.process.subprocess, "run", lambda command, **how: calls.append((command, how)))
    S3IMFusionLib.process._taskkill(1234)
    [(command, how)] = calls
    assert command[1:] == ["/F", "/T", "/PID", "1234"]
    assert how["creationflags"] == 0x08000000  # CREATE_NO_WINDOW, learn.microsoft.com: Process Creation Flags


def has_ended(worker, seconds=10):
    """Whether the process ends within this time; its last thread ends a little later than its first."""
    end = time.monotonic() + seconds
    while worker.is_alive and time.monotonic() < end:
        time.sleep(0.02)
    return not worker.is_alive


def peak_memory_of(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


@pytest.mark.parametrize(("shape", "slice_batch"), [((96, 112, 40), 8), ((160, 192, 48), 4)])
def test_the_estimate_of_memory_is_what_the_process_takes(own_worker, shape, slice_batch):
    worker, random = own_worker(), np.random.default_rng(0)
    sources = []
    for name, modality in (("a", "mr"), ("b", "ct")):
        file = worker.folder / f"{name}.npy"
        voxels = random.integers(0, 1000, shape[::-1]).astype(np.int16)
        voxels[0] = -1000 if modality == "ct" else 0
        np.save(file, voxels)
        sources.append({"path": str(file), "affine": np.eye(4).tolist(), "modality": modality})
    output, settings = str(worker.folder / "fused.nii"), {"slice_batch": slice_batch, "device": "cpu"}
    worker.call("fuse", timeout_s=300, a=sources[0], b=sources[1], settings=settings, output=output)
    estimate = FusionLogic.estimate_memory(shape, slice_batch)
    assert estimate == pytest.approx(peak_memory_of(worker.pid), rel=0.2)


def test_an_idle_process_ends_and_a_later_request_restarts_it(own_worker):
    worker = own_worker(idle_s=1.0)
    worker.call("devices")
    first, folder = worker.pid, worker.folder
    assert has_ended(worker)
    assert not folder.exists()
    assert worker.call("devices")["devices"][0]["name"] == "cpu"
    assert worker.pid not in (None, first)


def test_process_waits_for_volumes_that_are_being_written(own_worker):
    worker = own_worker(idle_s=0.5)
    worker.call("devices")
    pair = worker.folder / "pair"
    pair.mkdir()
    assert not ends_within(2, worker.pid)
    pair.rmdir()
    assert ends_within(5, worker.pid)


def test_process_that_ended_by_itself_is_not_killed_again(own_worker, monkeypatch):
    worker = own_worker(idle_s=0.5)
    worker.call("devices")
    assert has_ended(worker)
    killed = []
    monkeypatch.setattr(os, "killpg", lambda *arguments: killed.append(arguments))
    worker.close()
    assert killed == []
