"""A batch with everything in it, and its report, made once."""

import json
from types import SimpleNamespace

import pytest
from hostile_case import HOSTILE_NAME, HOSTILE_WARNING, WARNED_NAME
from sample_images import SMALLER, write_picture, write_volume

from monai_s3im.batch import fuse_batch
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser
from monai_s3im.record import record_path
from monai_s3im.report import write_report


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """Pictures of one kind, volumes, one with a hostile warning, and two that fail, one for its hostile name."""
    images, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("batch")
    pictures = [write_picture(images / f"{index}.png", index) for index in range(10)]
    pairs = [Pair(f"picture {index}", pictures[index], pictures[-1], "mr", "ct") for index in range(9)]
    t1, ct, pet = (images / f"{name}.nii.gz" for name in ("t1", "ct", "pet"))
    write_volume(t1, 0)
    write_volume(ct, 5)
    write_volume(pet, 5, *SMALLER)
    blobs = (t1, ct, "generic", "generic")  # no values of a CT, whatever the name
    pairs += [Pair("volume", *blobs), Pair("uptake", t1, pet, "mr", "pet"), Pair(WARNED_NAME, *blobs)]
    pairs += [Pair("missing", t1, images / "none.nii.gz"), Pair(HOSTILE_NAME, *blobs)]
    assert len(list(fuse_batch(pairs, out, Fuser(device="cpu"), metrics=True))) == len(pairs)
    record = record_path(out / f"{WARNED_NAME}.nii.gz")
    record.write_text(json.dumps({**json.loads(record.read_text(encoding="utf-8")), "warnings": [HOSTILE_WARNING]}))
    return SimpleNamespace(folder=out, pairs=pairs, page=write_report(out, pairs))
