"""A tiny data set, and the bundle's folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_s3im.bundle_config import bundle_root


def write_tiny_dataset(folder: Path, training: int = 4, validation: int = 2, size: int = 72) -> Path:
    """Pairs of smooth blobs to fuse."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    sections: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for index in range(training + validation):
        item = {"modality_a": "mr", "modality_b": "ct"}
        for key in ("image_a", "image_b"):
            (y, x), radius = random.uniform(0.3, 0.7, 2), random.uniform(0.1, 0.3)
            blob = np.exp(-((rows / size - y) ** 2 + (columns / size - x) ** 2) / radius**2)
            path = folder / key / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(255 * blob).astype(np.uint8)).save(path)
            item[key] = f"{key}/{index}.png"
        sections["training" if index < training else "validation"].append(item)
    (folder / "datalist.json").write_text(json.dumps(sections))
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def bundle() -> Path:
    return bundle_root()
