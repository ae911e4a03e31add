"""A visible registration: a transform named after the pair, B shown through it, the record, and the warnings."""

import json

import numpy as np
import pytest
from S3IMFusionLib.layout import LAYOUT_ID, VIEWS, FusionView
from S3IMFusionLib.registration import movement_of, put_transform, registered_copy, remove_copy
from S3IMFusionLib.scene import source_of
from S3IMFusionLib.settings import FusionSettings
from sample_images import blobs, write_volume
from scene_tools import matrix_of, read, record_of_sources, rotation, state_of, voxels_of
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.phantom import head_phantom
from monai_s3im.record import FusionRecord, RegistrationRecord

MOVED = rotation(2, 8, (6.0, -5.0, 4.0))  # where B lies and should not
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_world(node):
    """IJK to RAS mm of the world."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    above = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    return above @ matrix_of(node)


def record_with(movement):
    """A record as the library writes it: from A's points to B's, LPS mm, for a movement from B's to A's in RAS."""
    matrix = (LPS @ np.linalg.inv(movement) @ LPS).tolist()
    return record_of_sources({}, registration=RegistrationRecord(kind="rigid", matrix_lps=matrix))


@pytest.fixture
def pair(add_volume):
    """A small MR and CT."""
    values = [(1000 * blobs((20, 18, 6), seed)).astype(np.float32).T for seed in (1, 2)]
    return add_volume("MR", values[0], np.diag([2.0, 2.0, 3.0, 1.0])), add_volume("CT", values[1], MOVED)


@pytest.fixture
def registered(scene, pair, add_volume):
    """MR, CT and a fused volume of them, with the transform that brings the CT onto the MR."""
    fused = add_volume("fused", np.ones((6, 18, 20), np.int16), matrix_of(pair[0]))
    sources = tuple(map(source_of, pair))
    transform = put_transform(scene, movement_of(record_with(np.linalg.inv(MOVED))), sources, 0)
    fused.SetNodeReferenceID("S3IMFusion.Registration", transform.GetID())
    return *pair, fused, transform


def farthest(one, other):
    """The largest distance in mm, inside a head, between where two matrices lead."""
    points = np.random.default_rng(0).uniform(-60, 60, (200, 3))
    return np.linalg.norm(points @ (one - other)[:3, :3].T + (one - other)[:3, 3], axis=1).max()


def test_the_transform_brings_b_onto_a_and_the_record_names_no_file(logic, scene, add_volume):
    head = head_phantom((56, 68, 48), (3.6, 3.6, 4.0)).volumes
    mr = add_volume("T1", head["t1"][0].numpy().T, head["t1"].affine.numpy())
    moved = add_volume("T2", head["t2"][0].numpy().T, MOVED @ head["t2"].affine.numpy())
    before = state_of(scene)
    fused = logic.process(mr, moved, settings=FusionSettings(register="rigid", modality_a="mr", modality_b="mr"))
    assert state_of(scene)[: len(before)] == before
    transform = scene.GetFirstNodeByName("T2 to T1 (S3IMFusion)")
    assert fused.GetNodeReference("S3IMFusion.Registration") is transform
    assert transform.GetNodeReference("S3IMFusion.SourceB") is moved
    moved.SetAndObserveTransformNodeID(transform.GetID())  # as a user would, to look at it
    assert farthest(to_world(moved) @ np.linalg.inv(matrix_of(moved)), np.linalg.inv(MOVED)) < 0.5
    record = json.loads(fused.GetAttribute("S3IMFusion.Record"))
    assert set(record["registration"]) == {"kind", "matrix_lps", "mutual_information"}
    np.testing.assert_allclose(
        movement_of(FusionRecord.from_json(record)), to_world(moved) @ np.linalg.inv(matrix_of(moved)), atol=1e-9
    )


def test_on_the_grid_of_a_registered_b_the_result_has_the_position_of_the_command(logic, add_volume, scene, tmp_path):
    a, b = ((1000 * blobs(shape, seed)).astype(np.float32) for shape, seed in (((24, 24, 16), 1), ((20, 22, 14), 1)))
    grid_a, grid_b = np.diag([2.0, 2.0, 3.0, 1.0]), rotation(2, 3, (4, 3, 2)) @ np.diag([2.2, 2.0, 3.2, 1.0])
    node_a, node_b = add_volume("MR", a.T, grid_a), add_volume("MR b", b.T, grid_b)
    settings = FusionSettings(register="rigid", reference="b", modality_a="mr", modality_b="mr")
    logic.as_fractions = True
    fused = logic.process(node_a, node_b, settings=settings)

    files = [
        write_volume(tmp_path / f"{name}.nrrd", array=array, affine=grid)
        for name, array, grid in (("a", a, grid_a), ("b", b, grid_b))
    ]
    options = ["--modality-a", "mr", "--modality-b", "mr", "--register", "rigid", "--reference", "b"]
    output = tmp_path / "expected.nrrd"
    result = CliRunner().invoke(app, ["fuse", *map(str, files), "--output", str(output), *options])
    assert result.exit_code == 0, result.output
    voxels, affine = read(output)
    np.testing.assert_allclose(voxels_of(fused).swapaxes(0, 2), voxels, atol=1e-4)  # the grid in the file has 8 digits
    assert np.abs(affine - grid_b).max() > 0.01
    np.testing.assert_allclose(to_world(fused), affine, atol=1e-4)


def test_a_second_run_into_the_same_output_updates_its_transform(scene, registered):
    mr, ct, _fused, transform = registered
    sources = source_of(mr), source_of(ct)
    again = put_transform(scene, movement_of(record_with(rotation(0, 5))), sources, 0, transform)
    assert again is transform
    other = put_transform(scene, movement_of(record_with(rotation(0, 5))), sources[::-1], 0, transform)
    assert other is not transform
    assert other.GetName() == "MR to CT (S3IMFusion)"


def test_a_pair_that_was_not_registered_has_no_transform(logic, scene, pair):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "of an earlier run")
    output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Result")
    output.SetNodeReferenceID("S3IMFusion.Registration", transform.GetID())
    fused = logic.process(*pair, output=output)
    assert fused.GetNodeReference("S3IMFusion.Registration") is None
    assert registered_copy(pair[1], fused) is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLLinearTransformNode") == 1


def test_the_view_shows_b_through_the_transform_and_leaves_b_unchanged(scene, layout_logic, registered):
    mr, ct, fused, transform = registered
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevel(300, 40)
    view, before = FusionView(scene), state_of(scene)
    view.show(mr, ct, fused, fade=100)
    composites = [view._composite_node(name) for name in VIEWS]
    shown = scene.GetNodeByID(composites[1].GetForegroundVolumeID())
    assert shown is scene.GetNodeByID(composites[2].GetBackgroundVolumeID())
    assert shown is not ct
    assert shown.GetImageData() is ct.GetImageData()
    np.testing.assert_allclose(to_world(shown), np.linalg.inv(MOVED) @ matrix_of(ct), atol=1e-9)
    assert (shown.GetDisplayNode().GetWindow(), shown.GetDisplayNode().GetLevel()) == (300, 40)
    assert shown.GetDisplayNode() is not ct.GetDisplayNode()
    assert shown.GetHideFromEditors()
    assert not shown.GetSaveWithScene()

    view.show(mr, ct, fused)  # again, as after a second run
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 4
    view.leave()
    left = {node_id: times for node_id, *times in state_of(scene)}
    for node in (ct, mr, fused, transform, ct.GetDisplayNode()):
        assert left[node.GetID()] == next(times for node_id, *times in before if node_id == node.GetID())
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 3
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeDisplayNode") == 3


def test_b_under_a_transform_of_its_own_is_shown_from_there(registered, add_transform):
    _mr, ct, fused, _transform = registered
    own = rotation(1, 12, (3, 2, 1))
    add_transform(own, ct)
    copy = registered_copy(ct, fused)
    np.testing.assert_allclose(to_world(copy), np.linalg.inv(MOVED) @ own @ matrix_of(ct), atol=1e-9)
    remove_copy(copy)
    remove_copy(copy)  # the user was quicker


def test_a_colour_table_is_shown_too(registered):
    _mr, ct, fused, _transform = registered
    ct.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
    assert registered_copy(ct, fused).GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeRainbow"


def far_apart(add_volume):
    """Two volumes that share a corner."""
    values = [(1000 * blobs((20, 18, 6), seed)).astype(np.float32).T for seed in (1, 2)]
    return add_volume("MR", values[0]), add_volume("MR later", values[1], rotation(0, 0, (16, 0, 0)))


def test_warnings_name_the_volumes(logic, add_volume):
    run = logic.start(*far_apart(add_volume))
    run.wait()
    [warning] = run.warnings
    assert warning.startswith("'MR' and 'MR later' ")
    assert warning.endswith("look at the result before you use it")


def test_a_warning_is_shown_in_the_status_line_and_in_one_box(panel, add_volume, monkeypatch):
    import slicer.util
    from scene_tools import finish

    shown = []
    monkeypatch.setattr(slicer.util, "warningDisplay", lambda text, **_: shown.append(text))
    panel.parameters.source_a, panel.parameters.source_b = far_apart(add_volume)
    panel.ui.applyButton.click()
    finish(panel)
    [text] = shown
    assert text.startswith("'MR' and 'MR later' ")
    assert panel.ui.statusLabel.text == f"Fused: MR + MR later fused. Warning: {text}"


def test_the_checkerboard_alternates_a_and_b_where_b_was_registered(scene, layout_logic, add_volume):
    """Each field against the displayed grey of a source at the same point; the grids are equal, B is 8 mm off."""
    shape, grid, off = (40, 40, 40), np.diag([2.5, 2.5, 2.5, 1.0]), np.eye(4)
    off[0, 3] = 5.0
    values = [np.random.default_rng(seed).integers(0, 256, shape).astype(np.int16) for seed in (1, 2)]
    a, b = add_volume("A", values[0], grid), add_volume("B", values[1], off @ grid)
    fused = add_volume("F", values[0], grid)
    for node in (a, b):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(255, 127.5)
    transform = put_transform(scene, movement_of(record_with(np.linalg.inv(off))), (source_of(a), source_of(b)), 0)
    fused.SetNodeReferenceID("S3IMFusion.Registration", transform.GetID())
    view = FusionView(scene)
    view.show(a, b, fused)
    view.set_fade(0, checkerboard=True)
    composite = view._composite_node(VIEWS[1])
    board = scene.GetNodeByID(composite.GetForegroundVolumeID())
    assert composite.GetForegroundOpacity() == 1.0
    np.testing.assert_allclose(to_world(board), grid)
    field = (np.indices(shape) // 10).sum(axis=0) % 2  # 100 mm in 4 fields each way
    expected = np.where(field == 0, *values)
    np.testing.assert_allclose(voxels_of(board)[..., 1], expected, atol=1)
    assert board.GetHideFromEditors()

    view.set_fade(50)
    assert scene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "B"
    assert scene.GetFirstNodeByName("Checkerboard") is None
    view.set_fade(50, checkerboard=True)
    view.leave()
    assert scene.GetFirstNodeByName("Checkerboard") is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 3


def test_a_scene_that_was_saved_in_the_fusion_view_shows_b_through_the_transform_again(panel, layout_logic, registered):
    mr, ct, fused, _transform = registered
    panel.parameters.source_a, panel.parameters.source_b, panel.parameters.fused = mr, ct, fused
    layout_logic.GetLayoutNode().SetViewArrangement(LAYOUT_ID)  # as the file says
    panel.onSceneEndImport()
    shown = panel.view._scene.GetNodeByID(panel.view._composite_node(VIEWS[2]).GetBackgroundVolumeID())
    np.testing.assert_allclose(to_world(shown), np.linalg.inv(MOVED) @ matrix_of(ct), atol=1e-9)


def test_what_the_library_only_logs_and_what_was_guessed_gives_a_warning_too(logic, add_volume):
    """A CT without air is not in HU; a volume that says nothing of its modality is recognised by its values."""
    values = [np.rint(1000 * blobs((20, 18, 6), seed)).astype(np.int16).T for seed in (1, 2)]
    run = logic.start(add_volume("CT of water", values[0]), add_volume("Series 3", values[1]))
    run.wait()
    guessed, not_in_hu, unknown = run.warnings
    assert guessed.startswith("The modality of 'Series 3' is unknown")
    assert not_in_hu.startswith("'CT of water' is not in HU")
    assert unknown.startswith("'Series 3' has an unknown modality")
    assert set(run.warnings) <= set(run.log)


def test_a_smaller_batch_is_logged_and_not_warned_of():
    import logging

    from S3IMFusionLib.worker_main import LogToChannel

    sent = []

    class Channel:
        def send(self, event, **content):
            sent.append((event, content["is_warning"]))

    handler = LogToChannel(Channel())
    for name, level in (("inferers.slice_wise", 30), ("transforms.intensity", 30), ("transforms.intensity", 20)):
        handler.handle(logging.LogRecord(f"monai_s3im.{name}", level, "", 0, "text", (), None))
    assert sent == [("log", False), ("log", True), ("log", False)]
