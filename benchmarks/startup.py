"""Time the start of the command and the overhead of the first fusion.

Command:   python benchmarks/startup.py          (a trial: --repeats 1 --out FOLDER)
Duration:  about 3 minutes on one CPU core
Result:    startup.json and the table of scaling.md in the folder studies. `s3im --help` takes less than 0.5 s, and the
           library adds less than 1 s to the imports of MONAI.

Each is timed in new processes, which take turns; medians. What lies between `import torch` and the import of
MONAI is MONAI's own: ignite, SciPy, matplotlib and others, which it imports where they are installed. `--imports` lists
the 30 modules that take longest by themselves (python -X importtime).
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
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scaling_page import write_page

PYTHON = {
    "python": "pass",
    "s3im --help": "import sys; sys.argv = ['s3im', '--help']; from monai_s3im.cli import main; main()",
    "import torch": "import torch",
    "import monai.data, monai.transforms, monai.engines": (
        "import monai.data, monai.transforms, monai.engines, monai.bundle, monai.inferers"
    ),
    "import monai_s3im.pipeline": "import monai_s3im.pipeline",
    "Fuser(), the network and its weights": "from monai_s3im.pipeline import Fuser; Fuser(device='cpu')",
    "s3im fuse, a pair of pictures of 256 x 256": (
        "import sys; sys.argv = ['s3im', 'fuse', 'a.png', 'b.png', '-o', 'c.png', '--device', 'cpu']; "
        "from monai_s3im.cli import main; main()"
    ),
}
SECOND = """
import time
from monai_s3im.pipeline import Fuser
fuser = Fuser(device="cpu")
for _ in range(3):
    start = time.perf_counter()
    fuser("a.png", "b.png", "c.png")
    seconds = time.perf_counter() - start
print(seconds)
"""


def run(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it in a new process, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=True
    )


def seconds_of(code: str, folder: Path) -> float:
    """The run time of a process with it."""
    start = time.perf_counter()
    run(code, folder)
    return time.perf_counter() - start


def slowest_imports(folder: Path) -> list[tuple[str, float]]:
    """The slowest packages to import, and their seconds."""
    own: dict[str, float] = defaultdict(float)
    for line in run("import monai_s3im.pipeline", folder, "-X", "importtime").stderr.splitlines():
        _, _, values = line.partition("import time:")
        fields = values.split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            own[".".join(fields[2].strip().split(".")[:2])] += int(fields[0]) / 1e6
    return sorted(own.items(), key=lambda item: -item[1])[:30]


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--imports", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "studies")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, random = Path(name), np.random.default_rng(0)
        for picture in ("a", "b"):
            Image.fromarray(random.integers(0, 256, (256, 256)).astype(np.uint8)).save(folder / f"{picture}.png")
        if options.imports:
            for module, seconds in slowest_imports(folder):
                print(f"{seconds:7.3f} s  {module}")
            return
        run(PYTHON["s3im fuse, a pair of pictures of 256 x 256"], folder)  # compiles and warms the disk cache
        times = [{what: seconds_of(code, folder) for what, code in PYTHON.items()} for _ in range(options.repeats)]
        second = [float(run(SECOND, folder).stdout) for _ in range(options.repeats)]
    medians = {what: statistics.median(row[what] for row in times) for what in PYTHON}
    medians["another pair with the same Fuser"] = statistics.median(second)
    figures = {
        "command": "python benchmarks/startup.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, PyTorch {torch.__version__}",
        "repeats": options.repeats,
        "seconds": medians,
    }
    (options.out / "data").mkdir(parents=True, exist_ok=True)
    (options.out / "data" / "startup.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_page(options.out)


if __name__ == "__main__":
    main()
