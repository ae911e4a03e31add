"""Pipelines for the tests of batches, which worker processes import by name."""

import json
import os
import signal
import time
from pathlib import Path

from PIL import Image

from monai_s3im.data.saving import record_path
from monai_s3im.data.writing import sha256_of, write_json


class FakeFuser:
    """Copies image A and writes a record; what it does besides is told by the file's name.

    ``deadly`` kills its process, ``frail`` does so the first time, ``slow`` takes a minute, ``broken`` has a fault.
    """

    def __init__(self, **record_settings):
        self.record_settings = {"weights_sha256": "0" * 64, "plane": "axial", **record_settings}

    def __call__(self, image_a, image_b, output, modality_a=None, modality_b=None):
        output.parent.mkdir(parents=True, exist_ok=True)
        with (output.parent / "calls.log").open("a") as log:
            log.write(f"{image_a.stem} {os.getpid()}\n")
        frail = image_a.stem.startswith("frail") and called(output.parent).count(image_a.stem) == 1
        if image_a.stem.startswith("deadly") or frail:
            os.kill(os.getpid(), signal.SIGKILL)
        if image_a.stem.startswith("slow"):
            time.sleep(60)
        if image_a.stem.startswith("broken"):
            raise ZeroDivisionError("a fault of ours")
        with Image.open(image_a) as picture:
            picture.save(output)
        sources = {
            key: {
                "file": file.name,
                "sha256": sha256_of(file),
                "modality": modality or "generic",
                "modality_guessed": modality is None,
            }
            for key, file, modality in (("image_a", image_a, modality_a), ("image_b", image_b, modality_b))
        }
        record = {"fused": output.name, "fused_sha256": sha256_of(output), "sources": sources, **self.record_settings}
        write_json({**record, "warnings": [f"warned of {image_a.stem}"]}, record_path(output))


def called(folder: Path) -> list[str]:
    """Cases that a fake fuser was called for, in order."""
    log = folder / "calls.log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def processes(folder: Path) -> set[int]:
    """Processes in which a fake fuser was called."""
    return {int(line.split()[1]) for line in (folder / "calls.log").read_text().splitlines()}


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file of an output folder but the summary, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in {"summary.csv", "calls.log"}}


def are_whole(folder: Path) -> bool:
    """Whether each record in a folder names the SHA256 that its image has."""
    records = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return all(record["fused_sha256"] == sha256_of(folder / record["fused"]) for record in records)
