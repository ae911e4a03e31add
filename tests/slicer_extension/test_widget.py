"""The panel of the module, on a real scene and with the real logic, in stand-ins of Slicer's widgets.

This is not a test in Slicer: stand_ins says which original each class follows.
"""

# ruff: noqa: E402 - slicer-core may be absent

import ast
import gc
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import stand_ins
from PySide6 import QtTest, QtWidgets
from S3IMFusionLib import install, settings
from S3IMFusionLib.process import Worker
from S3IMFusionLib.sample_data import Grid, head_phantom
from scene_tools import WAIT_S, finish, state_of
from vtk import vtkWeakReference

from monai_s3im.modalities import AUTO_TASK, AUTO_WINDOW, CT_WINDOWS, MODALITIES, TASKS
from monai_s3im.settings import choices_of
from monai_s3im.transforms.slices import PLANES

GRID = Grid((48, 56, 12), (4.0, 4.0, 12.0))
IJK_TO_RAS = np.array([[4.0, 0, 0, -94], [0, 4, 0, -110], [0, 0, 12, -66], [0, 0, 0, 1]])
BY_HAND = {"device", "weights", "range_a", "range_b"}  # known when torch is loaded, or typed: the cursor stays
TEXTS = (
    "appearance",
    "checks",
    "devices",
    "dicom_plugin",
    "install",
    "layout",
    "logic",
    "own_weights",
    "packages_section",
    "parameters",
    "pip_errors",
    "process",
    "run",
    "run_display",
    "scene",
    "sequences",
    "start",
    "widget",
)


@pytest.fixture
def pair(panel, add_volume):
    """MR and CT of the head phantom, coarse, in the scene and chosen."""
    mr, ct = head_phantom(GRID)
    volumes = [add_volume("MR", mr, IJK_TO_RAS), add_volume("CT", ct, IJK_TO_RAS)]
    panel.enter()
    return volumes


def fields_of(panel):
    return panel.parameters.allParameters


def test_first_seen_are_two_inputs_an_output_apply_and_the_fade(panel):
    shown = {name for name, widget in vars(panel.ui).items() if not widget.visibleRegion().isEmpty()}
    assert {"source_a", "source_b", "fused", "applyButton", "fade", "noticeLabel"} <= shown
    assert panel.ui.advancedCollapsibleButton.collapsed
    assert panel.ui.logCollapsibleButton.collapsed
    assert not panel.ui.progressFrame.visible
    assert "Research use only" in panel.ui.noticeLabel.text


def test_every_field_has_a_widget_of_its_name(panel):
    for name in fields_of(panel):
        assert vars(panel.ui)[name].property("SlicerParameterName") == (None if name in BY_HAND else name)


@pytest.mark.parametrize("name", ["range_a", "range_b"])
def test_a_range_can_be_typed_in_the_middle(panel, name):
    edit = vars(panel.ui)[name]
    setattr(panel.parameters, name, "0,6")
    assert edit.text == "0,6"
    edit.setCursorPosition(0)
    QtTest.QTest.keyClicks(edit, "-12")
    assert edit.text == getattr(panel.parameters, name) == "-120,6"
    panel.parameters.slice_batch = 3
    assert edit.cursorPosition == 3
    edit.clear()
    assert getattr(panel.parameters, name) == ""


def test_every_widget_has_a_tooltip(panel):
    inputs = (*fields_of(panel), "applyButton", "cancelButton", "viewButton")
    assert [name for name in inputs if len(vars(panel.ui)[name].toolTip) < 15] == []


