"""A pipeline and helpers for the tests of batches."""

import json
from pathlib import Path

from PIL import Image

from monai_s3im.formats.writing import sha256_of
from monai_s3im.record import FusionRecord, SourceRecord
from monai_s3im.settings import FusionSettings


class FakeFuser:
    """Copies image A and writes a record; for an image named ``broken`` it has a fault."""

    device_asked = "auto"
    dicom = False
    max_gib = 4.0

    def __init__(self, **record_settings):
        self.record_settings = {"plane": "axial", **record_settings}
        self.weights_sha256 = {"medical": "0" * 64}

    def __call__(self, image_a, image_b, output, modality_a=None, modality_b=None, overwrite=False):
        output.parent.mkdir(parents=True, exist_ok=True)
        with (output.parent / "calls.log").open("a") as log:
            log.write(f"{image_a.stem}\n")
        if image_a.stem.startswith("broken"):
            raise ZeroDivisionError("our own fault")
        with Image.open(image_a) as picture:
            picture.save(output)
        sources = {
            key: SourceRecord(file.name, sha256_of(file), modality or "generic", [0.0, 1.0], modality is not None)
            for key, file, modality in (("image_a", image_a, modality_a), ("image_b", image_b, modality_b))
        }
        FusionRecord(
            fused=output.name,
            fused_sha256=sha256_of(output),
            sources=sources,
            software={},
            settings=FusionSettings(**self.record_settings),
            task="medical",
            weights_sha256=self.weights_sha256["medical"],
            warnings=[f"warned of {image_a.stem}"],
        ).write(output)


def called(folder: Path) -> list[str]:
    """Cases that a fake fuser was called for, in order."""
    log = folder / "calls.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file of an output folder but the summary, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in {"summary.csv", "calls.log"}}


def are_whole(folder: Path) -> bool:
    """Whether each record in a folder names the SHA256 that its image has."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return all(record["fused_sha256"] == sha256_of(folder / record["fused"]) for record in records)
