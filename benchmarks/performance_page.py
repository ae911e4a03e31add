"""Write the tables and pictures of studies/performance.md from the figures of speed.py.

Command:   python benchmarks/performance_page.py studies
Duration:  seconds
Result:    what stands between the marks of performance.md, and gallery/performance_DEVICE.png, are those of
           performance_cpu.json and performance_cuda.json.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt


def table(header: list[str], rows: Iterable[list[object]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def milliseconds(seconds: float) -> str:
    """Three digits."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def find(figures: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """The row of a network that has these values."""
    return next(row for row in figures["network"] if all(row[key] == value for key, value in wanted.items()))


def summary(figures: dict[str, Any], device: str) -> list[str]:
    """Each goal: the figure, the yardstick in the same run, the ratio, the limit and the attained part of it."""
    rows: list[list[object]] = []
    sides = sorted({row["side"] for row in figures["network"]})
    precisions = sorted({row["precision"] for row in figures["network"]}, key=["float32", "bfloat16", "float16"].index)
    for side, precision in [(side, precision) for side in sides if side >= 256 for precision in precisions]:
        ours = find(figures, network="S3IMFusion", side=side, batch=1, precision=precision)
        ifcnn = find(figures, network="IFCNN's shape", side=side, batch=1, precision=precision)
        rows.append([
            f"network, {side} x {side}, {precision}", milliseconds(ours["seconds"]),
            f"IFCNN's shape: {milliseconds(ifcnn['seconds'])}", f"{ours['of IFCNN']:.2f}", "at most 0.5, aim 0.25",
            milliseconds(ours["limit"]), f"{ours['attained']:.0%}",
        ])  # fmt: skip
    loss, metrics = figures["loss"], figures["metrics"]
    rows.append([
        f"S3IM, {loss['batch']} pairs of {loss['side']} x {loss['side']}", milliseconds(loss["seconds"]["S3IM"]),
        f"a training step: {milliseconds(loss['seconds']['step'])}", f"{loss['share of S3IM']:.1%}",
        "at most 15 %", "", "",
    ])  # fmt: skip
    quicker = metrics["per image"] / metrics["float32"]
    rows.append([
        f"ten metrics, {metrics['pairs']} pairs, one thread", milliseconds(metrics["float32"]),
        f"image by image: {milliseconds(metrics['per image'])}", f"{quicker:.1f} times", "at least 20 times", "", "",
    ])  # fmt: skip
    for volume in figures["volume"]:
        size = " x ".join(map(str, volume["shape"]))
        rows.append([
            f"a volume, {size}, {volume['precision']}", milliseconds(volume["seconds"]),
            f"without reading and writing: {milliseconds(volume['in memory'])}", "",
            "512 x 512 x 300 in memory on an H200: 2 s" if device == "cuda" else "", "", "",
        ])  # fmt: skip
    return table(["figure", "ours", "yardstick in the same run", "ratio", "goal", "limit", "attained"], rows)


def network_rows(figures: dict[str, Any]) -> Iterable[list[object]]:
    """Each network, each size."""
    for row in figures["network"]:
        yield [
            row["network"], row["precision"], row["side"], row["batch"], milliseconds(row["seconds"]),
            f"{row['of IFCNN']:.2f}", f"{row['GFLOP']:.3g}", f"{row['GB']:.3g}", milliseconds(row["limit"]),
            f"{row['attained']:.0%}",
        ]  # fmt: skip


def volume_rows(figures: dict[str, Any]) -> Iterable[list[object]]:
    """The stages of each precision."""
    for volume in figures["volume"]:
        yield [volume["precision"], *map(milliseconds, [*volume["stages"].values(), volume["transfer alone"]])]


def section(figures: dict[str, Any], device: str) -> list[str]:
    """Everything about one device."""
    machine, first = figures["machine"], figures["network"][0]
    by_size = ["network", "precision", "side", "batch", "time", "of IFCNN's", "GFLOP", "GB", "limit", "attained"]
    stages = ["precision", *figures["volume"][0]["stages"], "transfer alone"]
    memory = ([row["side"], f"{row['MiB']:.0f}", f"{row['bytes a pixel']:.0f}"] for row in figures["memory"])
    made = (
        f"`{figures['command']}`, {machine['date']}: {machine['device']}, {machine['threads']} threads, PyTorch "
        f"{machine['torch']}. Limits measured in the run (float32): {first['flops_per_second'] / 1e9:.0f} GFLOP/s, "
        f"{first['bytes_per_second'] / 1e9:.1f} GB/s."
    )
    picture = f"![time by size, and by stage](gallery/performance_{device}.png)"
    return [
        *[made, "", *summary(figures, device), picture, ""],
        *["Each network, each size:", "", *table(by_size, network_rows(figures))],
        *["Stages of a volume, from files to a file:", "", *table(stages, volume_rows(figures))],
        *["Memory that one pair takes in the network at most:", "", *table(["side", "MiB", "bytes a pixel"], memory)],
    ][:-1]


def draw(figures: dict[str, Any], path: Path) -> None:
    """Time of a pair by size, and the stages of a volume."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    rows = [row for row in figures["network"] if row["batch"] == 1 and row["precision"] == "float32"]
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        left.loglog([row["side"] for row in own], [row["seconds"] for row in own], marker="o", label=name)
    own = [row for row in rows if row["network"] == "S3IMFusion"]
    left.loglog([row["side"] for row in own], [row["limit"] for row in own], "k:", label="S3IMFusion, limit")
    sides = [row["side"] for row in own]
    left.set(title="one pair, float32", xlabel="side, pixels", ylabel="seconds", xticks=sides, xticklabels=sides)
    left.minorticks_off()
    left.legend(fontsize=7)
    for row, volume in enumerate(figures["volume"]):
        start = 0.0
        for index, (stage, seconds) in enumerate(volume["stages"].items()):
            right.barh(row, seconds, left=start, color=f"C{index}", label=stage if row == 0 else None)
            start += seconds
    right.set_yticks(range(len(figures["volume"])), [volume["precision"] for volume in figures["volume"]])
    right.set(title="a volume of " + " x ".join(map(str, figures["volume"][0]["shape"])), xlabel="seconds")
    right.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_page(folder: Path) -> None:
    """Fill in what stands between the marks of each device whose figures are there."""
    page = folder / "performance.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "<!-- cpu -->\n<!-- end of cpu -->\n"
    for device in ("cpu", "cuda"):
        file = folder / "data" / f"performance_{device}.json"
        if not file.exists():
            continue
        figures = json.loads(file.read_text(encoding="utf-8"))
        draw(figures, folder / "gallery" / f"performance_{device}.png")
        before, _, rest = text.partition(f"<!-- {device} -->\n")
        _, _, after = rest.partition(f"<!-- end of {device} -->\n")
        filled = "\n".join([f"<!-- {device} -->", *section(figures, device), f"<!-- end of {device} -->", ""])
        text = before + filled + after
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
