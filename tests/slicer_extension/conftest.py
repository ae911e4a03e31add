"""A real MRML scene, volumes in it, and one process that computes for all tests."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "slicer_extension" / "S3IMFusion"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs slicer-core, or replaces something that does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slicer)


@pytest.fixture
def application_logic() -> Iterator[Any]:
    """Slicer's application logic, with a scene that has Slicer's colour nodes and slice orientations."""
    pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
    from scene_tools import new_application

    with new_application() as application:
        yield application


@pytest.fixture
def scene(application_logic: Any) -> Any:
    """A scene without volumes."""
    return application_logic.GetMRMLScene()


@pytest.fixture(scope="session")
def worker() -> Iterator[Any]:
    """The process that computes; it stays warm from test to test."""
    from S3IMFusionLib.process import Worker

    worker = Worker()
    worker.start()
    yield worker
    worker.close()


@pytest.fixture
def logic(scene: Any, worker: Any) -> Any:
    """The logic of the module, on the scene."""
    from S3IMFusionLib.logic import FusionLogic

    return FusionLogic(scene, worker)


@pytest.fixture
def add_volume(scene: Any) -> Callable[..., Any]:
    """Adds a volume node: name, voxels (K, J, I) or (K, J, I, 3), IJKToRAS (4, 4)."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    def add(name: str, voxels: np.ndarray, ijk_to_ras: np.ndarray | None = None, class_name: str = "") -> Any:
        kind = class_name or ("vtkMRMLVectorVolumeNode" if voxels.ndim == 4 else "vtkMRMLScalarVolumeNode")
        node, image, matrix = scene.AddNewNodeByClass(kind, name), vtk.vtkImageData(), vtk.vtkMatrix4x4()
        image.SetDimensions(*voxels.shape[2::-1])
        image.GetPointData().SetScalars(numpy_to_vtk(voxels.reshape(-1, *voxels.shape[3:]), deep=True))
        matrix.DeepCopy(np.eye(4).ravel() if ijk_to_ras is None else np.asarray(ijk_to_ras, float).ravel())
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(matrix)
        node.CreateDefaultDisplayNodes()
        return node

    return add


@pytest.fixture
def add_transform(scene: Any) -> Callable[..., Any]:
    """Adds a linear transform node, to its parent RAS mm, and puts nodes under it."""
    import vtk

    def add(matrix: np.ndarray, *nodes: Any) -> Any:
        transform, to_parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Transform"), vtk.vtkMatrix4x4()
        to_parent.DeepCopy(np.asarray(matrix, float).ravel())
        transform.SetMatrixTransformToParent(to_parent)
        for node in nodes:
            node.SetAndObserveTransformNodeID(transform.GetID())
        return transform

    return add


@pytest.fixture
def layout_logic(scene: Any) -> Iterator[Any]:
    """Slicer's layouts: the layout node and the slice views of the layout that is chosen."""
    import slicer

    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()  # held: the logic still uses it after a test has removed it from the scene
    yield logic
    logic.SetMRMLScene(None)
    del node


@pytest.fixture
def shown_errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The dialogs that the user would have seen."""
    import slicer.util

    shown: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    return shown


@pytest.fixture
def panel(scene: Any, application_logic: Any, layout_logic: Any, worker: Any, shown_errors: list[str]) -> Iterator[Any]:
    """The panel of the module in stand-ins of Slicer's widgets, on the scene, with the process of all tests."""
    pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")
    import stand_ins

    stand_ins.qt_classes.QSettings().clear()  # what an earlier test chose
    with stand_ins.in_place(scene, application_logic) as application:
        from S3IMFusion import S3IMFusionWidget

        module = stand_ins.qSlicerScriptedLoadableModuleWidget()
        panel = module.make(S3IMFusionWidget)
        panel.application, own_worker, panel.logic.worker = application, panel.logic.worker, worker
        module.enter()
        panel.parent.resize(420, 640)
        panel.parent.show()
        yield panel
        panel.logic.worker = own_worker  # which was never started
        panel.cleanup()
        stand_ins.delete(panel.parent)
