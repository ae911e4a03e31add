"""Write the tables and the arithmetic of studies/scaling.md from the measurements.

Command:   python benchmarks/scaling_page.py studies
Duration:  below a second
Result:    the text between the marks of scaling.md comes from memory.json, startup.json, training_scaling.json and
           batch_scaling.json of the folder's data; a part whose figures are missing says so.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

STUDIES, SLICES = 100_000, 300
"""Assumed: how many studies there are, and the slices of 512 x 512 of each."""


def table(header: list[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """A Markdown table."""
    return [
        f"| {' | '.join(header)} |",
        "|---" * len(header) + "|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def origin(figures: Figures) -> list[str]:
    """The origin of the figures."""
    return [f"`{figures['command']}`, {figures['date']}: {figures['machine']}.", ""]


def memory(figures: Figures) -> list[str]:
    """Peaks of the main memory by case and number of slices."""
    rows = (
        [
            row["case"], row["slices"], row["network"],
            f"{row['size']:.0f}", f"{row['host']:.0f}", f"{row['ratio']:.2f}",
            "" if row["device"] is None else f"{row['device']:.0f}",
        ]
        for row in sorted(figures["rows"], key=lambda row: (row["case"], row["network"], row["slices"]))
    )  # fmt: skip
    header = ["pair", "slices", "network", "both volumes, MiB", "peak, MiB", "ratio", "GPU, MiB"]
    return [*origin(figures), *table(header, rows), "", "![memory by slices](gallery/memory.png)"]


def startup(figures: Figures) -> list[str]:
    """Seconds of new processes."""
    rows = (
        [f"`{what}`" if "import" in what or "--" in what else what, f"{s:.2f}"]
        for what, s in figures["seconds"].items()
    )
    return [*origin(figures), *table(["a new process", f"seconds, median of {figures['repeats']}"], rows)]


def training(figures: Figures) -> list[str]:
    """Seconds of an epoch."""
    one, two = (figures["seconds of an epoch"][processes] for processes in ("1", "2"))
    rows = [["1", f"{one:.1f}", ""], ["2", f"{two:.1f}", f"{one:.1f} / (2 x {two:.1f}) = {figures['efficiency']:.2f}"]]
    return [
        *origin(figures),
        f"{figures['pairs']} pairs of {figures['patch']} x {figures['patch']} pixels, {figures['batch']} in a step.",
        "",
        *table(["processes, one core each", "seconds of an epoch", "efficiency"], rows),
    ]


def batches(figures: Figures) -> list[str]:
    """Pairs per minute by engine, workers and cores."""
    rows = (
        [
            row["engine"], row["workers"], row["cores"],
            f"{row['pairs per minute']:.1f}", f"{row['efficiency']:.2f}", f"{row['seconds']:.0f}",
        ]
        for row in figures["batches"]
    )  # fmt: skip
    header = ["engine", "workers", "cores", "pairs per minute", "efficiency", "seconds in all, with the start"]
    return [
        *origin(figures),
        f"{figures['cases']} pairs of small volumes, median of {figures['repeats']}.",
        "",
        *table(header, rows),
    ]


def studies(figures: Figures) -> list[str]:
    """The arithmetic of many studies on CPUs."""
    one, best = figures["study"], max(row["efficiency"] for row in figures["batches"][1:])
    seconds = SLICES * (one["network"] + one["rest"])
    hours = STUDIES * seconds / 3600
    read, written = (STUDIES * SLICES * one[what] / 1e12 for what in ("bytes read", "bytes written"))
    each_read, each_written = (
        f"{STUDIES:,} x {SLICES} x {one[what] / 1e6:.2f} MB, measured on the phantom"
        for what in ("bytes read", "bytes written")
    )
    nodes, cores = 20, 64
    days = hours / (nodes * cores * best) / 24
    rate = (read + written) * 1e12 / (days * 86400) / 1e6
    rows = [
        ["studies", f"{STUDIES:,}", "assumed"],
        ["slices of a study", f"{SLICES} of {one['side']} x {one['side']}, CT and MR, 16 bit, gzip", "assumed"],
        ["network, a slice on one core", f"{one['network']:.3f} s", "measured"],
        ["reading, aligning, writing, a slice on one core", f"{one['rest']:.3f} s", "measured"],
        ["a study on one core", f"{seconds:.0f} s", f"{SLICES} x ({one['network']:.3f} + {one['rest']:.3f}) s"],
        ["all studies", f"{hours:,.0f} core hours", f"{STUDIES:,} x {seconds:.0f} s / 3600"],
        ["efficiency of a full node", f"{best:.2f}", "measured on two cores, assumed for more"],
        ["cluster", f"{nodes} nodes of {cores} cores", "assumed"],
        ["time", f"{days:.1f} days", f"{hours:,.0f} h / ({nodes} x {cores} x {best:.2f}) / 24"],
        ["read", f"{read:.1f} TB", each_read],
        ["written", f"{written:.1f} TB", each_written],
        ["load of the file system", f"{rate:.0f} MB/s", f"({read:.1f} + {written:.1f}) TB / {days:.1f} days"],
    ]  # fmt: skip
    return [*origin(figures), *table(["", "", "how"], rows)]


PARTS: dict[str, tuple[str, Callable[[Figures], list[str]]]] = {
    "memory": ("memory.json", memory),
    "startup": ("startup.json", startup),
    "training": ("training_scaling.json", training),
    "batches": ("batch_scaling.json", batches),
    "studies": ("batch_scaling.json", studies),
}


def write_page(folder: Path) -> None:
    """Put every part whose figures are in the folder between its marks."""
    page = folder / "scaling.md"
    if not page.is_file():
        return
    text = page.read_text(encoding="utf-8")
    for part, (name, lines) in PARTS.items():
        if (folder / "data" / name).is_file():
            content = "\n".join(lines(json.loads((folder / "data" / name).read_text(encoding="utf-8"))))
            marks = rf"(<!-- {part} -->\n).*?(<!-- end of {part} -->)"
            text = re.sub(
                marks, lambda found, content=content: f"{found[1]}\n{content}\n\n{found[2]}", text, flags=re.DOTALL
            )
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