def test_the_choices_are_those_of_the_logic_and_the_library(panel):
    from S3IMFusionLib import parameters

    values = {
        name: {member.value for member in getattr(parameters, name)}
        for name in ("Reference", "Registration", "Modality", "Plane", "Window", "Color", "ColorModel", "Task")
    }
    assert values["Reference"] == set(settings.REFERENCES)
    assert values["Registration"] == set(settings.REGISTRATIONS)
    assert values["Modality"] == set(MODALITIES) - {"visible", "infrared"} | {None}
    assert values["Plane"] == set(PLANES) | {"in-plane"}
    assert values["Window"] == set(CT_WINDOWS) | {AUTO_WINDOW, settings.WINDOW_OF_DISPLAY}
    assert values["Color"] == set(choices_of("color"))
    assert values["ColorModel"] == set(choices_of("color_model"))
    assert values["Task"] == set(settings.TASKS) == {AUTO_TASK, *TASKS}
    for window, (lower, upper) in CT_WINDOWS.items():
        assert f"({lower:g} to {upper:g} HU)" in parameters.Window(window).label()


def test_the_defaults_are_those_of_the_command(panel):
    from S3IMFusionLib.parameters import fusion_settings

    assert fusion_settings(panel.parameters) == settings.FusionSettings()


def test_what_is_chosen_in_the_panel_is_in_the_settings(panel):
    from S3IMFusionLib.parameters import fusion_settings

    ui = panel.ui
    for name, index in (("reference", 2), ("register", 1), ("modality_b", 3), ("plane", 1), ("window", 3), ("task", 3)):
        getattr(ui, name).currentIndex = index
    ui.color_map.currentIndex, ui.gray.checked, ui.slice_batch.value, ui.device.currentIndex = 1, True, 4, 1
    ui.weights.currentPath = "own.pt"
    assert fusion_settings(panel.parameters) == settings.FusionSettings(
        reference="finer",
        register="rigid",
        modality_b="pet",
        plane="coronal",
        window="bone",
        color_map="magenta-gold",
        gray=True,
        slice_batch=4,
        device="cpu",
        task="medical",
        weights="own.pt",
    )


def test_the_panel_shows_what_a_script_has_set(panel):
    from S3IMFusionLib.parameters import Reference, Window

    panel.parameters.reference, panel.parameters.window = Reference.B, Window.FULL
    panel.parameters.weights, panel.parameters.device = "own.pt", "cpu"
    assert panel.ui.reference.currentText == "Image B"
    assert panel.ui.window.currentText.startswith("All")
    assert (panel.ui.weights.currentPath, panel.ui.device.currentText) == ("own.pt", "CPU")


def test_the_choices_are_saved_with_the_scene_and_read_again(panel, pair, tmp_path, scene):
    from S3IMFusionLib.parameters import FusionParameters, Plane

    panel.parameters.plane, panel.parameters.slice_batch = Plane.SAGITTAL, 3
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    loaded = slicer.vtkMRMLScene()
    loaded.RegisterNodeClass(slicer.vtkMRMLScriptedModuleNode())
    loaded.SetURL(scene.GetURL())
    loaded.Import()
    read = FusionParameters(loaded.GetSingletonNode("S3IMFusion", "vtkMRMLScriptedModuleNode"))
    assert (read.plane, read.slice_batch, read.source_b.GetName()) == (Plane.SAGITTAL, 3, "CT")


def test_closing_the_scene_leaves_an_empty_panel(panel, pair, scene):
    scene.Clear(False)
    assert panel.parameters.source_a is None
    assert not panel.ui.applyButton.enabled
    assert panel.ui.source_a.currentNode() is None


def test_the_layout_of_the_fusion_view_is_known_from_the_start_and_after_an_import(panel, layout_logic, scene):
    from S3IMFusionLib.layout import LAYOUT_ID

    assert layout_logic.GetLayoutNode().IsLayoutDescription(LAYOUT_ID)
    scene.RemoveNode(layout_logic.GetLayoutNode())
    scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    scene.InvokeEvent(scene.EndImportEvent)
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").IsLayoutDescription(LAYOUT_ID)


def test_closing_the_scene_ends_what_runs(panel, pair, scene):
    panel.ui.applyButton.click()
    assert panel.ui.progressFrame.visible
    scene.Clear(False)
    assert not panel.ui.progressFrame.visible
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode", scene) == []


