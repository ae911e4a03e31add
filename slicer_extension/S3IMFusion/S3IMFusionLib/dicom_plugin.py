"""The entry "Fused volume" in Slicer's dialog File > Export to DICOM, above that for scalar volumes.

Both write the full contrast. This one marks the series as derived and secondary, keeps colours, and refers to the
source images; Slicer's own always writes original and primary.
"""

import os
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from DICOMLib import DICOMPlugin

from .dicom_series import write_series
from .errors import FusionError
from .i18n import _
from .result import FULL_SCALE, record_of
from .scene import matrix_of, voxels_of
from .study import PATIENT_LEVEL, PREFIX, STUDY_LEVEL, series_tags_of_item

NAME = "S3IMFusionDICOMPlugin"


class S3IMFusionDICOMPluginClass(DICOMPlugin):
    """Exports fused volumes, gray and coloured."""

    def __init__(self) -> None:
        super().__init__()
        self.loadType = "S3IMFusion"

    def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:  # noqa: N803 - names of Slicer
        """The exportable of an item in the subject hierarchy: a fused volume, or nothing."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        node = hierarchy.GetItemDataNode(subjectHierarchyItemID)
        if node is None or not node.IsA("vtkMRMLScalarVolumeNode") or record_of(node) is None:
            return []
        exportable = slicer.qSlicerDICOMExportable()
        exportable.name = _("Fused volume")
        exportable.tooltip = _("Writes a series marked as derived and secondary, gray or in colour.")
        exportable.subjectHierarchyItemID = subjectHierarchyItemID
        exportable.pluginClass = NAME
        exportable.confidence = 0.9  # the plugin of scalar volumes has 0.5
        for name, value in series_tags_of_item(hierarchy, subjectHierarchyItemID).items():
            exportable.setTag(name, value)
        return [exportable]

    def export(self, exportables: Sequence[Any]) -> str:
        """Write each into a separate folder; return the error, or ''."""
        for exportable in exportables:
            try:
                _export(exportable)
            except FusionError as error:
                return str(error)
        return ""


def register() -> None:
    """Add the entry to Slicer's export; without effect if Slicer has no DICOM module."""
    if not hasattr(slicer.modules, "dicomPlugins"):
        slicer.modules.dicomPlugins = {}
    slicer.modules.dicomPlugins[NAME] = S3IMFusionDICOMPluginClass


def _export(exportable: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = exportable.subjectHierarchyItemID
    node = hierarchy.GetItemDataNode(item)
    if node is None:
        raise FusionError(_("the fused volume was removed from the scene: close this dialog and fuse again"))
    names = (
        *slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMPatientTagNames(),
        *slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMStudyTagNames(),
        *series_tags_of_item(hierarchy, item),
    )
    tags = {name: exportable.tag(name) or "" for name in names}
    _complete(tags, hierarchy, item)
    headers = [header for header in _source_headers(node) if header.get("StudyInstanceUID") == tags["StudyInstanceUID"]]
    for name in ("AccessionNumber", "ReferringPhysicianName"):
        tags[name] = str(headers[0].get(name) or "") if headers else ""
    sources = [(str(header.SOPClassUID), str(header.SOPInstanceUID)) for header in headers]
    voxels, window = _pixels_of(node)
    folder = _new_folder(Path(exportable.directory), f"S3IMFusion_{item}")
    write_series(folder, voxels, matrix_of(node), window, tags, _derivation(node), sources)


def _new_folder(parent: Path, name: str) -> Path:
    """A new folder, since that of an earlier export may hold a series of another scene."""
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(parent / name for name in names if not os.path.lexists(parent / name))


def _complete(tags: dict[str, str], hierarchy: Any, item: int) -> None:
    """Fill empty tags from the study and patient above; the dialog looks only two items up."""
    for level in (PATIENT_LEVEL, STUDY_LEVEL):
        above = hierarchy.GetItemAncestorAtLevel(item, level)
        for name, value in tags.items():
            tags[name] = value or (hierarchy.GetItemAttribute(above, PREFIX + name) if above else "")


def _pixels_of(node: Any) -> tuple[np.ndarray, tuple[float, float]]:
    """The voxels in DICOM form, with window and level."""
    voxels, display = voxels_of(node), node.GetDisplayNode()
    window = (display.GetWindow(), display.GetLevel()) if display is not None else (float(FULL_SCALE), FULL_SCALE / 2)
    if voxels.ndim == 4:
        return voxels[..., :3], window
    if np.issubdtype(voxels.dtype, np.floating):  # fractions of 1
        voxels, window = FULL_SCALE * voxels, (FULL_SCALE * window[0], FULL_SCALE * window[1])
    return np.clip(np.rint(voxels), 0, np.iinfo(np.uint16).max).astype(np.uint16), window


def _derivation(node: Any) -> str:
    record = record_of(node)
    modalities = [source.modality.upper() for source in record.sources.values()]
    version = record.software.get("monai-s3im", "")
    scale = "" if node.IsA("vtkMRMLVectorVolumeNode") else f"; {FULL_SCALE} stands for 1"
    return f"{'+'.join(modalities)} fused by S3IMFusion, monai-s3im {version}{scale}"


def _source_headers(node: Any) -> list[Any]:
    """Headers of the sources' DICOM images, as far as Slicer's database has them."""
    import pydicom

    wanted = ["StudyInstanceUID", "SOPClassUID", "SOPInstanceUID", "AccessionNumber", "ReferringPhysicianName"]
    sources = [node.GetNodeReference(f"S3IMFusion.{role}") for role in ("SourceA", "SourceB")]
    uids = " ".join(source.GetAttribute("DICOM.instanceUIDs") or "" for source in sources if source is not None)
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids.split()]
    return [
        pydicom.dcmread(file, specific_tags=wanted, stop_before_pixels=True, force=True)
        for file in files
        if file and Path(file).is_file()
    ]
