"""A process of Python, as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path


def printed_by(*arguments: str, cwd: Path | None = None) -> str:
    """What Python prints when it is run with arguments, which must succeed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr
