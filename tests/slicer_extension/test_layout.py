"""The fusion view, on Slicer's layout, slice, composite and crosshair nodes."""

# ruff: noqa: E402 - slicer-core may be absent

from types import SimpleNamespace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")

from S3IMFusionLib.layout import VIEWS, FusionView
from vtk import vtkCollection
from vtk.util.numpy_support import vtk_to_numpy

FOUR_UP = 3
AXES = {"axial": 2, "coronal": 1, "sagittal": 0}


@pytest.fixture
def views(scene, application_logic, layout_logic):
    """Slicer's layout of four views and its crosshair."""
    layout_logic.GetLayoutNode().SetViewArrangement(FOUR_UP)
    link = slicer.vtkMRMLSliceLinkLogic()
    link.SetMRMLScene(scene)
    crosshair = scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    yield SimpleNamespace(application=application_logic, layout=layout_logic, crosshair=crosshair)
    link.SetMRMLScene(None)


@pytest.fixture
def triple(add_volume):
    """A, B and fused: each of one value."""
    return [add_volume(name, np.full((6, 7, 8), value, np.int16)) for name, value in (("A", 10), ("B", 20), ("F", 30))]


def composite_of(scene, name):
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode") for index in range(count)]
    (node,) = [node for node in nodes if node.GetLayoutName() == name]
    return node


def slice_node_of(scene, name):
    return scene.GetNodeByID(f"vtkMRMLSliceNode{name}")


def test_a_the_fused_volume_and_b_are_side_by_side(scene, views, triple):
    source_a, source_b, fused = triple
    FusionView(scene).show(source_a, source_b, fused)
    shown = [composite_of(scene, name).GetBackgroundVolumeID() for name in VIEWS]
    assert shown == [source_a.GetID(), fused.GetID(), source_b.GetID()]
    assert all(slice_node_of(scene, name).GetLayoutLabel() for name in VIEWS)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_three_views_have_the_plane_of_the_fusion(scene, views, triple, plane):
    FusionView(scene).show(*triple, plane=plane)
    for name in VIEWS:
        to_ras = slice_node_of(scene, name).GetSliceToRAS()
        normal = [abs(to_ras.GetElement(row, 2)) for row in range(3)]
        assert normal == [float(axis == AXES[plane]) for axis in range(3)]


def test_as_acquired_the_views_turn_into_the_planes_of_the_fused_volume(scene, views, add_volume):
    tilted = np.array([[1, 0, 0, 0], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1.0]])
    volumes = [add_volume(name, np.ones((6, 7, 8), np.int16), tilted) for name in "ABF"]
    FusionView(scene).show(*volumes, plane="in-plane")
    to_ras = slice_node_of(scene, VIEWS[0]).GetSliceToRAS()
    np.testing.assert_allclose(np.abs([to_ras.GetElement(row, 2) for row in range(3)]), [0, 0.6, 0.8], atol=1e-9)


def test_a_view_that_is_moved_takes_the_two_others_along_and_no_other(scene, views, triple):
    FusionView(scene).show(*triple)
    node = slice_node_of(scene, VIEWS[0])
    node.SetInteractionFlags(slicer.vtkMRMLSliceNode.SliceToRASFlag)
    node.InteractingOn()
    node.JumpSliceByOffsetting(0, 0, 2.0)
    node.InteractingOff()
    assert [slice_node_of(scene, name).GetSliceOffset() for name in VIEWS] == [2.0, 2.0, 2.0]
    assert slice_node_of(scene, "Red").GetSliceOffset() == 0.0


@pytest.mark.parametrize(("fade", "over", "opacity"), [(-100, "A", 1.0), (-25, "A", 0.25), (0, "B", 0), (60, "B", 0.6)])
def test_the_fade_lays_a_or_b_over_the_fused_volume(scene, views, triple, fade, over, opacity):
    view = FusionView(scene)
    view.show(*triple)
    view.set_fade(fade)
    composite = composite_of(scene, VIEWS[1])
    assert scene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == over
    assert composite.GetForegroundOpacity() == pytest.approx(opacity)


@pytest.mark.parametrize(("fade", "gray"), [(-100, 10), (-50, 20), (0, 30), (50, 25), (100, 20)])
def test_the_middle_view_fades_from_a_through_the_fused_volume_to_b(scene, views, triple, fade, gray):
    for volume in triple:  # 0 to 255 is shown as 0 to 255
        volume.GetDisplayNode().SetAutoWindowLevel(False)
        volume.GetDisplayNode().SetWindowLevel(255.0, 127.5)
    view = FusionView(scene)
    view.show(*triple, fade=fade)
    slice_node_of(scene, VIEWS[1]).SetDimensions(4, 4, 1)
    slice_node_of(scene, VIEWS[1]).SetFieldOfView(4, 4, 1)
    slice_node_of(scene, VIEWS[1]).SetSliceOffset(3.0)
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    logic.SetSliceNode(slice_node_of(scene, VIEWS[1]))
    logic.SetSliceCompositeNode(composite_of(scene, VIEWS[1]))
    logic.UpdatePipeline()
    source = logic.GetImageDataConnection().GetProducer()
    source.Update()
    pixels = vtk_to_numpy(source.GetOutputDataObject(0).GetPointData().GetScalars())
    centre = pixels.reshape(4, 4, -1)[2, 2, :3]
    logic.SetMRMLScene(None)
    np.testing.assert_allclose(centre, gray, atol=1.0)


