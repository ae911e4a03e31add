"""Habits of Slicer users: persistent choices, buddies and tooltips, quick sample data, hidden volumes ignored.

Not in Slicer: the stand-ins say what they follow. ``SLICER_BASE_PYTHON`` brings Slicer's own SampleData.py into it.
"""

# ruff: noqa: E402 - slicer-core may be absent

import hashlib
import importlib.util
import json
import os
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import stand_ins
from S3IMFusionLib import paths
from S3IMFusionLib.appearance import ct_range_of
from S3IMFusionLib.sample_data import FILE_NAMES, NODE_NAMES, SHA256, register_sample_data
from scene_tools import record_of_sources
from stand_ins.qt_classes import QSettings

ROOT = Path(__file__).resolve().parents[2]
UI = ET.parse(stand_ins.EXTENSION / "Resources" / "UI" / "S3IMFusion.ui").getroot()  # noqa: S314 - our own file
CONTROLS = {
    "QCheckBox",
    "QComboBox",
    "QLineEdit",
    "QPlainTextEdit",
    "QProgressBar",
    "QPushButton",
    "QSpinBox",
    "QToolButton",
    "ctkCollapsibleButton",
    "ctkPathLineEdit",
    "ctkSliderWidget",
    "qMRMLNodeComboBox",
}


def widgets(kinds):
    return [widget for widget in UI.iter("widget") if widget.get("class") in kinds]


def text_of(widget, name):
    return "".join(widget.findtext(f"./property[@name='{name}']/{kind}", "") for kind in ("string", "cstring"))


def test_every_label_of_a_control_has_it_as_its_buddy():
    names = {widget.get("name") for widget in UI.iter("widget")}
    forms = [item.find("widget") for item in UI.iter("item") if item.get("column") == "0" and not item.get("colspan")]
    labels = [widget for widget in forms if widget.get("class") == "QLabel"]
    assert len(labels) >= 15
    for label in labels:
        assert text_of(label, "buddy") == label.get("name").removesuffix("Label")
    in_rows = [label for label in widgets({"QLabel"}) if label.get("name").startswith("fadeLabel")]
    assert [text_of(label, "buddy") for label in in_rows] == ["fade", "fade"]
    assert {text_of(label, "buddy") for label in widgets({"QLabel"})} - {""} <= names


def test_every_control_has_a_tooltip():
    controls = widgets(CONTROLS)
    assert len(controls) >= 20
    assert [control.get("name") for control in controls if len(text_of(control, "toolTip")) < 12] == []


def test_the_buddies_are_those_of_the_panel(panel):
    assert panel.ui.windowLabel.buddy() is panel.ui.window
    assert panel.ui.source_aLabel.buddy() is panel.ui.source_a


def test_hidden_volumes_are_neither_chosen_nor_offered(panel, add_volume):
    hidden = add_volume("of another module", np.ones((4, 4, 4), np.float32))
    hidden.SetHideFromEditors(True)
    shown = [add_volume(name, np.ones((4, 4, 4), np.float32)) for name in ("MR", "CT")]
    panel.initializeParameterNode()
    assert [panel.parameters.source_a, panel.parameters.source_b] == shown
    selectors = widgets({"qMRMLNodeComboBox"})
    assert len(selectors) == 3
    assert [text_of(selector, "showHidden") for selector in selectors] == ["", "", ""]  # Slicer's default: no


def new_session(panel, scene):
    """The parameter node of another session: a scene that has seen no panel."""
    panel.exit()
    scene.RemoveNode(panel.logic.getParameterNode())
    panel.initializeParameterNode()
    return panel.parameters


def test_the_device_and_the_weights_last_from_session_to_session(panel, scene, tmp_path):
    weights = tmp_path / "own.pt"
    weights.write_bytes(b"weights")
    panel.ui.device.currentIndex = 1
    panel.ui.weights.currentPath = str(weights)
    chosen = new_session(panel, scene)
    assert (chosen.device, chosen.weights) == ("cpu", str(weights))
    assert panel.ui.device.currentText == "CPU"
    panel.ui.device.currentIndex = 0
    panel.ui.weights.currentPath = ""
    chosen = new_session(panel, scene)
    assert (chosen.device, chosen.weights) == ("auto", "")


