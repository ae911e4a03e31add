"""A running fusion: progress, cancel, crash, damage; in every case the scene is unchanged."""

import json
import os
import signal
import time

import numpy as np
import pytest
from S3IMFusionLib.errors import FusionCancelledError, FusionError
from S3IMFusionLib.logic import FusionLogic
from S3IMFusionLib.process import Worker
from S3IMFusionLib.settings import FusionSettings
from sample_images import blobs
from scene_tools import rotation, state_of, voxels_of
from test_worker import ends_within

SLOW = FusionSettings(slice_batch=1)


def values_of(shape, seed, scale=1000.0):
    return (scale * blobs(shape, seed)).astype(np.float32).T


@pytest.fixture
def pair(add_volume):
    """Two small volumes on one grid."""
    return add_volume("MR", values_of((20, 18, 6), 1)), add_volume("MR 2", values_of((20, 18, 6), 2))


@pytest.fixture
def big_pair(add_volume):
    """Two volumes that take long enough to be stopped on the way."""
    return add_volume("MR", values_of((128, 128, 40), 1)), add_volume("MR 2", values_of((128, 128, 40), 2))


def polled(run, until, timeout_s=60):
    """Poll as a timer does, until the condition holds."""
    end = time.monotonic() + timeout_s
    while run.poll() == "running" and not until(run) and time.monotonic() < end:
        time.sleep(0.02)
    return run


def to_the_end(run):
    return polled(run, lambda run: False)


def has_begun(run):
    return run.progress[0] > 0


def test_progress_counts_slices_and_the_node_comes_at_the_end(logic, scene, pair):
    before, seen = scene.GetNumberOfNodes(), []
    run = logic.start(*pair, settings=FusionSettings(slice_batch=2))
    assert run.state == "running"
    assert scene.GetNumberOfNodes() == before
    fused = run.wait(lambda done, total: seen.append((done, total)))
    assert run.state == "done"
    assert run.output_node is fused
    assert seen[-1] == run.progress == (6, 6)
    assert seen == sorted(set(seen))
    assert set(seen) <= {(2, 6), (4, 6), (6, 6)}


def test_a_fusion_adds_its_node_with_its_display_and_changes_no_input(logic, scene, pair):
    before = state_of(scene)
    fused = logic.process(*pair)
    added = state_of(scene)[len(before) :]
    assert state_of(scene)[: len(before)] == before
    assert {node_id for node_id, *_ in added} == {fused.GetID(), fused.GetDisplayNodeID()}
    assert not any(logic.worker.folder.glob("**/*.np*"))


def test_second_fusion_runs_in_the_same_process_and_imports_nothing(logic, pair):
    logic.process(*pair)
    first = logic.worker.pid
    run = logic.start(*pair)
    run.wait()
    assert logic.worker.pid == first
    assert run.seconds["import"] < 0.05


def test_only_one_fusion_at_a_time(logic, pair):
    run = logic.start(*pair)
    with pytest.raises(FusionError, match="A fusion is running: wait for it, or cancel it"):
        logic.start(*pair)
    run.wait()
    logic.process(*pair)


def test_cancel_ends_the_process_at_once_and_the_scene_is_unchanged(logic, scene, big_pair):
    before = state_of(scene)
    run = polled(logic.start(*big_pair, settings=SLOW), has_begun)
    pid, folder = logic.worker.pid, logic.worker.folder
    assert run.state == "running"
    begin = time.monotonic()
    run.cancel()
    assert time.monotonic() - begin < 2
    assert run.state == run.poll() == "cancelled"
    assert ends_within(0.1, pid)
    assert not folder.exists()
    assert state_of(scene) == before


def test_cancel_while_torch_is_being_loaded(scene, pair):
    logic, before = FusionLogic(scene), state_of(scene)
    calls = []
    with pytest.raises(FusionCancelledError, match="The fusion was cancelled"):
        logic.process(*pair, cancelled=lambda: calls.append(logic.worker.pid) or len(calls) > 3)
    assert ends_within(0.1, *calls)
    assert state_of(scene) == before


