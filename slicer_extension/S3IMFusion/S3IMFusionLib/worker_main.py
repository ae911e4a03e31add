"""The main program of the computing process, which uses torch and ``monai_s3im`` but not Slicer.

``python worker_main.py LIBRARY FOLDER [IDLE]``: LIBRARY is the folder of ``monai_s3im``, FOLDER the private folder for
volumes, which is removed at the end: when the other side has ended, or after IDLE idle seconds.
"""

import contextlib
import json
import logging
import os
import queue
import shutil
import sys
import threading
import time
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

Request = dict[str, Any]
_LONGEST_SENTENCE = 1000  # letters
_REMOVALS = 50
_PAUSE_S = 0.1
_DISPLAYED = "displayed.txt"  # written by run.py
_NOT_OF_THE_RESULT = "monai_s3im.inferers"  # memory warnings, which do not concern the voxels


class Channel:
    """The channel for replies: the original stdout of the process; library output goes to stderr."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self.request_id = 0

    def send(self, event: str, **content: Any) -> None:
        """Send a reply to the current request."""
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(json.dumps({"id": self.request_id, "event": event, **content}) + "\n")
            self._stream.flush()


class LogToChannel(logging.Handler):
    """Forwards the library's log, and marks the lines that are cautions about the result."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.INFO)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line."""
        is_warning = record.levelno >= logging.WARNING and not record.name.startswith(_NOT_OF_THE_RESULT)
        self._channel.send("log", text=record.getMessage(), is_warning=is_warning)


def main() -> None:
    """Answer requests until stdin is closed, also because the other side was killed, or until idle too long."""
    channel = Channel()
    library, folder = sys.argv[1], Path(sys.argv[2])
    idle_s = float(sys.argv[3]) if len(sys.argv) > 3 else None
    sys.path[0] = library  # instead of the folder of this file
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, folder), daemon=True).start()
    with contextlib.suppress(Exception):  # reported on request
        import monai_s3im.pipeline  # noqa: F401
    logger = logging.getLogger("monai_s3im")
    logger.setLevel(logging.INFO)
    logger.addHandler(LogToChannel(channel))
    while True:
        request = _next_request(requests, folder, idle_s)
        channel.request_id = request["id"]
        try:
            channel.send("done", **_COMMANDS[request["command"]](request, channel))
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is reported)
            channel.send("error", message=_shortened(_sentence_of(error)))


def _next_request(requests: "queue.SimpleQueue[Request]", folder: Path, idle_s: float | None) -> Request:
    """The next request; ends the process if none comes in time, unless volumes are being written for one."""
    while True:
        try:
            return requests.get(timeout=idle_s)
        except queue.Empty:
            if not (folder / "pair").exists():
                _end(folder)