def test_closing_the_scene_frees_the_volumes(panel, pair, scene):
    panel.ui.applyButton.click()
    finish(panel)
    images = [vtkWeakReference() for _ in range(3)]
    for image, node in zip(images, (*pair, panel.parameters.fused), strict=True):
        image.Set(node.GetImageData())
    del node
    pair.clear()
    scene.Clear(False)
    gc.collect()
    assert [image.Get() for image in images] == [None] * 3


def test_the_first_two_volumes_are_chosen_at_the_start(panel, pair):
    assert [panel.ui.source_a.currentNode().GetName(), panel.ui.source_b.currentNode().GetName()] == ["MR", "CT"]
    assert panel.ui.applyButton.enabled


def test_a_label_map_is_not_offered(panel, pair, add_volume):
    add_volume("labels", np.ones((4, 4, 4), np.int16), class_name="vtkMRMLLabelMapVolumeNode")
    assert "labels" not in [node.GetName() for node in panel.ui.source_a._nodes if node is not None]


@pytest.mark.parametrize(("choice", "reason"), [(None, "Choose volume B"), ("MR", "the same")])
def test_apply_is_disabled_with_a_reason(panel, pair, choice, reason):
    panel.parameters.source_b = pair[0] if choice else None
    assert not panel.ui.applyButton.enabled
    assert reason in panel.ui.applyButton.toolTip


def test_the_need_of_memory_is_reported(panel, pair):
    assert re.fullmatch(r"Needs about \d+\.\d GB of memory\.", panel.ui.memoryLabel.text)


def test_apply_fuses_and_shows_the_result(panel, pair, scene):
    panel.ui.applyButton.click()
    assert panel.ui.cancelButton.visible
    assert not panel.ui.applyButton.enabled
    finish(panel)
    fused = panel.ui.fused.currentNode()
    assert fused.GetImageData().GetDimensions() == GRID.shape
    assert panel.ui.statusLabel.text == f"Fused: {fused.GetName()}, CT from 0 to 80 HU (brain)"
    assert fused.GetAttribute("S3IMFusion.CTRange") == "0 to 80 HU (brain)"
    assert panel.view.is_shown
    assert panel.ui.fade.enabled
    middle = next(
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", scene)
        if node.GetLayoutName() == "S3IMFusionFused"
    )
    panel.ui.fade.value = -100
    assert (middle.GetBackgroundVolumeID(), middle.GetForegroundVolumeID()) == (fused.GetID(), pair[0].GetID())
    assert middle.GetForegroundOpacity() == 1.0
    assert panel.ui.viewButton.text == "Previous view"
    panel.ui.viewButton.click()
    assert not panel.view.is_shown
    assert (panel.ui.viewButton.text, panel.ui.fade.enabled) == ("Fusion view", False)
    assert panel.ui.applyButton.enabled


def test_a_second_run_fills_the_same_volume(panel, pair, scene):
    for _ in range(2):
        panel.ui.applyButton.click()
        finish(panel)
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)) == 3


def test_the_result_of_other_volumes_is_kept(panel, pair, scene, add_volume):
    panel.ui.applyButton.click()
    finish(panel)
    first, second_ct = panel.parameters.fused, add_volume("CT 2", head_phantom(GRID)[1], IJK_TO_RAS)
    before = state_of(scene)
    panel.parameters.source_b = second_ct
    panel.ui.applyButton.click()
    finish(panel)
    assert panel.parameters.fused.GetName() == "MR + CT 2 fused"
    assert [entry for entry in state_of(scene) if entry[0] == first.GetID()] == [
        entry for entry in before if entry[0] == first.GetID()
    ]


def test_a_volume_of_the_users_own_is_filled(panel, pair, add_volume):
    panel.parameters.fused = own = add_volume("own", np.ones((3, 3, 3), np.float32))
    panel.ui.applyButton.click()
    finish(panel)
    assert panel.parameters.fused is own
    assert own.GetImageData().GetDimensions() == GRID.shape


