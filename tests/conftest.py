"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real images and reference values; its tests are skipped, loudly, where it is not at hand."""
    folder = Path(os.environ.get("S3IM_TEST_DATA", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}; set S3IM_TEST_DATA")
    return folder
