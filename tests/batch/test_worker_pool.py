"""Processes that die, and processes that must not outlive the one that started them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path

import pytest
from pool_tools import processes, tries, work

from monai_s3im.batch.local_pool import LostWorkerError, run_in_workers


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("fragile", ["deadly", "frail"])
def test_an_item_whose_worker_dies_gets_a_second_try_and_the_rest_is_done(tmp_path, fragile):
    results = dict(run_in_workers(work, tmp_path, ["one", fragile, "two"], workers=1))
    assert (results["one"], results["two"]) == ("ONE", "TWO")
    assert tries(tmp_path, fragile) == 2
    if fragile == "frail":
        assert results["frail"] == "FRAIL"
    else:
        assert isinstance(results["deadly"], LostWorkerError)
    assert os.getpid() not in processes(tmp_path)
    assert active_children() == []


def test_workers_end_when_the_results_are_closed(tmp_path):
    with closing(run_in_workers(work, tmp_path, ["one", "slow", "slower"], workers=2)) as results:
        assert next(results) == ("one", "ONE")
        wait_until(lambda: tries(tmp_path, "slow"))
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert active_children() == []


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pool_tools import work
from monai_s3im.batch.local_pool import run_in_workers
if __name__ == "__main__":
    list(run_in_workers(work, sys.argv[2], ["slow1", "slow2"], workers=2))
"""


def is_running(process):
    """Whether a process runs and is not a zombie, which waits for its end to be noted."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_process_that_started_it(tmp_path, sign):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "out").mkdir()
    command = [sys.executable, tmp_path / "script.py", Path(__file__).parents[1], tmp_path / "out"]
    script = subprocess.Popen(  # a shell that starts the tests in the background has them ignore Ctrl-C
        command,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (nothing else runs here)
    )
    wait_until(lambda: tries(tmp_path / "out", "slow1") and tries(tmp_path / "out", "slow2"))
    start = time.monotonic()
    if sign == signal.SIGINT:
        os.killpg(script.pid, sign)  # as a terminal does: the workers are in the group too
    else:
        script.send_signal(sign)
    _, errors = script.communicate(timeout=20)
    assert script.returncode == -sign
    wait_until(lambda: not any(is_running(process) for process in processes(tmp_path / "out")), 5)
    assert time.monotonic() - start < 10
    assert errors.count("Traceback") == (1 if sign == signal.SIGINT else 0)  # that of the script, none of a worker