def test_weights_that_are_gone_do_not_lock_a_new_session(panel, scene, tmp_path):
    weights = tmp_path / "own.pt"
    weights.write_bytes(b"weights")
    panel.ui.weights.currentPath = str(weights)
    weights.unlink()
    assert new_session(panel, scene).weights == ""


def test_a_path_that_is_being_typed_is_not_remembered(panel, scene, tmp_path):
    panel.ui.weights.currentPath = str(tmp_path / "ow")
    assert QSettings().value("S3IMFusion/weights", None) is None


def test_what_a_scene_or_a_script_chose_is_not_remembered(panel, scene):
    panel.parameters.device = "cuda:77"
    assert panel.ui.device.currentText == "cuda:77"
    assert QSettings().value("S3IMFusion/device", None) is None


def test_a_saved_scene_keeps_its_own_choices(panel, scene):
    panel.ui.device.currentIndex = 1
    panel.parameters.device = "auto"
    panel.exit()
    panel.enter()
    assert panel.parameters.device == "auto"


def test_who_leaves_the_fusion_view_is_not_taken_there_again(panel, scene, add_volume):
    chosen = panel.parameters
    chosen.source_a, chosen.source_b = (add_volume(name, np.ones((4, 4, 4), np.float32)) for name in ("MR", "CT"))
    panel._run_parameters, fused = chosen, add_volume("fused", np.ones((4, 4, 4), np.float32))
    panel._show_result(fused)
    assert panel.view.is_shown
    panel.ui.viewButton.click()
    panel._show_result(fused)
    assert not panel.view.is_shown
    panel.ui.viewButton.click()
    assert panel.view.is_shown
    panel.view.leave()
    panel._show_result(fused)
    assert panel.view.is_shown


def test_the_help_links_to_the_documentation(panel):
    import S3IMFusion

    parent = stand_ins.qSlicerScriptedLoadableModule()
    S3IMFusion.S3IMFusion(parent)
    assert f'<a href="{paths.DOCUMENTATION}">Documentation</a>' in parent.helpText
    assert paths.DOCUMENTATION.startswith(paths.HOMEPAGE)
    assert (ROOT / paths.DOCUMENTATION.partition("/blob/main/")[2]).is_file()
    assert f'set(EXTENSION_HOMEPAGE "{paths.HOMEPAGE}")' in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def test_the_range_of_the_ct_is_reported_in_words():
    ct = {"modality": "ct", "intensity_range": [-160.0, 240.0], "ct_window": "soft_tissue"}
    mr = {"modality": "mr", "intensity_range": [3.0, 900.0], "ct_window": None}
    assert ct_range_of(record_of_sources({"image_a": mr, "image_b": ct})) == "-160 to 240 HU (soft tissue)"
    assert ct_range_of(record_of_sources({"image_b": {**ct, "ct_window": None}})) == "-160 to 240 HU"
    assert ct_range_of(record_of_sources({"image_a": mr})) == ""


class FileCache:
    """slicer.mrmlScene.GetCacheManager(): Libs/MRML/Core/vtkCacheManager.h."""

    def __init__(self, folder):
        self.folder = folder

    def GetRemoteCacheDirectory(self):  # noqa: N802
        return str(self.folder)


def test_sample_data_is_made_when_its_addresses_are_read_and_not_before(tmp_path, monkeypatch):
    registered = {}
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **named: registered.update(named))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    cache = tmp_path / "cache"
    begin = time.monotonic()
    register_sample_data(cache, tmp_path / "thumbnail.png")
    assert time.monotonic() - begin < 0.1
    assert not cache.exists()
    assert "customDownloader" not in registered  # Sample Data ignores it for downloadSamples
    assert isinstance(registered["uris"], list)
    assert len(registered["uris"]) == len(registered["fileNames"]) == 2
    read = [uri for uri, _name in zip(registered["uris"], registered["fileNames"], strict=True)]
    assert read == [(cache / name).as_uri() for name in FILE_NAMES]
    assert [hashlib.sha256((cache / name).read_bytes()).hexdigest() for name in FILE_NAMES] == list(SHA256)


