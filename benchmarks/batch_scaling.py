"""Time a batch of phantom volumes with one and two workers, on this machine and on a Ray cluster of it.

Command:  python benchmarks/batch_scaling.py
Duration: minutes; longer where other work takes the CPUs.
Result:   pairs per minute, the median of three runs, once the workers have started, and the seconds in all.
"""

import importlib.util
import logging
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_s3im.batch import fuse_batch
from monai_s3im.data.pairs import Pair, read_pairs
from monai_s3im.data.phantom import write_phantom
from monai_s3im.fuse import Fuser

CASES = 12
RUNS = 3


def small_phantom(folder: Path) -> list[Pair]:
    """The pairs of the head phantom at half its resolution."""
    write_phantom(folder / "phantom", subjects=2, volumes=True)
    volumes = folder / "phantom" / "volumes"
    for file in volumes.glob("*.nii.gz"):
        image = nib.load(file).slicer[::2, ::2, ::2]
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), file)
    return read_pairs(volumes / "pairs.csv")


def time_batch(pairs: list[Pair], output: Path, engine: str, workers: int) -> tuple[float, float]:
    """Seconds of a batch in all, and from its first result to its last."""
    start, ends = time.monotonic(), []
    for result in fuse_batch(pairs, output, Fuser(device="cpu"), engine=engine, workers=workers):
        if result.error is not None:
            raise SystemExit(result.error)
        ends.append(time.monotonic())
    return time.monotonic() - start, ends[-1] - ends[0]


def main() -> None:
    """Run, and print a table."""
    logging.getLogger("monai_s3im").setLevel(logging.ERROR)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # for Ray's workers, in a checkout that is not installed
    engines = ["local", "ray"] if importlib.util.find_spec("ray") else ["local"]
    with tempfile.TemporaryDirectory() as folder:
        listed = small_phantom(Path(folder))
        pairs = [replace(listed[index % len(listed)], name=f"case{index}") for index in range(CASES)]
        print(f"{CASES} pairs, {os.cpu_count()} CPUs, median of {RUNS}")
        for engine in engines:
            for workers in (1, 2):
                runs = [time_batch(pairs, Path(folder) / f"{engine}{workers}", engine, workers) for _ in range(RUNS)]
                total, steady = (statistics.median(seconds) for seconds in zip(*runs, strict=True))
                rate = 60 * (CASES - 1) / steady
                print(
                    f"{engine:5s} {workers} worker(s): {total:6.1f} s in all, {rate:5.1f} pairs per minute once started"
                )


if __name__ == "__main__":
    main()