def wait_for_devices(panel):
    """Lets Qt's events run until the devices are listed."""
    end = time.monotonic() + WAIT_S
    while not panel.devices.are_known and time.monotonic() < end:
        QtWidgets.QApplication.processEvents()
        time.sleep(0.01)
    assert panel.devices.are_known


def test_the_devices_are_listed_after_advanced_is_opened_and_the_window_does_not_wait(panel):
    panel.logic.worker, shared = Worker(), panel.logic.worker
    assert [panel.ui.device.itemText(i) for i in range(panel.ui.device.count)] == ["Automatic", "CPU"]
    panel.parameters.device = "cpu"
    begin = time.monotonic()
    panel.ui.advancedCollapsibleButton.collapsed = False
    assert time.monotonic() - begin < 1.0
    assert [panel.ui.device.itemText(i) for i in range(panel.ui.device.count)] == ["Automatic", "CPU"]
    wait_for_devices(panel)
    panel.logic.worker.close()
    panel.logic.worker = shared
    assert not panel.timer.active
    labels = [panel.ui.device.itemText(i) for i in range(panel.ui.device.count)]
    assert labels[0].startswith("Automatic: ")
    assert panel.ui.device.currentText.startswith("CPU")
    assert any(re.search(r"\d GB free$", label) for label in labels)


def test_a_device_of_another_computer_is_shown_as_such_and_another_can_be_chosen(panel):
    panel.parameters.device = "cuda:77"
    assert panel.ui.device.currentText == "cuda:77"
    panel.ui.advancedCollapsibleButton.collapsed = False
    wait_for_devices(panel)
    assert panel.ui.device.currentText == "cuda:77, not found here"
    panel.ui.device.currentIndex = 0
    assert panel.parameters.device == "auto"


def test_devices_requested_before_a_fusion_are_listed_after_it(panel, pair):
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.ui.applyButton.click()
    finish(panel)
    wait_for_devices(panel)
    assert panel.ui.device.itemText(0).startswith("Automatic: ")


def test_devices_that_cannot_be_listed_are_reported_once(panel, shown_errors, monkeypatch):
    panel.application.is_testing = False
    monkeypatch.setattr(panel.logic, "devices_found", lambda: 1 / 0)
    panel.ui.advancedCollapsibleButton.collapsed = False
    end = time.monotonic() + 5
    while panel.timer.active and time.monotonic() < end:
        QtWidgets.QApplication.processEvents()
    assert not panel.timer.active
    assert len(shown_errors) == 1
    assert "The devices could not be listed." in shown_errors[0]


def test_a_declined_installation_leaves_the_scene_and_the_panel_as_they_were(panel, pair, scene, monkeypatch):
    asked = []
    panel.application.is_testing = False
    monkeypatch.setattr(install, "missing_packages", lambda requirements: ["monai>=1.6,<1.7"])
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, **_: asked.append(text))
    before = state_of(scene)
    panel.ui.applyButton.click()
    assert len(asked) == 1
    assert state_of(scene) == before
    assert panel.ui.statusLabel.text == "Nothing was installed, and nothing was changed."
    assert panel.ui.applyButton.enabled


def test_without_the_pytorch_extension_a_dialog_names_it(panel, pair, scene, shown_errors, monkeypatch):
    panel.application.is_testing = False
    monkeypatch.setattr(install, "missing_packages", lambda requirements: [install.TORCH])
    before = state_of(scene)
    panel.ui.applyButton.click()
    assert "install the extension named PyTorch" in shown_errors[0]
    assert state_of(scene) == before


def test_a_failed_fusion_is_reported_and_leaves_the_scene_unchanged(panel, pair, scene, shown_errors, tmp_path):
    weights = tmp_path / "damaged.pt"
    weights.write_bytes(b"not weights")
    panel.ui.weights.currentPath = str(weights)
    before = state_of(scene)
    panel.ui.applyButton.click()
    finish(panel)
    assert "damaged.pt" in shown_errors[0]
    assert panel.ui.statusLabel.text == f"Not fused: {shown_errors[0]}"
    assert state_of(scene) == before
    assert panel.ui.applyButton.enabled


