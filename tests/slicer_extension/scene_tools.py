"""Helpers for tests with a scene."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import vtk
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from vtk.util.numpy_support import vtk_to_numpy

from monai_s3im.record import FusionRecord, SourceRecord
from monai_s3im.settings import FusionSettings

WAIT_S = 240
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@contextmanager
def new_application() -> Iterator[Any]:
    """Slicer's application logic, with a scene that has Slicer's colour nodes and slice orientations."""
    import slicer

    scene, application, colors = slicer.vtkMRMLScene(), slicer.vtkMRMLApplicationLogic(), slicer.vtkSlicerColorLogic()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    application.SetMRMLScene(scene)
    application.SetModuleLogic("Colors", colors)
    colors.SetMRMLApplicationLogic(application)
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    yield application
    colors.SetMRMLScene(None)
    application.SetMRMLScene(None)
    scene.Clear(True)


def picture_of(application: Any, name: str, size: int, field_mm: float, height_mm: float) -> np.ndarray:
    """The slice view of this name as Slicer shows it, without OpenGL.

    Args:
        application: Slicer's application logic.
        name: layout name of the view.
        size: pixels along each edge.
        field_mm: width and height that are seen, in mm.
        height_mm: of the slice, in RAS mm.

    Returns:
        (rows, columns, RGB).
    """
    import slicer

    scene, logic = application.GetMRMLScene(), slicer.vtkMRMLSliceLogic()
    node = scene.GetNodeByID(f"vtkMRMLSliceNode{name}")
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", scene)
    node.SetDimensions(size, size, 1)
    node.SetFieldOfView(field_mm, field_mm, 1)
    node.JumpSliceByCentering(0, 0, height_mm)
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    logic.SetSliceNode(node)
    logic.SetSliceCompositeNode(next(c for c in composites if c.GetLayoutName() == name))
    logic.UpdatePipeline()
    producer = logic.GetImageDataConnection().GetProducer()
    producer.Update()
    pixels = vtk_to_numpy(producer.GetOutput().GetPointData().GetScalars()).reshape(size, size, -1)
    logic.SetSliceNode(None)
    logic.SetMRMLScene(None)
    logic.SetMRMLApplicationLogic(None)
    return np.array(pixels[::-1, :, :3])


def load(scene: Any, path: Path, name: str, class_name: str = "vtkMRMLScalarVolumeNode") -> Any:
    """Load a file as Slicer does."""
    node = scene.AddNewNodeByClass(class_name, name)
    _storage(scene, node, path).ReadData(node)
    node.CreateDefaultDisplayNodes()
    return node


def save(scene: Any, node: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Save a node as Slicer does; return the voxels (I, J, K) and the affine (RAS mm) that another library reads."""
    _storage(scene, node, path).WriteData(node)
    return read(path)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (I, J, K) and affine, voxel index to RAS mm, by SimpleITK."""
    image, affine = sitk.ReadImage(str(path)), np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    voxels = sitk.GetArrayFromImage(image)
    return voxels.swapaxes(0, 2), LPS_TO_RAS @ affine


def _storage(scene: Any, node: Any, path: Path) -> Any:
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    node.SetAndObserveStorageNodeID(storage.GetID())
    return storage


def voxels_of(node: Any) -> np.ndarray:
    """(K, J, I), or (K, J, I, 3)."""
    image = node.GetImageData()
    array = vtk_to_numpy(image.GetPointData().GetScalars())
    return array.reshape(*reversed(image.GetDimensions()), *array.shape[1:])


def matrix_of(node: Any) -> np.ndarray:
    """IJKToRAS."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def state_of(scene: Any) -> list[tuple[str, int, int]]:
    """Every node with its modification times: equal before and after where nothing has changed."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    images = [node.GetImageData() if node.IsA("vtkMRMLVolumeNode") else None for node in nodes]
    times = [image.GetMTime() if image is not None else 0 for image in images]
    return [(node.GetID(), node.GetMTime(), time) for node, time in zip(nodes, times, strict=True)]


def rotation(axis: int, degrees: float, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """About the axis 0, 1 or 2, then a shift in mm, (4, 4)."""
    matrix, angle = np.eye(4), np.radians(degrees)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    matrix[:3, 3] = shift
    return matrix


def in_ras_order(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Array axes to the right, to the front and up; Slicer reverses the slices of a left-handed file at loading."""
    orientation = io_orientation(affine)
    return apply_orientation(voxels, orientation), affine @ inv_ornt_aff(orientation, voxels.shape[:3])


def record_of_sources(sources: dict[str, Any], **more: Any) -> FusionRecord:
    """A record as the library writes it; only modality, range and window of the sources matter."""
    of_sources = {name: SourceRecord(file=None, sha256=None, **source) for name, source in sources.items()}
    return FusionRecord(sources=of_sources, software={}, settings=FusionSettings(), warnings=[], **more)


def finish(panel: Any) -> None:
    """Lets Qt's events run until the fusion is over and the view has its layout."""
    from PySide6 import QtWidgets

    end = time.monotonic() + WAIT_S
    while panel.ui.progressFrame.visible and time.monotonic() < end:
        QtWidgets.QApplication.processEvents()
        time.sleep(0.01)
    assert not panel.ui.progressFrame.visible
    QtWidgets.QApplication.processEvents()
