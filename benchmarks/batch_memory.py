"""Watch the memory of a batch of 50 small volumes.

Command:  python benchmarks/batch_memory.py
Duration: about one minute on two CPU cores.
Result:   the resident memory after every fifth case; from case 5 to case 50 it grows by less than 20 MiB. (Linux)
"""

import logging
import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_s3im.batch import fuse_batch
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser

CASES = 50
SHAPE = (64, 64, 16)


def write_volumes(folder: Path) -> list[Pair]:
    """Volumes of noise, each its own: as many pairs as there are cases."""
    random = np.random.default_rng(0)
    files = []
    for index in range(CASES + 1):
        files.append(folder / f"{index}.nii.gz")
        nib.save(nib.Nifti1Image(random.integers(0, 1000, SHAPE).astype(np.int16), np.diag([1, 1, 2, 1])), files[-1])
    return [Pair(f"case{index}", files[index], files[index + 1], "mr", "pet") for index in range(CASES)]


def resident_mib() -> float:
    """Resident memory of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Fuse, and print the curve."""
    logging.getLogger("monai_s3im").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_volumes(Path(folder))
        curve = {}
        for number, result in enumerate(fuse_batch(pairs, Path(folder) / "out", Fuser(device="cpu")), start=1):
            if result.error is not None:
                raise SystemExit(result.error)
            if number % 5 == 0:
                curve[number] = resident_mib()
                print(f"case {number:3d}: {curve[number]:7.1f} MiB")
    print(f"growth from case 5 to case {CASES}: {curve[CASES] - curve[5]:+.1f} MiB")


if __name__ == "__main__":
    main()
