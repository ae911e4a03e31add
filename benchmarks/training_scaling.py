"""Time an epoch of training in one and in two processes (torchrun, gloo), each on one CPU core.

Command:   python benchmarks/training_scaling.py          (a trial of a minute: --quick --out FOLDER)
Duration:  about 15 minutes on two CPU cores
Result:    training_scaling.json and the table of scaling.md in the folder studies: seconds of an epoch, and the
           efficiency, the time of one process over twice that of two.

An epoch is the difference of a run of several epochs and a run of one, over the epochs between, so that neither imports
nor the reading of images count; without validation. Both see every pair once in an epoch, and the same number of pairs
in a step. The runs take turns; medians.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from scaling_page import write_page

from monai_s3im.bundle_config import bundle_root
from monai_s3im.phantom import write_phantom

BATCH = 8  # pairs in a step, of all processes together


def seconds_of(processes: int, epochs: int, dataset: Path, output: Path, patch: int) -> float:
    """How long a training takes from start to end."""
    configs = [str(bundle_root() / "configs" / "train.json")]
    launcher = [sys.executable]
    if processes > 1:
        configs.append(str(bundle_root() / "configs" / "multi_gpu_train.json"))
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    options = {
        "config_file": str(configs),
        "bundle_root": str(bundle_root()),
        "dataset_dir": str(dataset),
        "output_dir": str(output),
        "device": "cpu",
        "epochs": str(epochs),
        "batch_size": str(BATCH // processes),
        "patch_size": str(patch),
        "train#validation_interval": "1000",  # no validation
    }
    command = [*launcher, "-m", "monai.bundle", "run", "training"]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "studies")
    options = parser.parse_args()
    repeats, epochs, patch = (1, 2, 64) if options.quick else (3, 4, 256)
    times: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        datalist = write_phantom(Path(name) / "phantom", subjects=5, slices_per_subject=8)
        pairs = len(json.loads(datalist.read_text(encoding="utf-8"))["training"])
        for repeat in range(repeats):
            for processes, own in times.items():
                output = Path(name) / f"{processes}-{repeat}"
                first, last = (seconds_of(processes, n, datalist.parent, output / str(n), patch) for n in (1, epochs))
                own.append((last - first) / (epochs - 1))
                print(f"{processes} process(es): {own[-1]:.2f} s an epoch", flush=True)
    one, two = (statistics.median(own) for own in times.values())
    figures = {
        "command": "python benchmarks/training_scaling.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, PyTorch {torch.__version__}",
        "pairs": pairs,
        "batch": BATCH,
        "patch": patch,
        "seconds of an epoch": {"1": one, "2": two},
        "efficiency": one / (2 * two),
    }
    (options.out / "data").mkdir(parents=True, exist_ok=True)
    (options.out / "data" / "training_scaling.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_page(options.out)


if __name__ == "__main__":
    main()