def _receive(requests: "queue.SimpleQueue[Request]", folder: Path) -> None:
    for line in sys.stdin:
        try:
            request = json.loads(line)
            _ = request["id"], request["command"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            print(f"a line that is not a request was ignored ({type(error).__name__})", file=sys.stderr)  # noqa: T201 (the log)
        else:
            requests.put(request)
    _end(folder)


def _end(folder: Path) -> NoReturn:
    """End the process immediately, and remove its folder."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # Windows cannot remove an open log
        os.dup2(nowhere, stream)
    for _attempt in range(_REMOVALS):  # the other thread may still write into it
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(_PAUSE_S)
    os._exit(0)


def _sentence_of(error: BaseException) -> str:
    if type(error).__name__ in {"InputError", "OutputError"}:
        return str(error)
    traceback.print_exc()
    if isinstance(error, ModuleNotFoundError):
        return f"the Python package {error.name} is not installed: install the module's dependencies"
    if isinstance(error, MemoryError):
        return "the volumes do not fit into the memory: close other data, or crop the volumes"
    return f"the fusion failed ({type(error).__name__}: {error}): look at the log"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[:400]} ... {text[-400:]}"


def fuse(request: Request, channel: Channel) -> dict[str, Any]:
    """Fuse two volumes from .npy files into a NIfTI file.

    Args:
        request: ``a``, ``b``: ``path`` of a .npy file (K, J, I), or (K, J, I, 3 or 4) for colour, ``affine`` (4, 4)
            from (I, J, K) to RAS mm, ``modality`` and, for the record, ``modality_by``, as
            :attr:`monai_s3im.record.SourceRecord.modality_from`; ``settings`` of :class:`monai_s3im.pipeline.Fuser`;
            ``output``, a .nii file.
        channel: receives the progress, in slices.

    Returns:
        ``record``, the library's record of the fused volume; ``seconds``, the time of the parts.
    """
    begin = time.perf_counter()
    from monai_s3im.pipeline import Fuser
    from monai_s3im.record import FusionRecord

    imported = time.perf_counter()
    fuser = Fuser(**_with_fit_colors(request["settings"]), progress=partial(_send_slices, channel))
    source_a, source_b = (_read_source(request[source]) for source in "ab")
    read = time.perf_counter()
    output = Path(request["output"])
    fuser(source_a, source_b, output, request["a"]["modality"], request["b"]["modality"])
    seconds = {"import": imported - begin, "set up": read - imported, "fuse": time.perf_counter() - read}
    record = FusionRecord.read(output)
    assert record is not None  # noqa: S101
    moved = replace(record.registration, file=None, file_sha256=None) if record.registration else None
    sources = {f"image_{source}": _source_record(record, request, source) for source in "ab"}
    # the files can be removed now
    kept = replace(record, fused=None, fused_sha256=None, registration=moved, sources=sources)
    return {"record": kept.as_json(), "seconds": seconds}


def _with_fit_colors(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings; displayed colours that cannot show uptake by hue are replaced by the library's."""
    from monai_s3im.functional import hue_arc
    from monai_s3im.transforms.color_map import map_colors

    name = settings.get("color_map")
    is_displayed = name is not None and Path(name).name == _DISPLAYED
    is_unfit = is_displayed and settings["color_model"] == "lab" and hue_arc(map_colors(name)) is None
    return {**settings, "color_map": None} if is_unfit else settings


def _source_record(record: Any, request: Request, source: str) -> Any:
    """The record of a source, with the original origin of its modality, which the library always gets as given."""
    found, said_by = record.sources[f"image_{source}"], request[source].get("modality_by")
    if said_by is None or request[source]["modality"] is None:
        return found
    said = {"modality_given": said_by == "user", "modality_guessed": said_by == "values", "modality_from": said_by}
    return replace(found, **said)


def _send_slices(channel: Channel, _step: str, done: int, total: int) -> None:
    if total:
        channel.send("progress", done=done, total=total)


def _read_source(source: dict[str, Any]) -> Any:
    """The volume in the form of the library's reader: (1 or 3, I, J, K), float32 unless it is colour."""
    import numpy as np
    import torch
    from monai.data import MetaTensor

    voxels = np.load(source["path"])
    array = voxels[..., :3].T if voxels.ndim == 4 else voxels.T[None]
    is_gray = len(array) == 1 or bool((array == array[:1]).all())
    array = np.ascontiguousarray(array[:1] if is_gray else array, dtype=np.float32 if is_gray else array.dtype)
    return MetaTensor(torch.from_numpy(array), affine=torch.tensor(source["affine"], dtype=torch.float64))


def devices(_request: Request, _channel: Channel) -> dict[str, Any]:
    """The devices to compute on: name for the settings, label for a user, free memory in bytes or None."""
    import torch

    found = [{"name": "cpu", "label": "CPU", "free": _free_main_memory()}]
    for index in range(torch.cuda.device_count()):
        label = f"{torch.cuda.get_device_name(index)} (cuda:{index})"
        found.append({"name": f"cuda:{index}", "label": label, "free": torch.cuda.mem_get_info(index)[0]})
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "label": "Apple GPU (mps)", "free": None})
    return {"devices": found}


def _free_main_memory() -> int | None:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    return None


_COMMANDS = {"fuse": fuse, "devices": devices}

if __name__ == "__main__":
    main()
