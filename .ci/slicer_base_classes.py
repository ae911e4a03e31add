"""Runs the tests of the Slicer extension on the base classes of several Slicer versions, without an application.

    python .ci/slicer_base_classes.py FOLDER --fetch
    python .ci/slicer_base_classes.py FOLDER tests/slicer_extension/test_widget.py

Each ``FOLDER/<version>/Base/Python`` is a version. ``--fetch`` first checks out those of ``TAGS`` that are absent, by
Git, without the rest of Slicer. All other arguments go to pytest. About five minutes a version.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

TAGS = {"5.8.1": "v5.8.1", "5.10.0": "v5.10.0", "5.12.3": "v5.12.3", "main": "main"}
SLICER = "https://github.com/Slicer/Slicer"
TESTS = ["-m", "slicer", "tests/slicer_extension"]


def fetch(folder: Path) -> None:
    """Checks out Base/Python of the versions that are not in the folder."""
    for version, tag in TAGS.items():
        target = folder / version
        if not (target / "Base" / "Python").is_dir():
            clone = ["git", "clone", "-q", "--depth", "1", "--filter=blob:none", "--sparse", "-b", tag, SLICER]
            subprocess.run([*clone, str(target)], check=True)
            subprocess.run(["git", "-C", str(target), "sparse-checkout", "set", "Base/Python"], check=True)


def main() -> int:
    """Runs pytest once a version; 1 if one of the runs fails, or there is no version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fetch", action="store_true")
    arguments, others = parser.parse_known_args()
    if arguments.fetch:
        fetch(arguments.folder)
    bases = sorted(arguments.folder.resolve().glob("*/Base/Python"))
    if not bases:
        sys.exit(f"{arguments.folder}: no <version>/Base/Python of Slicer in it; add --fetch, or check one out")
    failed = []
    for base in bases:
        version = base.parents[1].name
        print(f"== Slicer {version}", flush=True)
        environment = {**os.environ, "SLICER_BASE_PYTHON": str(base)}
        run = subprocess.run([sys.executable, "-m", "pytest", "-q", *(others or TESTS)], env=environment, check=False)
        failed += [version] if run.returncode else []
    print(f"failed: {', '.join(failed)}" if failed else f"passed on {len(bases)} versions")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
