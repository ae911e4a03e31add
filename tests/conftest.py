"""Fixtures for all tests."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from long_tests import mark_long

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_long(items)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real images and reference values; its tests are skipped, loudly, where it is not available."""
    folder = Path(os.environ.get("S3IM_TEST_DATA", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}; set S3IM_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def fuser() -> Any:
    """The pipeline with its default settings on the CPU; a fusion does not change it."""
    from monai_s3im.pipeline import Fuser

    return Fuser(device="cpu")


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Two gray pictures of one size."""
    from sample_images import write_picture

    return write_picture(tmp_path / "a.png", 0), write_picture(tmp_path / "b.png", 5)


@pytest.fixture(autouse=True)
def no_log_handler_is_left_behind() -> Iterator[None]:
    """MONAI's logging.conf gives the root logger a handler of the stream of the moment, which a test closes."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(autouse=True)
def absl_does_not_close_the_streams_of_pytest() -> Iterator[None]:
    """Exporting imports absl, whose log handler closes the current stream when logging is configured again."""
    yield
    absl = sys.modules.get("absl.logging")
    if absl is not None and absl.get_absl_handler() is not None:
        absl.get_absl_handler().python_handler.stream = sys.__stderr__
