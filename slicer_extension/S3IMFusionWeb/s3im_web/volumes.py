"""Volumes between files and the scene."""

import json
from pathlib import Path

from monai_s3im.record import FusionRecord
from slicer import vtkMRMLNRRDStorageNode, vtkMRMLVolumeArchetypeStorageNode, vtkMRMLVolumeNode
from trame_slicer.core import SlicerApp

from .files import FileError, check_volume
from .page import NO_BAR

_SINGLE_FILE = 8  # of vtkSlicerVolumesLogic.LoadingOptions: files beside it are no slices of it


def load_volume(app: SlicerApp, path: Path, name: str, max_bytes: int) -> vtkMRMLVolumeNode:
    """Read a volume into the scene.

    Raises:
        FileError: if it is not taken or cannot be read; see :func:`s3im_web.files.check_volume`.
    """
    check_volume(path, max_bytes)
    volume = app.volumes_logic.AddArchetypeVolume(str(path), name, _SINGLE_FILE)
    if volume is None or volume.GetImageData() is None or not all(volume.GetImageData().GetDimensions()):
        if volume is not None:
            app.scene.RemoveNode(volume)
        raise FileError("This file cannot be read as a volume: is it whole?")
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
    return fused.GetAttribute("S3IMFusion.Record")


def record_of(fused: vtkMRMLVolumeNode) -> FusionRecord:
    """How a fused volume was made: modalities, ranges, settings, weights, versions, warnings."""
    return FusionRecord.from_json(json.loads(record_text_of(fused)))
