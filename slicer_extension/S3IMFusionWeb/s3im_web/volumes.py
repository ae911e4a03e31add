"""Volumes between files and the scene."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from monai_s3im.record import FusionRecord
from slicer import vtkMRMLNRRDStorageNode, vtkMRMLVolumeArchetypeStorageNode, vtkMRMLVolumeNode
from trame_slicer.core import SlicerApp

from .files import FileError, check_volume
from .page import NO_BAR

RECORD = "S3IMFusion.Record"
_SINGLE_FILE = 8  # of vtkSlicerVolumesLogic.LoadingOptions: files beside it are no slices of it


@dataclass(frozen=True)
class Upload:
    """A source's file, for the record of what is made of it.

    Attributes:
        name: without folders.
        sha256: of its bytes.
        remarks: what the reader remarks on, in sentences.
    """

    name: str
    sha256: str
    remarks: list[str]


def checked_upload(path: Path, name: str, max_bytes: int) -> Upload:
    """Check a file.

    Raises:
        FileError: if it is not taken; see :func:`s3im_web.files.check_volume`.
    """
    said = check_volume(path, max_bytes)
    with path.open("rb") as stream:
        return Upload(name, hashlib.file_digest(stream, "sha256").hexdigest(), said)


def load_volume(app: SlicerApp, path: Path, name: str) -> vtkMRMLVolumeNode:
    """Read a checked volume into the scene.

    Raises:
        FileError: if Slicer's reader cannot read it.
    """
    volume = app.volumes_logic.AddArchetypeVolume(str(path), name, _SINGLE_FILE)
    if volume is None or volume.GetImageData() is None or not all(volume.GetImageData().GetDimensions()):
        if volume is not None:
            app.scene.RemoveNode(volume)
        raise FileError(f"{path.name} cannot be read as a volume: copy or export it again")
    return volume


def save_volume(volume: vtkMRMLVolumeNode, path: Path) -> None:
    """Write a volume as NRRD or, by the name's suffix, NIfTI.

    Raises:
        OSError: if it cannot be written.
    """
    storage = vtkMRMLNRRDStorageNode() if path.suffix == ".nrrd" else vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(True)
    if not storage.WriteData(volume):
        raise OSError(f"{path.name} cannot be written: is the disk full?")


def show_range(volume: vtkMRMLVolumeNode | None, lower: float, upper: float) -> None:
    """Show a scalar volume from black at ``lower`` to white at ``upper``, in its own unit."""
    display = volume.GetDisplayNode() if volume is not None else None
    if display is not None and volume.GetImageData().GetNumberOfScalarComponents() == 1:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(lower, upper)


def color_bar_of(record: FusionRecord) -> dict[str, str]:
    """The colour bar of a fused volume as the page shows it: colours of a gradient, and the ends with their unit."""
    bar = record.color_bar
    if bar is None:
        return dict(NO_BAR)
    colors = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in bar.colors)
    lower, upper = (f"{end:.4g}" for end in bar.range)
    return {"bar_colors": colors, "bar_lower": lower, "bar_upper": f"{upper} {bar.unit or ''}".rstrip()}


def record_text_of(fused: vtkMRMLVolumeNode) -> str:
    """How a fused volume was made, as JSON text."""
    return fused.GetAttribute(RECORD)


def record_of(fused: vtkMRMLVolumeNode) -> FusionRecord:
    """How a fused volume was made: modalities, ranges, settings, weights, versions, warnings."""
    return FusionRecord.from_json(json.loads(record_text_of(fused)))


def note_uploads(fused: vtkMRMLVolumeNode, uploads: Mapping[str, Upload]) -> None:
    """Put the files of the sources, by ``"a"`` and ``"b"``, into the record of a fused volume."""
    record = record_of(fused)
    sources = {
        key: replace(source, file=upload.name, sha256=upload.sha256)
        for key, source in record.sources.items()
        for upload in [uploads[key.removeprefix("image_")]]
    }
    remarks = [sentence for upload in uploads.values() for sentence in upload.remarks]
    record = replace(record, sources=sources, warnings=[*remarks, *record.warnings])
    fused.SetAttribute(RECORD, json.dumps(record.as_json()))