@pytest.fixture
def browser(panel, pair, scene):
    """Plays a sequence of two time points; all of them are fused."""
    sequences = slicer.vtkSlicerSequencesLogic()
    sequences.SetMRMLScene(scene)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "dynamic")
    for time_point in ("0", "1"):
        sequence.SetDataNodeAtValue(pair[0], time_point)
    browser.AddSynchronizedSequenceNode(sequence)
    assert not panel.ui.all_frames.visible
    panel.parameters.source_a = browser.GetProxyNode(sequence)
    panel.ui.all_frames.checked = True
    yield browser
    sequences.SetMRMLScene(None)


def fused_sequences_of(scene):
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode", scene) if "fused" in node.GetName()]


def test_every_time_point_of_a_sequence_is_fused(panel, browser, scene):
    for _ in range(2):  # the second fills the same sequence
        panel.ui.applyButton.click()
        finish(panel)
        assert panel.view.is_shown
        (fused,) = fused_sequences_of(scene)
        assert fused.GetNumberOfDataNodes() == 2
        assert panel.ui.fused.currentNode() is browser.GetProxyNode(fused)


def test_a_volume_that_is_removed_while_all_time_points_are_fused_is_not_shown(panel, browser, scene, shown_errors):
    panel.ui.applyButton.click()
    scene.RemoveNode(panel.parameters.source_a)
    finish(panel)
    assert len(fused_sequences_of(scene)) == 1
    assert not panel.view.is_shown
    assert shown_errors == []


def test_the_fusion_of_one_time_point_does_not_go_into_the_fused_sequence(panel, browser, scene):
    panel.ui.applyButton.click()
    finish(panel)
    panel.ui.all_frames.checked = False
    panel.ui.applyButton.click()
    finish(panel)
    (fused,) = fused_sequences_of(scene)
    assert panel.parameters.fused is not browser.GetProxyNode(fused)
    assert browser.GetSequenceNode(panel.parameters.fused) is None


def test_a_result_in_colour_is_shown_as_one_in_gray_is(panel, pair):
    panel.ui.modality_b.currentIndex = 3
    assert panel.ui.modality_b.currentText == "PET"
    panel.ui.applyButton.click()
    finish(panel)
    assert panel.ui.fused.currentNode().IsA("vtkMRMLVectorVolumeNode")
    assert panel.view.is_shown


def test_leaving_the_module_does_not_end_a_fusion(panel, pair):
    panel.ui.applyButton.click()
    panel.exit()
    finish(panel)
    panel.enter()
    assert panel.ui.fused.currentNode() is not None


def test_cancelling_leaves_the_scene_unchanged(panel, pair, scene):
    before = state_of(scene)
    panel.ui.applyButton.click()
    begin = time.monotonic()
    panel.ui.cancelButton.click()
    assert time.monotonic() - begin < 2.0
    assert state_of(scene) == before
    assert panel.ui.statusLabel.text == "Cancelled: the scene is unchanged."
    assert panel.ui.applyButton.enabled


def test_the_module_registers_its_sample_data_when_slicer_has_started(panel, monkeypatch, tmp_path):
    import sys
    from types import ModuleType, SimpleNamespace

    import S3IMFusion

    registered = {}
    sample_data = ModuleType("SampleData")
    sample_data.SampleDataLogic = SimpleNamespace(
        registerCustomSampleDataSource=lambda **named: registered.update(named)
    )
    monkeypatch.setitem(sys.modules, "SampleData", sample_data)
    monkeypatch.setattr(S3IMFusion, "_cache_folder", lambda: tmp_path)
    S3IMFusion.S3IMFusion(stand_ins.qSlicerScriptedLoadableModule())
    assert {signature for signature, _slot in panel.application.connected} == {"startupCompleted()"}
    panel.application.startupCompleted.emit()
    assert Path(registered["thumbnailFileName"]).is_file()
    assert len(registered["uris"]) == len(registered["checksums"]) == len(registered["nodeNames"]) == 2
    assert not list(tmp_path.iterdir())  # made when it is asked for
    assert all(uri.startswith("file://") for uri in registered["uris"])
    assert len(list(tmp_path.iterdir())) == 2