@pytest.mark.skipif(
    not os.environ.get("SLICER_BASE_PYTHON"),
    reason="SLICER_BASE_PYTHON is not set: Slicer's own SampleData.py is not tried",
)
def test_slicers_own_sample_data_returns_the_pair_before_any_button_was_pressed(scene, application_logic, tmp_path):
    cache, loaded = tmp_path / "cache", []

    def load(_self, path, name, *_options):
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == SHA256[len(loaded)]
        loaded.append(name)
        return name

    with stand_ins.in_place(scene, application_logic), pytest.MonkeyPatch.context() as patch:
        folder = Path(os.environ["SLICER_BASE_PYTHON"]).parents[1] / "Modules" / "Scripted" / "SampleData"
        spec = importlib.util.spec_from_file_location("SampleData", folder / "SampleData.py")
        sample_data = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "SampleData", sample_data)
        spec.loader.exec_module(sample_data)
        patch.setattr(slicer, "modules", SimpleNamespace())
        patch.setattr(slicer, "mrmlScene", SimpleNamespace(GetCacheManager=lambda: FileCache(cache)))
        patch.setattr(sample_data.SampleDataLogic, "loadNode", load)
        patch.setattr(sample_data.SampleDataLogic, "registerBuiltInSampleDataSources", lambda _self: None)
        register_sample_data(cache, tmp_path / "thumbnail.png")
        assert sample_data.downloadSamples("S3IMFusionHead") == list(NODE_NAMES)
        for made in cache.iterdir():
            made.unlink()  # as Slicer's Clear cache does
        loaded.clear()
        assert sample_data.downloadSamples("S3IMFusionHead") == list(NODE_NAMES)


def test_all_time_points_have_the_window_of_the_first(monkeypatch):
    from S3IMFusionLib.run import Fused, FusionRun

    sent = []
    worker = SimpleNamespace(submit=lambda _command, **arguments: sent.append(arguments["settings"]) or len(sent))
    source = SimpleNamespace(name="CT", colors=None, write=lambda path: {"path": str(path)})
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    worker.folder = Path("nowhere")
    run = FusionRun(worker, [(source, source)] * 2, {"window": "auto", "color_map": None}, None)
    ct = {"modality": "ct", "intensity_range": [-160.0, 240.0], "ct_window": "soft_tissue"}
    run._fused.append(Fused(np.zeros((1, 1, 1), np.float32), record_of_sources({"image_a": ct})))
    run._begin_pair()
    assert [settings["window"] for settings in sent] == ["auto", [-160.0, 240.0]]


def test_a_body_is_fused_in_the_soft_tissue_window_and_the_record_names_it(logic, add_volume):
    _z, y, x = np.meshgrid(*(8.0 * (np.arange(n) - (n - 1) / 2) for n in (16, 48, 48)), indexing="ij")
    inside = (x / 150) ** 2 + (y / 120) ** 2
    ct = np.where(inside < 1, np.where(inside < 0.7, 50, -100), -1000).astype(np.int16)
    mr = np.where(inside < 1, 500 + x + y, 0).astype(np.int16)
    grid = np.diag([8.0, 8.0, 8.0, 1.0])
    fused = logic.process(add_volume("MR", mr, grid), add_volume("CT", ct, grid))
    assert fused.GetAttribute("S3IMFusion.CTRange") == "-160 to 240 HU (soft tissue)"
    source = json.loads(fused.GetAttribute("S3IMFusion.Record"))["sources"]["image_b"]
    assert (source["ct_window"], source["intensity_range"]) == ("soft_tissue", [-160.0, 240.0])
