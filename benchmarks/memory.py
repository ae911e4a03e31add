"""Measure the memory for fusing one pair of 512 x 512 volumes, by number of slices.

Command:   python benchmarks/memory.py           (a trial of a minute: --slices 16 32 --out FOLDER)
Duration:  about 25 minutes on two CPU cores, most of it the network on the last pair; 5 GiB of free memory
Result:    memory.json, gallery/memory.png and the table of scaling.md in the folder studies. The peak of the main
           memory, of the whole process with Python and all libraries, is at most 3 times the size of the two volumes in
           float32 at 600 slices; the peak of a GPU is the same at 50 and at 600 slices. (Linux)

Each pair is fused by a new process, `s3im fuse` with nothing but the files' names, whose peak the kernel reports. The
network's own memory does not depend on the number of slices, but its time does: a mean of the sources takes its place,
which the column "network" shows, and at the last number of slices both are measured.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
from scaling_page import write_page

from monai_s3im.phantom import head_phantom

SIDE = 512
SLICES = (50, 100, 200, 400, 600)
CASES = {
    "one grid": ("t1", "ct", "mr", "ct"),
    "resampled": ("t1", "ct tilted", "mr", "ct"),
    "registered": ("t1", "ct tilted", "mr", "ct", "--register", "rigid"),
    "colour": ("t1", "pet", "mr", "pet"),
}
"""Files of A and B, modalities, options: B on the grid of A, on a tilted one, brought into register, in colour."""

CHILD = """
import json, re, sys
from pathlib import Path
import torch
from monai_s3im.cli import app
from monai_s3im.networks import S3IMFusion
if sys.argv.pop(1) == "mean":
    S3IMFusion.forward = lambda self, sources: sources.mean(dim=1, keepdim=True)
app(standalone_mode=False)
is_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
peak = torch.cuda.max_memory_allocated() / 2**20 if is_cuda else None
status = Path("/proc/self/status").read_text()  # not getrusage, which counts the parent's memory before exec
print(json.dumps({"host": int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024, "device": peak}))
"""


def write_volumes(folder: Path, slices: int) -> None:
    """The head phantom as 16-bit volumes of 512 x 512 voxels, and the CT again on a grid rotated by 5 degrees."""
    phantom = head_phantom((128, 128, 64), (1.6, 1.6, 2.4)).volumes
    affine = np.diag([0.4, 0.4, 153.6 / slices, 1.0])
    cosine, sine = np.cos(np.radians(5)), np.sin(np.radians(5))
    turn = np.array([[cosine, -sine, 0, 3], [sine, cosine, 0, -4], [0, 0, 1, 5], [0, 0, 0, 1]])
    for name in ("t1", "ct", "pet"):
        values = phantom[name].as_tensor()[None]
        values = torch.nn.functional.interpolate(values, (SIDE, SIDE, slices), mode="trilinear")[0, 0].numpy()
        values *= 1000 / values.max() if name == "pet" else 1
        stored = np.rint(values, out=values).astype(np.int16)
        nib.save(nib.Nifti1Image(stored, affine), folder / f"{name}.nii.gz")
        if name == "ct":
            nib.save(nib.Nifti1Image(stored, turn @ affine), folder / "ct tilted.nii.gz")


def measure(folder: Path, case: str, network: str, device: str) -> dict[str, float | None]:
    """Peaks of one fusion in MiB."""
    image_a, image_b, modality_a, modality_b, *options = CASES[case]
    command = [sys.executable, "-c", CHILD, network, "fuse"]
    command += [str(folder / f"{image_a}.nii.gz"), str(folder / f"{image_b}.nii.gz"), "-o", str(folder / "out.nii.gz")]
    command += ["--modality-a", modality_a, "--modality-b", modality_b, "--device", device, *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr)
    return dict(json.loads(result.stdout.splitlines()[-1]))


def curves(all_slices: list[int], device: str) -> list[dict[str, Any]]:
    """A row for each number of slices, each case, and the network or the mean in its place."""
    rows: list[dict[str, Any]] = []
    for slices in all_slices:
        with tempfile.TemporaryDirectory() as folder:
            write_volumes(Path(folder), slices)
            runs = [(case, "mean" if device == "cpu" else "S3IMFusion") for case in CASES]
            if slices == all_slices[-1] and device == "cpu":
                runs.append(("one grid", "S3IMFusion"))
            for case, network in runs:
                peaks = measure(Path(folder), case, network, device)
                size = 2 * SIDE**2 * slices * 4 / 2**20
                rows.append({"slices": slices, "case": case, "network": network, "size": size, **peaks})
                rows[-1]["ratio"] = peaks["host"] / size
                print(json.dumps(rows[-1]), flush=True)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Peaks over the number of slices."""
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for case in CASES:
        own = [row for row in rows if row["case"] == case and row["network"] == rows[0]["network"]]
        axes.plot([row["slices"] for row in own], [row["host"] for row in own], marker="o", label=f"host, {case}")
    whole = [row for row in rows if row["network"] != rows[0]["network"]]
    axes.plot([row["slices"] for row in whole], [row["host"] for row in whole], "k*", label="host, with the network")
    own = [row for row in rows if row["device"] is not None and row["case"] == "one grid"]
    if own:
        axes.plot([row["slices"] for row in own], [row["device"] for row in own], marker="s", label="GPU, one grid")
    limit = {row["slices"]: 3 * row["size"] for row in rows}
    axes.plot(list(limit), list(limit.values()), "k--", label="3 x both volumes in float32")
    axes.set(xlabel="slices of 512 x 512", ylabel="MiB", ylim=(0, None))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, write, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="+", default=list(SLICES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "studies")
    options = parser.parse_args()
    rows = curves(options.slices, options.device)
    figures = {
        "command": "python benchmarks/memory.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, PyTorch {torch.__version__}",
        "rows": rows,
    }
    (options.out / "data").mkdir(parents=True, exist_ok=True)
    kind = "memory" if options.device == "cpu" else "memory_cuda"
    (options.out / "data" / f"{kind}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw(rows, options.out / "gallery" / f"{kind}.png")
    write_page(options.out)


if __name__ == "__main__":
    main()