def test_leaving_restores_the_previous_layout_and_crosshair(scene, views, triple):
    views.crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowHashmarks)
    view = FusionView(scene)
    view.show(*triple)
    assert view.is_shown
    assert views.crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowBasic
    view.show(*triple, plane="coronal")  # a second fusion
    view.leave()
    assert not view.is_shown
    assert views.layout.GetLayoutNode().GetViewArrangement() == FOUR_UP
    assert views.crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowHashmarks


def test_the_crosshair_is_given_back_after_the_view_was_left_from_the_menu(scene, views, triple):
    views.crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowHashmarks)
    view = FusionView(scene)
    view.show(*triple)
    views.layout.GetLayoutNode().SetViewArrangement(FOUR_UP)
    view.show(*triple)
    view.leave()
    assert views.crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowHashmarks


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_nothing_is_shown_where_a_volume_is_absent(scene, views, triple, absent):
    triple[absent] = None
    view = FusionView(scene)
    view.show(*triple)
    assert not view.is_shown


def test_the_users_own_views_are_not_touched(scene, views, triple, add_volume):
    own = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    own.SetLayoutName("Red")
    own.SetBackgroundVolumeID(add_volume("other", np.ones((3, 3, 3), np.int16)).GetID())
    before = own.GetMTime(), slice_node_of(scene, "Red").GetSliceToRAS().GetMTime()
    view = FusionView(scene)
    view.show(*triple)
    view.set_fade(40)
    view.leave()
    assert (own.GetMTime(), slice_node_of(scene, "Red").GetSliceToRAS().GetMTime()) == before


def test_a_layout_that_the_user_chose_from_the_menu_is_not_changed_by_leaving(scene, views, triple):
    view = FusionView(scene)
    view.show(*triple)
    views.layout.GetLayoutNode().SetViewArrangement(6)  # red only
    view.leave()
    assert views.layout.GetLayoutNode().GetViewArrangement() == 6


def saved_in_the_fusion_view(scene, triple, tmp_path):
    FusionView(scene).show(*triple)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    return scene.GetURL()


@pytest.fixture
def next_session():
    """The scene of a Slicer that was just started, in its layout of four views."""
    scene, layout = slicer.vtkMRMLScene(), slicer.vtkMRMLLayoutLogic()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    layout.SetMRMLScene(scene)
    layout.GetLayoutNode().SetViewArrangement(FOUR_UP)
    yield SimpleNamespace(scene=scene, layout=layout)
    layout.SetMRMLScene(None)


@pytest.mark.parametrize("step", ["make_known", "show"])
def test_a_scene_saved_in_the_fusion_view_is_shown_in_it_in_the_next_session(
    scene, views, triple, next_session, step, tmp_path
):
    next_session.scene.SetURL(saved_in_the_fusion_view(scene, triple, tmp_path))
    next_session.scene.Import()
    view = FusionView(next_session.scene)
    if step == "show":
        view.show(*(next_session.scene.GetFirstNodeByName(name) for name in "ABF"))
    else:
        view.make_known()
    assert all(name in next_session.layout.GetLayoutNode().GetCurrentLayoutDescription() for name in VIEWS)
    shown = next_session.layout.GetViewNodes()
    assert [shown.GetItemAsObject(index).GetLayoutName() for index in range(shown.GetNumberOfItems())] == list(VIEWS)


def test_without_a_layout_node_nothing_is_shown_and_nothing_breaks(scene, triple):
    view = FusionView(scene)
    view.show(*triple)
    view.set_fade(50)
    view.leave()
    assert not view.is_shown


def test_the_views_are_fitted_to_their_volumes(scene, views, triple):
    logics = vtkCollection()
    view = FusionView(scene, views.application)
    view.show(*triple)  # makes the views
    for name in VIEWS:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLScene(scene)
        logic.SetSliceNode(slice_node_of(scene, name))
        logic.SetSliceCompositeNode(composite_of(scene, name))
        logics.AddItem(logic)
        slice_node_of(scene, name).SetDimensions(100, 100, 1)
    views.application.SetSliceLogics(logics)
    view.show(*triple)
    for name in VIEWS:
        width, height, _ = slice_node_of(scene, name).GetFieldOfView()
        assert (width, height) == pytest.approx((8.0, 8.0), rel=0.15)
    views.application.SetSliceLogics(None)
    for index in range(logics.GetNumberOfItems()):
        logics.GetItemAsObject(index).SetMRMLScene(None)
