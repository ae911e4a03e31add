"""Put a fused volume into the scene as a node."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .appearance import ct_range_of
from .paths import library_module
from .scene import Source, matrix_of
from .study import home_of, put_into_study, series_tags

FusionRecord = library_module("record").FusionRecord

_PREFIX = "S3IMFusion."
SCALE_ATTRIBUTE = "S3IMFusion.FullScale"
FULL_SCALE = 10_000
"""The voxel value of a volume node for the fused value 1; Slicer's DICOM export keeps only whole numbers."""
CT_RANGE = "CTRange"


@dataclass(frozen=True)
class Placement:
    """The placement of a fused volume: grid, parent transform and folder of its reference.

    Attributes:
        name: of the fused volume.
        ijk_to_ras: (4, 4), below the parent transform.
        transform_id: ID of the parent transform; None without one.
        folder: subject-hierarchy item of the study or folder; 0 if there is none.
        attributes: node attributes, without the prefix.
        references: node IDs by role, without the prefix.
        series: DICOM tags of the result, for Slicer's export.
    """

    name: str
    ijk_to_ras: np.ndarray
    transform_id: str | None
    folder: int
    attributes: Mapping[str, str]
    references: Mapping[str, str]
    series: Mapping[str, str]

    def with_record(self, record: Any) -> "Placement":
        """The same placement, with the library's record of the result as an additional attribute."""
        attributes = {**self.attributes, CT_RANGE: ct_range_of(record), "Record": json.dumps(record.as_json())}
        return replace(self, attributes=attributes)


def placement_on(
    source: Source, other: Source, name: str, attributes: Mapping[str, str], references: Mapping[str, str]
) -> Placement:
    """The placement of a volume on the grid of a source; the other source may give the study."""
    home, transform_id = home_of(source, other), source.shown.GetTransformNodeID()
    tags = series_tags(source, name)
    return Placement(name, matrix_of(source.node), transform_id, home, attributes, references, tags)


def in_whole_numbers(voxels: np.ndarray) -> np.ndarray:
    """Gray fused values x in [0, 1] as round(10000 x), int16; colours, (K, J, I, 3) uint8, unchanged."""
    return voxels if voxels.ndim == 4 else np.rint(FULL_SCALE * voxels).astype(np.int16)


def put_fused(scene: Any, voxels: np.ndarray, placement: Placement, output: Any = None) -> Any:
    """Put a fused volume into the scene.

    Args:
        scene: the scene.
        voxels: (K, J, I) int16 in [0, :data:`FULL_SCALE`] or float32 in [0, 1], or (K, J, I, 3) uint8.
        placement: its placement.
        output: the node to fill; a new one is created for None, or if a node of this class cannot show the voxels.

    Returns:
        The node.
    """
    image, class_name = image_of(voxels), volume_class_of(voxels)  # allocate memory before changing the scene
    if output is None or output.GetClassName() != class_name:
        name = placement.name if output is None else output.GetName()
        output = scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))
    former = output.GetImageData().GetScalarType() if is_result(output) and output.GetImageData() else None
    modified = output.StartModify()
    fill_node(output, image, placement.ijk_to_ras)
    put_under(output, placement.transform_id)
    output.RemoveNodeReferenceIDs(f"{_PREFIX}Registration")  # from an earlier result
    describe_node(output, placement.attributes, placement.references)
    note_scale(output)
    output.EndModify(modified)
    if output.GetDisplayNode() is None or image.GetScalarType() != former:
        output.CreateDefaultDisplayNodes()
        show_full_range(output)
    put_into_study(output, placement.folder, placement.series)
    return output


def put_under(node: Any, transform_id: str | None) -> None:
    """Put a node under a transform, or under none if the transform was removed in the meantime."""
    transform = node.GetScene().GetNodeByID(transform_id) if transform_id else None
    node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)


def volume_class_of(voxels: np.ndarray) -> str:
    """The node class for fused voxels, (K, J, I) or (K, J, I, 3)."""
    return "vtkMRMLVectorVolumeNode" if voxels.ndim == 4 else "vtkMRMLScalarVolumeNode"


def image_of(voxels: np.ndarray) -> vtk.vtkImageData:
    """Copy voxels, (K, J, I) or (K, J, I, 3), to an image."""
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape[2::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.reshape(-1, *voxels.shape[3:]), deep=True))
    return image


def fill_node(node: Any, image: vtk.vtkImageData, ijk_to_ras: np.ndarray) -> None:
    """Give a volume node its voxels and its IJKToRAS."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(ijk_to_ras.ravel().tolist())
    node.SetIJKToRASMatrix(matrix)
    node.SetAndObserveImageData(image)
    if node.IsA("vtkMRMLVectorVolumeNode"):
        node.SetVoxelVectorType(node.VoxelVectorTypeColorRGB)


def describe_node(node: Any, attributes: Mapping[str, str], references: Mapping[str, str]) -> None:
    """Set the provenance of a node: attributes and node references with the prefix ``S3IMFusion.``."""
    for name, value in attributes.items():
        node.SetAttribute(_PREFIX + name, value)
    for role, node_id in references.items():
        node.SetNodeReferenceID(_PREFIX + role, node_id)


def ct_range_shown(node: Any) -> str:
    """The range of the CT in a fused volume or sequence, in words; empty without a CT."""
    return node.GetAttribute(_PREFIX + CT_RANGE) or ""


def is_result(node: Any) -> bool:
    """Whether a node is the result of a fusion."""
    return any(name.startswith(_PREFIX) for name in node.GetAttributeNames())


def note_scale(node: Any) -> None:
    """Record on a fused volume the whole number that stands for 1; nothing for fractions or colours."""
    if node.GetImageData().GetScalarType() == vtk.VTK_SHORT:
        node.SetAttribute(SCALE_ATTRIBUTE, str(FULL_SCALE))
    else:
        node.RemoveAttribute(SCALE_ATTRIBUTE)


def record_of(node: Any) -> Any:
    """The library's record of a fused volume; None if the node is not one, or its record is damaged."""
    try:
        return FusionRecord.from_json(json.loads(node.GetAttribute(f"{_PREFIX}Record") or "null"))
    except ValueError:
        return None


def is_result_of(node: Any, source_a: Any, source_b: Any) -> bool:
    """Whether a node is the result of a fusion of these nodes."""
    references = [node.GetNodeReferenceID(f"{_PREFIX}{role}") for role in ("SourceA", "SourceB")]
    return is_result(node) and references == [source_a.GetID(), source_b.GetID()]


def show_full_range(node: Any) -> None:
    """Set window and level to the full range of a fused volume."""
    display = node.GetDisplayNode()
    is_whole = node.GetImageData().GetScalarType() == vtk.VTK_SHORT
    full = 255.0 if node.IsA("vtkMRMLVectorVolumeNode") else float(FULL_SCALE) if is_whole else 1.0
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(full, full / 2)


def read_nifti_voxels(path: Path) -> np.ndarray:
    """Read the voxels of a fused volume from an uncompressed NIfTI file: (K, J, I) float32, or (K, J, I, 3) uint8."""
    header = np.fromfile(path, dtype=np.uint8, count=348)
    shape = header[42:48].view("<i2")[::-1]
    kind, offset = int(header[70:72].view("<i2")[0]), int(header[108:112].view("<f4")[0])
    dtype, channels = {16: ("<f4", ()), 128: ("u1", (3,))}[kind]
    return np.fromfile(path, dtype=dtype, offset=offset).reshape(*shape, *channels)