def test_a_killed_process_fails_the_run_and_the_next_fusion_works(logic, scene, big_pair, pair):
    before = state_of(scene)
    run = polled(logic.start(*big_pair, settings=SLOW), has_begun)
    os.kill(logic.worker.pid, signal.SIGKILL)
    to_the_end(run)
    assert run.state == "failed"
    assert run.error.startswith("the fusion process was killed, possibly for lack of memory, before it finished")
    assert state_of(scene) == before
    assert logic.process(*pair).GetName() == "MR + MR 2 fused"


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_the_scene_unchanged(logic, scene, big_pair, pair):
    random, failed = np.random.default_rng(0), 0
    undisturbed = logic.start(*big_pair, settings=SLOW)
    begin = time.monotonic()
    to_the_end(undisturbed)
    seconds, expected = time.monotonic() - begin, voxels_of(undisturbed.output_node)
    before = state_of(scene)
    while failed < 20:
        run = logic.start(*big_pair, settings=SLOW)
        moment = time.monotonic() + random.uniform(0, seconds)
        polled(run, lambda run, moment=moment: time.monotonic() >= moment)
        if logic.worker.pid is not None:
            os.kill(logic.worker.pid, signal.SIGKILL)
        to_the_end(run)
        if run.state == "done":
            before = state_of(scene)
        else:
            assert "was killed" in run.error
            assert state_of(scene) == before
            failed += 1
    fused = to_the_end(logic.start(*big_pair, settings=SLOW)).output_node
    np.testing.assert_array_equal(voxels_of(fused), expected)


@pytest.mark.parametrize("damage", ["cut short", "other"])
def test_damaged_weights_are_reported_and_the_process_lives_on(logic, scene, pair, tmp_path, damage):
    from monai_s3im.bundle_config import bundle_root

    file, before = tmp_path / "weights.pt", state_of(scene)
    file.write_bytes((bundle_root() / "models" / "model.pt").read_bytes()[:1000] if damage == "cut short" else b"no")
    with pytest.raises(FusionError, match=r"weights\.pt"):
        logic.process(*pair, settings=FusionSettings(weights=str(file)))
    assert state_of(scene) == before
    assert logic.worker.is_alive


def test_missing_weights_are_reported_before_anything_runs(logic, pair):
    assert logic.check(*pair, FusionSettings(weights="nowhere.pt")) == [
        "The weights nowhere.pt do not exist: choose another file under Advanced, or press Clear there."
    ]


def test_a_device_that_is_missing_is_reported(logic, scene, pair):
    before = state_of(scene)
    with pytest.raises(FusionError, match="device 'cuda:99' is not available: use auto or cpu"):
        logic.process(*pair, settings=FusionSettings(device="cuda:99"))
    assert state_of(scene) == before


def test_volumes_are_called_by_their_names_in_errors(logic, add_volume, pair):
    flat = add_volume("Nothing seen", np.zeros((6, 18, 20), np.float32))
    with pytest.raises(FusionError, match="'Nothing seen' has no content"):
        logic.process(pair[0], flat)


def test_a_process_that_cannot_be_started_fails_the_run(scene, pair, tmp_path):
    before = state_of(scene)
    run = FusionLogic(scene, Worker(python=str(tmp_path / "nowhere"))).start(*pair)
    assert run.state == "failed"
    assert "cannot be started" in run.error
    assert state_of(scene) == before


def test_an_input_removed_during_the_run_fails_it(logic, scene, pair):
    run = logic.start(*pair)
    scene.RemoveNode(pair[1])
    before = state_of(scene)
    to_the_end(run)
    assert run.error == "a volume was removed from the scene while it was being fused: fuse again"
    assert state_of(scene) == before


def test_a_transform_removed_during_the_run_leaves_the_result_on_its_reference(logic, scene, pair, add_transform):
    transform = add_transform(rotation(2, 10), *pair)
    run = logic.start(*pair)
    scene.RemoveNode(transform)
    fused = run.wait()
    assert fused.GetParentTransformNode() is pair[0].GetParentTransformNode() is None


def test_an_error_names_the_volume_whatever_its_name_is(logic, add_volume):
    a, b = add_volume("image_b of the MR", np.zeros((3, 4, 5), np.float32)), add_volume("CT", values_of((5, 4, 3), 1))
    run = to_the_end(logic.start(a, b))
    assert "'image_b of the MR' has no content" in run.error