def test_every_sentence_of_the_module_can_be_translated():
    """All texts for the user go through _(), except docstrings and logs."""
    for name in TEXTS:
        tree = ast.parse((stand_ins.EXTENSION / "S3IMFusionLib" / f"{name}.py").read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        apart = {id(call.args[0]) for call in calls if ast.unparse(call.func) in {"_", "logging.info"}}
        apart |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        sentences = [text for text in texts if re.search(r"[A-Za-z]{2,} [a-z]+ [a-z]", text.value)]
        assert [text.value for text in sentences if id(text) not in apart] == []


@pytest.mark.skipif(
    not os.environ.get("SLICER_BASE_PYTHON"),
    reason="SLICER_BASE_PYTHON is not set: the panel is tried with stand-ins of Slicer's base classes only",
)
def test_slicers_own_parameter_node_carries_the_choices(panel):
    from S3IMFusionLib.parameters import Reference
    from slicer import parameterNodeWrapper as wrapper  # noqa: N813

    assert wrapper.__file__.startswith(os.environ["SLICER_BASE_PYTHON"])
    panel.ui.reference.currentIndex = 1
    assert panel.parameters.reference is Reference.B


@pytest.mark.skipif(
    not os.environ.get("SLICER_EXECUTABLE"), reason="SLICER_EXECUTABLE is not set: nothing is tried in Slicer itself"
)
def test_the_modules_own_tests_pass_in_slicer():
    code = f"""
import sys, unittest
import slicer
sys.path.insert(0, {str(stand_ins.EXTENSION / "Testing" / "Python")!r})
tests = unittest.defaultTestLoader.loadTestsFromNames(["S3IMFusionSceneTest"])
tests.addTest(__import__("S3IMFusion").S3IMFusionTest("test_the_sample_pair_is_fused"))
slicer.util.exit(not unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful())
"""
    slicer_here = [os.environ["SLICER_EXECUTABLE"], "--testing", "--no-main-window", "--no-splash"]
    arguments = ["--additional-module-path", stand_ins.EXTENSION, "--python-code", code]
    result = subprocess.run([*slicer_here, *arguments], capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr


def saved_by_a_newer_version(panel, file):
    """A scene with a choice that this version does not know."""
    node = panel.logic.getParameterNode()
    panel.exit()
    node.SetParameter("register", "DEFORMABLE")
    panel.logic.scene.SetURL(str(file))
    assert panel.logic.scene.Commit()
    node.SetParameter("register", "NONE")
    return node


def check_set_back(panel):
    assert panel.parameters.register.value == "none"
    assert panel.ui.register.currentText.startswith("No")
    assert panel.ui.statusLabel.text.endswith("does not know; reset: Register B to A")
    panel.ui.register.currentIndex = 1
    assert panel.logic.getParameterNode().GetParameter("register") == "RIGID"


@pytest.mark.parametrize("is_open", [True, False], ids=["panel open", "panel opened later"])
def test_a_choice_of_a_newer_version_is_set_back_and_named(panel, pair, scene, tmp_path, is_open):
    saved_by_a_newer_version(panel, tmp_path / "scene.mrml")
    if is_open:
        panel.enter()
    else:
        panel.parent.exit()
    scene.Clear(False)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.Import()
    if not is_open:
        assert panel.parameters is None
        panel.parent.enter()
    check_set_back(panel)


def test_the_first_member_of_an_enumeration_is_its_default(panel, scene):
    from enum import Enum

    from S3IMFusionLib.parameters import FusionParameters

    new = FusionParameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    chosen = [value for name in FusionParameters.allParameters if isinstance(value := getattr(new, name), Enum)]
    assert len(chosen) == 10
    assert chosen == [next(iter(type(value))) for value in chosen]
