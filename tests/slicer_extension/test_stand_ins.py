"""The stand-ins refuse the same calls as Slicer, CTK and PythonQt, and emit the same signals."""

# ruff: noqa: E402 - slicer-core may be absent

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import stand_ins
from stand_ins import application, base_classes, ctk_widgets, mrml_widgets, parameter_node, pythonqt, qt_classes

MODULES = (application, base_classes, ctk_widgets, mrml_widgets, parameter_node, pythonqt, qt_classes)


def own_classes():
    for module in MODULES:
        for _name, item in inspect.getmembers(module, inspect.isclass):
            if item.__module__ == module.__name__:
                yield item


def test_each_stand_in_names_its_original():
    sources = ("Follow", "Qt's own", "Base/QT")
    silent = [item.__name__ for item in own_classes() if not any(text in (item.__doc__ or "") for text in sources)]
    assert silent == []


def test_a_widget_takes_no_attribute_that_its_c_class_has_not():
    label = stand_ins.PLAIN["QLabel"]()
    label.text = "shown"
    assert label.text == "shown"
    with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
        label.txt = "lost"
    with pytest.raises(AttributeError, match="can not be overwritten"):
        label.show = None
    with pytest.raises(AttributeError, match="not writable"):
        label.minimumSizeHint = None


def test_a_module_takes_no_attribute_that_its_c_class_has_not():
    module = stand_ins.qSlicerScriptedLoadableModule()
    module.title = "S3IMFusion"
    with pytest.raises(AttributeError, match="not allowed"):
        module.titel = "S3IMFusion"


def test_a_signal_is_connected_only_by_its_signature():
    box, heard = stand_ins.PLAIN["QCheckBox"](), []
    box.connect("toggled(bool)", heard.append)
    box.click()
    assert heard == [True]
    with pytest.raises(AttributeError, match="does not exist"):
        box.connect("toggled(int)", heard.append)
    with pytest.raises(AttributeError, match="does not exist"):
        mrml_widgets.qMRMLNodeComboBox().connect("currentNodeChanged(vtkMRMLScene*)", heard.append)


def test_the_slider_rounds_to_its_decimals_and_emits_on_a_change_alone():
    slider, heard = ctk_widgets.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", heard.append)
    slider.decimals = 1
    for value in (2.04, 2.0, 200.0):
        slider.value = value
    slider.maximum = 50.0
    slider.singleStep = -1.0
    assert heard == [2.0, 99.0, 50.0]
    assert slider.singleStep == 1.0


def test_a_collapsible_button_emits_only_on_a_change():
    button, heard = ctk_widgets.ctkCollapsibleButton(), []
    button.connect("contentsCollapsed(bool)", heard.append)
    button.collapsed = False
    button.collapsed = True
    button.click()
    assert heard == [True, False]
    assert button.checkable


@pytest.mark.parametrize(
    ("filters", "accepted", "refused"),
    [
        (["*.pt"], ["a.pt", "/b/a.p"], ["", "a", "a.ptx"]),
        (["Weights (*.pt *.ts)"], ["a.pt", "a.ts"], ["", "a.onnx"]),
        ([], ["a", "a.pt"], [""]),
    ],
)
def test_the_path_line_accepts_what_ctks_accepts(filters, accepted, refused):
    line = ctk_widgets.ctkPathLineEdit()
    line.nameFilters = filters
    edit = line.comboBox().lineEdit()
    for text in (*accepted, *refused):
        edit.setText(text)
        assert edit.hasAcceptableInput() == (text in accepted)


def test_the_node_selector_is_off_without_a_scene_and_lists_no_hidden_node(scene, add_volume):
    slicer.mrmlScene, selector, heard = scene, mrml_widgets.qMRMLNodeComboBox(), []
    selector.connect("currentNodeChanged(bool)", heard.append)
    selector.nodeTypes, selector.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    assert not selector.enabled
    selector.setMRMLScene(scene)
    assert selector.enabled
    shown, hidden = (add_volume(name, np.ones((2, 2, 2), np.int16)) for name in ("shown", "hidden"))
    hidden.SetHideFromEditors(True)
    selector.setMRMLScene(scene)
    assert [selector.nodeFromIndex(index) for index in range(selector.nodeCount())] == [shown]
    selector.setCurrentNode(shown)
    selector.setCurrentNode(shown)
    selector.setCurrentNode(hidden)
    assert (selector.currentNode(), heard) == (None, [True, False])
    selector.setMRMLScene(None)
    del slicer.mrmlScene


def test_a_widget_with_a_scene_emits_only_for_another_scene(scene):
    widget, heard = mrml_widgets.qMRMLWidget(), []
    widget.connect("mrmlSceneChanged(vtkMRMLScene*)", heard.append)
    widget.setMRMLScene(scene)
    widget.setMRMLScene(scene)
    assert heard == [scene]


def test_the_layout_manager_shows_the_conventional_layout_for_one_it_does_not_know(scene, layout_logic):
    manager, node = stand_ins.qSlicerLayoutManager(scene), layout_logic.GetLayoutNode()
    manager.setLayout(3)
    node.AddMaximizedViewNode(scene.GetNodeByID("vtkMRMLSliceNodeRed"))
    manager.setLayout(3)
    assert node.GetNumberOfMaximizedViewNodes() == 1  # already shown: returns at once
    manager.setLayout(25_000)
    assert (manager.layout, node.GetNumberOfMaximizedViewNodes()) == (node.SlicerLayoutConventionalView, 0)


def test_the_settings_of_a_test_are_not_the_users(scene, application_logic):
    with stand_ins.in_place(scene, application_logic):
        qt_classes.QSettings().setValue("S3IMFusion/Device", "cpu")
        assert qt_classes.QSettings().value("S3IMFusion/Device") == "cpu"
        assert Path(qt_classes.SETTINGS_FOLDER.name) in Path(qt_classes.QSettings().fileName()).parents


@pytest.mark.skipif(not stand_ins.BASE_PYTHON, reason="SLICER_BASE_PYTHON is not set: nothing to compare with")
def test_every_class_that_slicers_parameter_node_names_exists():
    folder = Path(stand_ins.BASE_PYTHON) / "slicer" / "parameterNodeWrapper"
    known = {"qt": set(qt_classes.QT), "ctk": set(ctk_widgets.CTK)}
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
                assert node.attr in known[node.value.id], f"{node.value.id}.{node.attr} of {file.name}"
