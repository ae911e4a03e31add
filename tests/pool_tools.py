"""Functions for the worker processes of the tests; without large imports, for a quick start."""

import os
import signal
import time
from pathlib import Path


def work(folder, item):
    """``deadly`` kills its process, ``frail`` does so the first time, ``slow`` takes a minute, ``broken`` raises."""
    Path(folder, f"{item}-{len(list(Path(folder).glob(f'{item}-*')))}").write_text(str(os.getpid()))
    first = len(list(Path(folder).glob(f"{item}-*"))) == 1
    if item == "deadly" or (item == "frail" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if item.startswith("slow"):
        time.sleep(60)
    return item.upper()


def visible_gpus(folder, workers):
    """The GPUs that this process may use, when as many workers have been asked."""
    Path(folder, str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(list(Path(folder).iterdir())) < workers and time.monotonic() < end:
        time.sleep(0.05)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def tries(folder, item):
    """How often an item was worked on."""
    return len(list(Path(folder).glob(f"{item}-*")))


def processes(folder):
    """Processes that worked."""
    return {int(path.read_text(encoding="utf-8") or 0) for path in Path(folder).iterdir()}
