"""Sequences: every frame fused, one progress, one synchronised result."""

import json

import numpy as np
import pytest
from S3IMFusionLib.errors import FusionError
from S3IMFusionLib.settings import FusionSettings
from sample_images import blobs
from scene_tools import LPS_TO_RAS, matrix_of, rotation, state_of, voxels_of

GRID = rotation(0, 20, (1, 2, 3)) @ np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (14, 12, 4)


def frame_values(seed):
    return (1000 * blobs(SHAPE, seed)).astype(np.float32).T


@pytest.fixture
def sequences_logic(scene):
    """Slicer's Sequences module."""
    import slicer

    module = slicer.vtkSlicerSequencesLogic()
    module.SetMRMLScene(scene)
    yield module
    module.SetMRMLScene(None)


@pytest.fixture
def add_sequence(scene, sequences_logic, add_volume):
    """Adds a sequence of frames with a browser that plays it; the time is 10, 20, 30 s."""

    def add(name, frames, play=True):
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        sequence.SetIndexName("time")
        sequence.SetIndexUnit("s")
        for number, frame in enumerate(frames, start=1):
            node = add_volume("frame", frame, GRID)
            sequence.SetDataNodeAtValue(node, str(10 * number))
            scene.RemoveNode(node.GetDisplayNode())
            scene.RemoveNode(node)
        if play:
            browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
            browser.AddSynchronizedSequenceNode(sequence)
        return sequence

    return add


def browsers_of(scene):
    return scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")


def proxy_of(scene, sequence):
    return scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode").GetProxyNode(sequence)


def test_every_frame_is_fused_as_that_volume_would_be(logic, add_sequence, add_volume):
    sequence, mr = (
        add_sequence("PET", [frame_values(seed) for seed in (1, 2, 3)]),
        add_volume("MR", frame_values(9), GRID),
    )
    seen = []
    fused = logic.start_sequence(sequence, mr).wait(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert seen == sorted(set(seen))
    assert fused.GetName() == "PET + MR fused"
    assert (fused.GetIndexName(), fused.GetIndexUnit(), fused.GetNumberOfDataNodes()) == ("time", "s", 3)
    for index, seed in enumerate((1, 2, 3)):
        frame = fused.GetNthDataNode(index)
        expected = logic.process(add_volume("PET", frame_values(seed), GRID), mr)
        assert fused.GetNthIndexValue(index) == sequence.GetNthIndexValue(index)
        assert frame.GetClassName() == "vtkMRMLVectorVolumeNode"
        np.testing.assert_array_equal(voxels_of(frame), voxels_of(expected))
        np.testing.assert_allclose(matrix_of(frame), GRID, atol=1e-12)


def test_two_sequences_are_fused_frame_by_frame(logic, add_sequence, add_volume):
    a = add_sequence("MR cine", [frame_values(1), frame_values(2)])
    b = add_sequence("CT cine", [frame_values(3), frame_values(4)], play=False)
    fused = logic.start_sequence(a, b).wait()
    expected = logic.process(add_volume("MR cine", frame_values(2), GRID), add_volume("CT cine", frame_values(4), GRID))
    np.testing.assert_array_equal(voxels_of(fused.GetNthDataNode(1)), voxels_of(expected))
    assert fused.GetNthDataNode(1).GetAttribute("S3IMFusion.FullScale") == "10000"


def test_result_plays_with_its_source_and_stands_where_it_stands(
    logic, scene, add_sequence, add_volume, add_transform, sequences_logic
):
    sequence, mr = add_sequence("PET", [frame_values(1), frame_values(2)]), add_volume("MR", frame_values(9), GRID)
    transform = add_transform(rotation(2, 15, (3, 0, 0)), proxy_of(scene, sequence))
    fused = logic.start_sequence(sequence, mr).wait()
    proxy = proxy_of(scene, fused)
    assert browsers_of(scene) == 1
    assert proxy.GetParentTransformNode() is transform
    assert (proxy.GetDisplayNode().GetWindow(), proxy.GetDisplayNode().GetLevel()) == (255, 127.5)

    scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode").SetSelectedItemNumber(1)
    sequences_logic.UpdateAllProxyNodes()
    np.testing.assert_array_equal(voxels_of(proxy), voxels_of(fused.GetNthDataNode(1)))
    assert proxy.GetParentTransformNode() is transform
    assert (proxy.GetDisplayNode().GetWindow(), proxy.GetDisplayNode().GetLevel()) == (255, 127.5)

    pet = add_volume("PET", frame_values(2), GRID)
    pet.SetAndObserveTransformNodeID(transform.GetID())
    np.testing.assert_array_equal(voxels_of(proxy), voxels_of(logic.process(pet, mr)))


def test_a_sequence_that_nothing_plays_gets_a_browser(logic, scene, add_sequence, add_volume):
    sequence = add_sequence("PET", [frame_values(1)], play=False)
    logic.start_sequence(sequence, add_volume("MR", frame_values(9), GRID)).wait()
    assert browsers_of(scene) == 1


def test_an_output_sequence_is_refilled(logic, scene, add_sequence, add_volume):
    output = add_sequence("Result", [frame_values(5)] * 3, play=False)
    mr = add_volume("MR", frame_values(9), GRID)
    assert logic.start_sequence(add_sequence("PET", [frame_values(1)]), mr, output).wait() is output
    assert output.GetNumberOfDataNodes() == 1
    assert output.GetName() == "Result"


def test_cancelled_sequence_leaves_nothing(scene, add_sequence, add_volume):
    from S3IMFusionLib.logic import FusionLogic

    logic, sequence = FusionLogic(scene), add_sequence("PET", [frame_values(1), frame_values(2)])
    mr = add_volume("MR", frame_values(9), GRID)
    before = state_of(scene)
    run = logic.start_sequence(sequence, mr)
    run.cancel()
    assert run.poll() == "cancelled"
    assert state_of(scene) == before


def test_sequences_of_other_lengths_are_refused(logic, add_sequence):
    a, b = add_sequence("A", [frame_values(1)] * 2), add_sequence("B", [frame_values(2)] * 3)
    with pytest.raises(FusionError, match="A has 2 frames and B has 3: choose sequences of the same length"):
        logic.start_sequence(a, b)


def test_an_empty_sequence_and_no_sequence_are_refused(logic, scene, add_sequence, add_volume):
    mr = add_volume("MR", frame_values(9), GRID)
    with pytest.raises(FusionError, match="Sequence A, 'Nothing', is empty"):
        logic.start_sequence(add_sequence("Nothing", []), mr)
    with pytest.raises(FusionError, match="Choose a sequence of volumes as A"):
        logic.start_sequence(mr, add_volume("MR 2", frame_values(8), GRID))
    with pytest.raises(FusionError, match="Choose volume B"):
        logic.start_sequence(add_sequence("PET", [frame_values(1)]), None)


def test_a_frame_that_cannot_be_fused_is_named(logic, add_sequence, add_volume):
    sequence = add_sequence("PET", [frame_values(1), frame_values(2)])
    far = add_volume("MR", frame_values(9), rotation(0, 0, (500, 0, 0)) @ GRID)
    with pytest.raises(FusionError, match="Frame 1: 'PET' and 'MR' do not overlap in space"):
        logic.start_sequence(sequence, far)


@pytest.mark.parametrize("moving", ["PET", "MR"])
@pytest.mark.parametrize("is_chain", [False, True])
def test_a_transform_that_changes_with_time_is_refused(
    logic, scene, add_sequence, add_volume, add_transform, moving, is_chain
):
    sequence, mr = add_sequence("PET", [frame_values(1), frame_values(2)]), add_volume("MR", frame_values(9), GRID)
    motion = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "motion")
    for number in (1, 2):
        motion.SetDataNodeAtValue(add_transform(rotation(0, 0, (4.0 * number, 0, 0))), str(10 * number))
    scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode").AddSynchronizedSequenceNode(motion)
    transform = proxy_of(scene, motion)
    if is_chain:
        above, transform = transform, add_transform(np.eye(4))
        transform.SetAndObserveTransformNodeID(above.GetID())
    (proxy_of(scene, sequence) if moving == "PET" else mr).SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(FusionError, match=f"'{moving}' has a parent transform that changes with time, 'motion'"):
        logic.start_sequence(sequence, mr)


