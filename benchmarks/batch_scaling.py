"""Time batches of phantom volumes on one and two CPU cores, with processes of this machine and with Ray, and one study.

Command:   python benchmarks/batch_scaling.py          (a trial of a few minutes: --quick --out FOLDER)
Duration:  about 15 minutes on two CPU cores
Result:    batch_scaling.json and the tables of scaling.md in the folder studies: pairs per minute once the workers have
           started, the efficiency, that is the rate over that of one core times the cores, and the seconds and bytes
           that a slice of 512 x 512 of a study takes on one core.
"""

import argparse
import importlib.util
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from memory import SIDE, write_volumes
from scaling_page import write_page

from monai_s3im.batch import fuse_batch
from monai_s3im.inferers import SliceWiseInferer
from monai_s3im.pairs.lists import Pair, read_pairs
from monai_s3im.phantom import write_phantom
from monai_s3im.pipeline import Fuser

RUNS = (("local", 1, 1), ("local", 1, 2), ("local", 2, 2), ("ray", 1, 2), ("ray", 2, 2))
"""Engine, workers, and the cores that they share; the first is the yardstick of the others."""


def small_phantom(folder: Path) -> list[Pair]:
    """The pairs of the head phantom at half its resolution."""
    write_phantom(folder / "phantom", subjects=2, volumes=True)
    volumes = folder / "phantom" / "volumes"
    for file in volumes.glob("*.nii.gz"):
        image = nib.load(file).slicer[::2, ::2, ::2]
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), file)
    return read_pairs(volumes / "pairs.csv")


def time_batch(pairs: list[Pair], output: Path, engine: str, workers: int, cores: int) -> tuple[float, float]:
    """Total seconds of a batch, and pairs per minute from its first result to its last."""
    torch.set_num_threads(cores)  # which local workers share
    start, ends = time.monotonic(), []
    for result in fuse_batch(pairs, output, Fuser(device="cpu"), engine=engine, workers=workers):
        if result.error is not None:
            raise SystemExit(result.error)
        ends.append(time.monotonic())
    return time.monotonic() - start, 60 * (len(pairs) - 1) / (ends[-1] - ends[0])


def scaling(folder: Path, cases: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each engine and number of workers."""
    listed = small_phantom(folder)
    pairs = [replace(listed[index % len(listed)], name=f"case{index}") for index in range(cases)]
    rows: list[dict[str, Any]] = []
    for engine, workers, cores in RUNS:
        if importlib.util.find_spec("ray") is None and engine == "ray":
            continue
        runs = [time_batch(pairs, folder / f"{engine}{workers}{cores}", engine, workers, cores) for _ in range(repeats)]
        total, rate = (statistics.median(values) for values in zip(*runs, strict=True))
        rows.append({"engine": engine, "workers": workers, "cores": cores, "seconds": total, "pairs per minute": rate})
        rows[-1]["efficiency"] = rate / (rows[0]["pairs per minute"] * cores)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def study(folder: Path, slices: int, repeats: int) -> dict[str, float]:
    """What a slice of a CT and MR of 512 x 512 takes on one core: seconds of the network and of the rest, and bytes."""
    torch.set_num_threads(1)
    write_volumes(folder, slices)
    fuser, network, rest = Fuser(device="cpu"), [], []
    run = SliceWiseInferer.__call__

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = run(*args, **kwargs)
        network.append(time.perf_counter() - start)
        return result

    SliceWiseInferer.__call__ = timed  # type: ignore[method-assign]
    for _ in range(repeats):
        start = time.perf_counter()
        fuser(folder / "t1.nii.gz", folder / "ct.nii.gz", folder / "fused.nii.gz", "mr", "ct")
        rest.append(time.perf_counter() - start - network[-1])
    SliceWiseInferer.__call__ = run  # type: ignore[method-assign]
    read, written = ((folder / name).stat().st_size for name in ("ct.nii.gz", "fused.nii.gz"))
    return {
        "side": SIDE,
        "slices": slices,
        "network": statistics.median(network) / slices,
        "rest": statistics.median(rest) / slices,
        "bytes read": ((folder / "t1.nii.gz").stat().st_size + read) / slices,
        "bytes written": written / slices,
    }


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "studies")
    options = parser.parse_args()
    cases, repeats, slices = (4, 1, 4) if options.quick else (12, 3, 32)
    logging.getLogger("monai_s3im").setLevel(logging.ERROR)
    root = str(Path(__file__).resolve().parents[1])
    os.environ |= {"PYTHONPATH": root, "RAY_USAGE_STATS_ENABLED": "0"}  # for Ray's workers, in a checkout
    with tempfile.TemporaryDirectory() as name:
        figures = {
            "command": "python benchmarks/batch_scaling.py",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, PyTorch {torch.__version__}",
            "cases": cases,
            "repeats": repeats,
            "study": study(Path(name), slices, repeats),
            "batches": scaling(Path(name), cases, repeats),
        }
    (options.out / "data").mkdir(parents=True, exist_ok=True)
    (options.out / "data" / "batch_scaling.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_page(options.out)


if __name__ == "__main__":
    main()
