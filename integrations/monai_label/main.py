"""A MONAI Label app: clients such as 3D Slicer and OHIF ask a server for the fusion of the volume that they show.

    python -m venv label && . label/bin/activate && pip install monailabel "pydicom<3"
    monailabel start_server --app integrations/monai_label --studies STUDIES --conf command PATH/TO/s3im

MONAI Label needs pydicom 2, monai-s3im pydicom 3: so the app runs the command `s3im` of another environment; without
`--conf command` the one on the PATH.

The clients send one volume. Its partner is the `second` of the request, an image of the server or a file; or the other
image of its pair in STUDIES/pairs.csv (`--conf pairs FILE` names another list), with the columns image_a, image_b and,
where they are known, modality_a and modality_b. The result lies voxel by voxel on the volume that was sent.
"""

import csv
import json
import logging
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

logger = logging.getLogger(__name__)

OPTIONS = {"gray": True, "plane": "axial", "register": "none", "window": "auto"}
"""What a client may set for a fusion, and what it is else; see `s3im fuse --help`."""


class FusionTask(InferTask):
    """Fuse the volume of a request with its partner.

    Args:
        path_of: the file of an image of the server, by its name.
        pairs: list of pairs; it does not have to exist.
        command: the command `s3im`.
    """

    def __init__(self, path_of: Callable[[str], str], pairs: Path, command: str) -> None:
        super().__init__(
            type=InferType.OTHERS,
            labels=None,
            dimension=3,
            description="Fuses two registered volumes of a study into one",
            config={"second": "", **OPTIONS},
        )
        self._path_of = path_of
        self._pairs = pairs
        self._command = command

    def is_valid(self) -> bool:
        """The weights come with the command."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Fuse.

        Returns:
            The file, which the server removes when it is sent, and what the record beside it says.

        Raises:
            HTTPException: if there is no partner, or the two cannot be fused; the client gets the reason.
        """
        image = Path(request["image"])
        pair = self._pair_of(image, request)
        reference = "a" if pair["image_a"].samefile(image) else "b"
        output = Path(tempfile.mkdtemp()) / f"{image.name.partition('.')[0]}_fused.nii.gz"
        settings = {name: request.get(name, value) for name, value in OPTIONS.items()}
        command = [self._command, "fuse", str(pair["image_a"]), str(pair["image_b"]), "-o", str(output)]
        command += ["--reference", reference, *(["--gray"] if settings.pop("gray") else [])]
        settings |= {name: pair[name] for name in ("modality_a", "modality_b") if pair.get(name)}
        if request.get("device"):
            settings["device"] = request["device"]
        for name, value in settings.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        logger.info("%s", command)
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise HTTPException(status_code=400, detail=f"{image.name} cannot be fused: {reason}")
        record = output.with_name(output.name.removesuffix(".nii.gz") + ".json")
        told = json.loads(record.read_text(encoding="utf-8"))
        return str(output), told

    def _pair_of(self, image: Path, request: dict[str, Any]) -> dict[str, Any]:
        if second := request.get("second"):
            found = second if Path(second).exists() else self._path_of(second)
            if not found:
                raise HTTPException(status_code=400, detail=f"the server has no image {second}: name one of its images")
            return {**request, "image_a": image, "image_b": Path(found)}
        for row in self._rows():
            pair = {**row, **{key: self._pairs.parent / row[key] for key in ("image_a", "image_b")}}
            if any(pair[key].exists() and pair[key].samefile(image) for key in ("image_a", "image_b")):
                return pair
        told = f"{image.name} is in no pair of {self._pairs}: add the pair, or name the second volume (second)"
        raise HTTPException(status_code=400, detail=told)

    def _rows(self) -> list[dict[str, str]]:
        if not self._pairs.is_file():
            return []
        with self._pairs.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))


class S3IMFusionApp(MONAILabelApp):
    """The app that `monailabel start_server` finds here."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._list = Path(conf.get("pairs") or Path(studies) / "pairs.csv")
        self._command = conf.get("command", "s3im")
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="S3IMFusion",
            description="Fusion of two volumes of a study",
            version="0.1.0",
        )

    def init_infers(self) -> dict[str, InferTask]:
        """The one task."""
        return {"s3im_fusion": FusionTask(lambda name: self.datastore().get_image_uri(name), self._list, self._command)}
