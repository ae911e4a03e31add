"""The folders of the extension and of Slicer's own Python."""

import os
from pathlib import Path

EXTENSION = Path(__file__).resolve().parents[3] / "slicer_extension" / "S3IMFusion"
BASE_PYTHON = os.environ.get("SLICER_BASE_PYTHON")
