"""The fusion view uses Slicer's layout manager, is registered at startup, and is restored with a scene."""

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import stand_ins
from S3IMFusionLib.layout import LAYOUT_ID, VIEWS, FusionView

FOUR_UP = 3


@pytest.fixture
def triple(add_volume):
    """A, B and fused."""
    return [add_volume(name, np.full((6, 7, 8), value, np.int16)) for name, value in (("A", 10), ("B", 20), ("F", 30))]


@pytest.fixture
def layout(scene, layout_logic):
    """Slicer's layout node, in the layout of four views."""
    layout_logic.GetLayoutNode().SetViewArrangement(FOUR_UP)
    return layout_logic.GetLayoutNode()


@pytest.fixture(params=["with a main window", "without"])
def view(request, scene, layout):
    """The fusion view, of a Slicer with a layout manager and of one without."""
    manager = stand_ins.qSlicerLayoutManager(scene) if request.param == "with a main window" else None
    return FusionView(scene, None, manager)


def maximised(layout):
    return [layout.GetMaximizedViewNode(index).GetName() for index in range(layout.GetNumberOfMaximizedViewNodes())]


def test_a_maximised_view_does_not_cover_the_fusion_view_and_is_maximised_again_after_it(scene, layout, view, triple):
    layout.AddMaximizedViewNode(scene.GetNodeByID("vtkMRMLSliceNodeRed"))
    view.show(*triple)
    assert (layout.GetViewArrangement(), maximised(layout)) == (LAYOUT_ID, [])
    view.leave()
    assert (layout.GetViewArrangement(), maximised(layout)) == (FOUR_UP, ["Red"])


def test_the_panel_shows_the_fusion_view_by_slicers_layout_manager(panel, scene, layout, triple):
    shown = []
    panel.application.layoutManager().connect("layoutChanged(int)", shown.append)
    panel.parameters.source_a, panel.parameters.source_b, panel.parameters.fused = triple
    panel.ui.viewButton.click()
    panel.ui.viewButton.click()
    assert shown == [LAYOUT_ID, FOUR_UP]


def test_the_layout_is_known_when_slicer_has_started_before_the_module_is_opened(
    scene, application_logic, layout, tmp_path
):
    with stand_ins.in_place(scene, application_logic) as application:
        from S3IMFusion import S3IMFusion

        S3IMFusion(stand_ins.qSlicerScriptedLoadableModule())
        assert not layout.IsLayoutDescription(LAYOUT_ID)
        by_name = {
            slot.__name__: slot for signature, slot in application.connected if signature == "startupCompleted()"
        }
        by_name["registerFusionLayout"]()
    assert all(name in layout.GetLayoutDescription(LAYOUT_ID) for name in VIEWS)


def test_a_saved_fusion_view_is_taken_over_so_that_it_fades(scene, layout, triple):
    FusionView(scene).show(*triple)
    view = FusionView(scene)  # of the module that is opened after the scene
    view.make_known()
    view.set_fade(-100)
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    composites = [scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode") for index in range(count)]
    (middle,) = [node for node in composites if node.GetLayoutName() == VIEWS[1]]
    assert (middle.GetForegroundVolumeID(), middle.GetForegroundOpacity()) == (triple[0].GetID(), 1.0)


def test_a_saved_fusion_view_whose_volumes_are_gone_does_not_break(scene, layout, triple):
    FusionView(scene).show(*triple)
    scene.RemoveNode(triple[0])
    view = FusionView(scene)
    view.make_known()
    view.set_fade(50)
    view.leave()
    assert not view.is_shown
