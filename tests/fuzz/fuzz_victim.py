"""The process that tries inputs, with a memory limit to reveal excessive use.

It reads lines of JSON (format, entry point, path, work) from stdin and answers each with a line, the outcome.
"""

import contextlib
import json
import logging
import os
import resource
import sys
import traceback
import warnings
from pathlib import Path

HEADROOM_GIB = 2.0


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    from fuzz import fuzz_entry_points

    sys.path.append(str(fuzz_entry_points.EXTENSION.parent / "web"))
    _warm_up(fuzz_entry_points, Path(sys.argv[1]))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + int(HEADROOM_GIB * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    entry_points = {format_: dict(entry_points) for format_, entry_points in fuzz_entry_points.ENTRY_POINTS.items()}
    for of_format in entry_points.values():
        of_format.update(
            {name: entry_point() for name, entry_point in of_format.items() if isinstance(entry_point, type)}
        )
    answers.write(json.dumps({"state": "ready"}) + "\n")
    answers.flush()
    for line in sys.stdin:
        task = json.loads(line)
        entry_point = entry_points[task["format"]][task["entry_point"]]
        answers.write(json.dumps(_tried(fuzz_entry_points, entry_point, task)) + "\n")
        answers.flush()


def _tried(fuzz_entry_points: object, entry_point: object, task: dict[str, str]) -> dict[str, object]:
    logging.getLogger().handlers.clear()
    resting = _resting_mib()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    try:
        entry_point(Path(task["path"]), Path(task["work"]))
        outcome = {"state": "fused"}
    except fuzz_entry_points.Refused as refusal:
        outcome = {"state": "refused", "said": str(refusal)[:400]}
    except BaseException:  # noqa: BLE001 (that is what is looked for)
        outcome = {"state": "crashed", "said": traceback.format_exc()[-3000:]}
    return {**outcome, "grown_mib": round(_peak_mib() - resting)}


def _resting_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _warm_up(fuzz_entry_points: object, work: Path) -> None:
    """Fuse an intact pair of each kind, so that all libraries are loaded before memory is limited."""
    found = fuzz_entry_points.partners(work / "partners")
    for name, entry_point in (
        ("picture", "fuse_a"),
        ("volume", "fuse_a"),
        ("picture", "bundle"),
        ("volume", "evaluate"),
    ):
        folder = work / f"warm_{name}_{entry_point}"
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(fuzz_entry_points.Refused):
            getattr(fuzz_entry_points, entry_point)(found[name], folder)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
