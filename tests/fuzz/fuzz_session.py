"""A run: tasks go to the victim one by one, with a time limit, and outcomes are counted."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import damage_dicom, damage_pictures, damage_text, damage_volumes
from fuzz.fuzz_cases import Case, random_damage
from fuzz.fuzz_entry_points import ENTRY_POINTS

TIME_LIMIT_S = 60.0
STATES = ("refused", "fused", "crashed", "hung")
SYSTEMATIC = (
    *(damage_volumes.nifti, damage_volumes.nifti_gz, damage_volumes.nrrd, damage_volumes.nrrd_detached),
    *(damage_volumes.metaimage, damage_pictures.png, damage_pictures.jpeg, damage_pictures.tiff, damage_pictures.bmp),
    *(damage_dicom.dicom, damage_text.lists, damage_text.transforms, damage_text.weights, damage_text.configs),
    *(damage_text.color_maps, damage_text.batch_folders, damage_text.requests),
)
Task = tuple[Case, str]


def quick_tasks() -> Iterator[Task]:
    """A few cases of every kind, sent to the entry points in turn; the same in every run."""
    for make in SYSTEMATIC:
        cases = list(islice(make(), 0, 90, 22))
        for number, case in enumerate(cases):
            entry_points = list(ENTRY_POINTS[case.format])
            yield case, entry_points[number % len(entry_points)]


def systematic_tasks(seed: int) -> Iterator[Task]:
    """Send every systematic case to one of its entry points, then to the next, until each has been to all.

    The seed determines the order of the cases, and the entry point that each begins with.
    """
    cases = [case for make in SYSTEMATIC for case in make()]
    order = np.random.default_rng(seed).permutation(len(cases))
    for turn in range(max(len(entry_points) for entry_points in ENTRY_POINTS.values())):
        for place, index in enumerate(order):
            entry_points = list(ENTRY_POINTS[cases[index].format])
            if turn < len(entry_points):
                yield cases[index], entry_points[(place + turn) % len(entry_points)]


def random_tasks(seed: int) -> Iterator[Task]:
    """An endless series of random damage at a random interface."""
    random = np.random.default_rng(seed)
    for case in random_damage(random):
        entry_points = list(ENTRY_POINTS[case.format])
        yield case, entry_points[random.integers(len(entry_points))]


def all_tasks(
    seed: int, format_: str | None = None, entry_point: str | None = None, damage: str = ""
) -> Iterator[Task]:
    """Four systematic tasks and a random one in turn, then random ones; or those that are asked for."""
    if format_ or entry_point or damage:
        for case, name in systematic_tasks(seed):
            if format_ in {None, case.format} and entry_point in {None, name} and damage in case.damage:
                yield case, name
        return
    random = random_tasks(seed)
    for number, task in enumerate(systematic_tasks(seed)):
        yield task
        if number % 4 == 3:
            yield next(random)
    yield from random


class Session:
    """The victim, started again where it died or hung.

    Args:
        keep: folder for the inputs that it failed on.
    """

    def __init__(self, keep: Path) -> None:
        self.keep = keep
        self._folder = Path(tempfile.mkdtemp(prefix="s3im-fuzz-"))
        self._victim: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, tasks: Iterable[Task], seconds: float) -> dict[str, Any]:
        """Try tasks until they or the time are used up.

        Returns:
            The counts: all, by format, by entry point; the failures; seconds; the largest growth of memory.
        """
        total: Counter[str] = Counter()
        cells: dict[str, Counter[str]] = {}
        failures: list[dict[str, Any]] = []
        self._start()
        growth, slowest, begin = 0, 0.0, time.monotonic()
        for number, (case, entry_point) in enumerate(tasks):
            if time.monotonic() - begin > seconds:
                break
            start = time.monotonic()
            outcome = self.attempt(case, entry_point, number)
            slowest = max(slowest, time.monotonic() - start)
            growth = max(growth, int(outcome.get("grown_mib", 0)))
            total[outcome["state"]] += 1
            cells.setdefault(f"{case.format} / {entry_point}", Counter())[outcome["state"]] += 1
            if outcome["state"] in {"crashed", "hung"}:
                told = {"format": case.format, "entry_point": entry_point, "damage": case.damage}
                failures.append({**told, **outcome})
                case.write(self.keep / f"{number:05}_{case.format.replace(' ', '_')}")
        return {
            "tried": total.total(),
            **{state: total[state] for state in STATES},
            "largest_growth_mib": growth,
            "slowest_s": round(slowest, 1),
            "seconds": round(time.monotonic() - begin),
            "cells": {name: {state: count[state] for state in STATES} for name, count in sorted(cells.items())},
            "failures": failures,
        }

    def attempt(self, case: Case, entry_point: str, number: int = 0) -> dict[str, Any]:
        """Try one task in its own folders."""
        folder = self._folder / f"case{number}"
        (folder / "work").mkdir(parents=True)
        path, work = case.write(folder / "input"), self._folder / f"work{number}"
        work.mkdir()
        try:
            if self._victim is None:
                self._start()
            return self._ask(
                {"format": case.format, "entry_point": entry_point, "path": str(path), "work": str(work)}, TIME_LIMIT_S
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(work, ignore_errors=True)

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "MPLBACKEND": "agg"}
        self._log = (self._folder / "log.txt").open("wb")
        self._victim = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fuzz_victim.py")), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        if self._answer(900)["state"] != "ready":
            raise RuntimeError((self._folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-3000:])

    def _ask(self, task: dict[str, str], limit_s: float) -> dict[str, Any]:
        self._victim.stdin.write(json.dumps(task).encode() + b"\n")
        self._victim.stdin.flush()
        return self._answer(limit_s)

    def _answer(self, limit_s: float) -> dict[str, Any]:
        ready, _, _ = select.select([self._victim.stdout], [], [], limit_s)
        line = self._victim.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        code = self._victim.poll() if ready else None
        self._end()
        said = (self._folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-2000:]
        return {"state": "crashed" if ready else "hung", "said": f"the process ended ({code}): {said}"}

    def _end(self) -> None:
        if self._victim is not None:
            self._victim.kill()
            self._victim.wait()
            self._victim.stdin.close()
            self._victim.stdout.close()
            self._log.close()
            self._victim = None


def write_tables(counts: dict[str, Any], page: Path) -> None:
    """Update the text between the marks of a page: the counts by format and by interface."""
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- counts: begin -->\n", "<!-- counts: end -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    lines = [f"`{counts['command']}`: {counts['tried']:,} inputs in {counts['seconds'] / 60:.0f} minutes.", ""]
    for title, part in (("format", 0), ("entry point", 1)):
        rows: dict[str, Counter[str]] = {}
        for name, count in counts["cells"].items():
            rows.setdefault(name.split(" / ")[part], Counter()).update(count)
        rows["all"] = Counter({state: counts[state] for state in STATES})
        lines += [f"| {title} | tried | refused | fused or read | crashed | hung |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {name} | {count.total():,} | " + " | ".join(f"{count[state]:,}" for state in STATES) + " |"
            for name, count in rows.items()
        ]
        lines.append("")
    lines.append(
        f"Slowest input: {counts['slowest_s']} s. Largest growth of memory on one: {counts['largest_growth_mib']} MiB."
    )
    page.write_text(f"{before}{begin}{chr(10).join(lines)}\n{end}{after}", encoding="utf-8")
