"""The classes of the module on Slicer's base classes, which pass on to the next class in line.

Run on the originals with ``SLICER_BASE_PYTHON``; without it on stand-ins that follow them.
"""

# ruff: noqa: E402 - slicer-core may be absent

import unittest

import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import stand_ins
from S3IMFusionLib.logic import FusionLogic


@pytest.fixture
def application(scene, application_logic, layout_logic):
    """The available parts of Slicer, without a panel."""
    with stand_ins.in_place(scene, application_logic) as application:
        yield application


def test_the_base_classes_are_the_requested_ones(application):
    from slicer import ScriptedLoadableModule as bases  # noqa: N813

    assert str(getattr(bases, "__file__", "")).startswith(stand_ins.BASE_PYTHON or "")


@pytest.mark.parametrize("kind", ["Logic", "Widget", "Test"])
def test_the_base_classes_pass_on_to_the_next_class_in_line(application, kind):
    """If this fails, the stand-ins are more tolerant than Slicer, and the tests below prove nothing."""
    from slicer import ScriptedLoadableModule as bases  # noqa: N813

    reached = []

    class Follower:
        def __init__(self):
            reached.append(self)

    made = type("Module" + kind, (getattr(bases, f"ScriptedLoadableModule{kind}"), Follower), {})
    item = made(stand_ins.qSlicerScriptedLoadableModuleWidget()) if kind == "Widget" else made()
    assert reached == [item]


def test_the_logic_is_slicers_and_ours(application, scene):
    from S3IMFusion import S3IMFusionLogic

    logic = S3IMFusionLogic()
    assert (logic.scene, logic.moduleName, logic.isSingletonParameterNode) == (scene, "S3IMFusion", True)
    assert isinstance(logic, FusionLogic)
    assert (
        logic.getParameterNode()
        is logic.getParameterNode()
        is scene.GetSingletonNode("S3IMFusion", "vtkMRMLScriptedModuleNode")
    )
    assert logic.check(None, None)
    logic.close()


def test_the_logic_needs_no_slicer_base_class(scene):
    assert FusionLogic(scene).scene is scene


def test_the_panel_is_made_as_slicer_makes_it(application):
    from S3IMFusion import S3IMFusionWidget

    module = stand_ins.qSlicerScriptedLoadableModuleWidget()
    panel = module.make(S3IMFusionWidget)
    module.enter()
    assert (panel.moduleName, panel.parent) == ("S3IMFusion", module)
    assert panel.parameters.parameterNode is panel.logic.getParameterNode()
    panel.cleanup()
    assert panel.Observations == []
    stand_ins.delete(module)


def test_a_panel_without_a_parent_sets_itself_up_once_and_keeps_its_observers(application):
    from S3IMFusion import S3IMFusionWidget

    panel = S3IMFusionWidget()
    assert panel.logic is not None
    assert len(panel.Observations) > 5
    panel.cleanup()
    assert panel.Observations == []
    stand_ins.delete(panel.parent)


def test_slicer_ends_the_panel_when_the_module_is_unloaded(application):
    from S3IMFusion import S3IMFusionWidget

    module = stand_ins.qSlicerScriptedLoadableModuleWidget()
    panel = module.make(S3IMFusionWidget)
    application.moduleManager().moduleAboutToBeUnloaded.emit("Volumes")
    assert panel.parameters is not None
    application.moduleManager().moduleAboutToBeUnloaded.emit("S3IMFusion")
    assert panel.parameters is None
    stand_ins.delete(module)


def test_the_modules_own_test_class_is_a_test_case_of_slicers(application):
    from S3IMFusion import S3IMFusionTest

    test = S3IMFusionTest()
    assert isinstance(test, unittest.TestCase)
    assert test.moduleTestNames == ["test_the_sample_pair_is_fused"]


def test_the_module_describes_itself_to_slicer(application):
    from S3IMFusion import S3IMFusion

    parent = stand_ins.qSlicerScriptedLoadableModule()
    module = S3IMFusion(parent)
    assert (parent.title, parent.categories, module.moduleName) == ("S3IMFusion", ["Image Synthesis"], "S3IMFusion")
    assert "Research use only" in parent.helpText
    assert not parent.icon.isNull()
    assert set(slicer.selfTests) == {"S3IMFusion"}