def test_without_the_sequences_module_it_is_reported(logic, scene, add_volume):
    a, b = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "PET"), add_volume("MR", frame_values(9), GRID)
    with pytest.raises(FusionError, match="Sequences cannot be fused here: Slicer's Sequences module is missing"):
        logic.start_sequence(a, b)


def test_plane_and_grid_of_b_hold_for_every_frame(logic, add_sequence, add_volume):
    sequence = add_sequence("PET", [frame_values(1), frame_values(2)])
    mr = add_volume("MR", frame_values(9)[:3], GRID)
    settings = FusionSettings(reference="b", plane="coronal", gray=True)
    fused = logic.start_sequence(sequence, mr, settings=settings).wait()
    assert [voxels_of(fused.GetNthDataNode(index)).shape for index in range(2)] == [(3, 12, 14)] * 2


def test_displayed_window_of_a_sequence_is_that_of_the_node_that_plays_it(logic, scene, add_sequence, add_volume):
    sequence = add_sequence("CT", [1.5 * frame_values(1) - 900])
    display = proxy_of(scene, sequence).GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(300, 40)
    mr, by_frame = add_volume("MR", frame_values(9), GRID), []
    for window in ("display", "-110,190"):
        fused = logic.start_sequence(sequence, mr, settings=FusionSettings(window=window)).wait()
        by_frame.append(voxels_of(fused.GetNthDataNode(0)))
    np.testing.assert_array_equal(*by_frame)


def test_a_registered_frame_on_the_grid_of_b_has_the_position_of_that_volume(logic, add_sequence, add_volume):
    values, moved = (1000 * blobs((24, 24, 16), 1)).astype(np.float32).T, rotation(2, 3, (3, 2, 1)) @ GRID
    sequence, b = add_sequence("MR", [values, values]), add_volume("MR b", values, moved)
    settings = FusionSettings(register="rigid", reference="b", modality_a="mr", modality_b="mr")
    run = logic.start_sequence(sequence, b, settings=settings)
    assert run.warnings == ["Each time point is registered separately: the fusion view shows B unregistered."]
    frame = run.wait().GetNthDataNode(1)
    alone = logic.process(add_volume("MR", values, GRID), b, settings=settings)
    above = np.array(json.loads(alone.GetAttribute("S3IMFusion.Record"))["registration"]["matrix_lps"])
    to_parent = np.linalg.inv(LPS_TO_RAS @ above @ LPS_TO_RAS)
    np.testing.assert_allclose(matrix_of(frame), to_parent @ matrix_of(alone), atol=1e-6)
    assert np.abs(matrix_of(frame) - moved).max() > 0.5
    np.testing.assert_array_equal(voxels_of(frame), voxels_of(alone))