def test_a_volume_that_was_no_result_is_shown_in_the_range_of_one(logic, pair, add_volume):
    output = add_volume("own", np.ones((3, 3, 3), np.float32))
    output.GetDisplayNode().SetAutoWindowLevel(False)
    output.GetDisplayNode().SetWindowLevel(400, 40)
    logic.process(*pair, output)
    assert (output.GetDisplayNode().GetWindow(), output.GetDisplayNode().GetLevel()) == (10000, 5000)


def test_an_output_node_is_filled_and_keeps_its_window(logic, scene, pair):
    output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Result")
    assert logic.process(*pair, output=output) is output
    assert output.GetName() == "Result"
    assert (output.GetDisplayNode().GetWindow(), output.GetDisplayNode().GetLevel()) == (10000, 5000)
    output.GetDisplayNode().SetWindowLevel(3000, 2000)
    before = scene.GetNumberOfNodes()
    logic.process(pair[1], pair[0], output=output)
    assert scene.GetNumberOfNodes() == before
    assert (output.GetDisplayNode().GetWindow(), output.GetDisplayNode().GetLevel()) == (3000, 2000)


def test_colour_goes_into_a_new_node_where_the_chosen_one_is_gray(logic, scene, pair, add_volume):
    output, pet = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Result"), add_volume("PET", voxels_of(pair[1]))
    fused = logic.process(pair[0], pet, output=output)
    assert fused is not output
    assert fused.GetClassName() == "vtkMRMLVectorVolumeNode"
    assert voxels_of(fused).dtype == np.uint8
    assert fused.GetVoxelVectorType() == fused.VoxelVectorTypeColorRGB
    assert (fused.GetDisplayNode().GetWindow(), fused.GetDisplayNode().GetLevel()) == (255, 127.5)
    assert output.GetImageData() is None


def test_node_reports_how_it_was_made_and_names_no_file(logic, pair):
    settings = FusionSettings(register="rigid", plane="coronal", modality_a="mr", modality_b="mr")
    fused = logic.process(*pair, settings=settings)
    assert fused.GetNodeReference("S3IMFusion.SourceA") is pair[0]
    assert fused.GetNodeReference("S3IMFusion.SourceB") is pair[1]
    assert fused.GetAttribute("S3IMFusion.SourceB") == pair[1].GetID()
    assert json.loads(fused.GetAttribute("S3IMFusion.Settings"))["plane"] == "coronal"
    record = json.loads(fused.GetAttribute("S3IMFusion.Record"))
    assert record["registration"]["kind"] == "rigid"
    assert np.shape(record["registration"]["matrix_lps"]) == (4, 4)
    assert "file" not in record["registration"]
    assert record["sources"]["image_a"]["modality"] == "mr"
    assert len(record["weights_sha256"]) == 64
    assert str(logic.worker.folder) not in fused.GetAttribute("S3IMFusion.Record")


def test_fused_volume_comes_into_the_folder_of_its_reference(logic, scene, pair):
    hierarchy = scene.AddNewNodeByClass("vtkMRMLSubjectHierarchyNode")
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Case 1")
    for node in pair:
        hierarchy.CreateItem(folder, node)
    fused = logic.process(*pair)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(fused)) == folder


def test_attributes_survive_saving_and_loading_the_scene(logic, scene, pair, tmp_path):
    import slicer

    fused = logic.process(*pair)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.Commit()
    other = slicer.vtkMRMLScene()
    other.SetURL(str(tmp_path / "scene.mrml"))
    other.Import()
    copy = other.GetFirstNodeByName(fused.GetName())
    assert copy.GetAttribute("S3IMFusion.Record") == fused.GetAttribute("S3IMFusion.Record")
    assert copy.GetNodeReference("S3IMFusion.SourceA").GetName() == "MR"


def test_an_output_with_fractions_of_an_earlier_result_gets_the_window_of_whole_numbers(logic, pair):
    logic.as_fractions = True
    output = logic.process(*pair)
    logic.as_fractions = False
    logic.process(*pair, output=output)
    assert (output.GetDisplayNode().GetWindow(), output.GetDisplayNode().GetLevel()) == (10000, 5000)
