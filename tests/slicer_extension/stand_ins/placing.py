"""Installs the stand-ins instead of the real classes."""

import sys
import types
from contextlib import contextmanager
from pathlib import Path

import shiboken6
import slicer

from . import parameter_node
from .application import Application, qSlicerScriptedLoadableModule
from .base_classes import CLASSES
from .ctk_widgets import CTK
from .mrml_widgets import MRML, qMRMLNodeComboBox
from .paths import BASE_PYTHON, EXTENSION
from .qt_classes import QT, SETTINGS_FOLDER
from .ui_loader import QUiLoader

OF_THE_MODULE = ("S3IMFusion", "S3IMFusionLib.parameters", "S3IMFusionLib.widget")


def _module(name, **attributes):
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    return module


def _base_modules():
    """Slicer's base classes: the originals of ``SLICER_BASE_PYTHON``, else the stand-ins."""
    if BASE_PYTHON:
        slicer.__path__.append(str(Path(BASE_PYTHON) / "slicer"))
        tree_view = type("qMRMLSubjectHierarchyTreeView", (), {})
        name = "qSlicerSubjectHierarchyModuleWidgetsPythonQt"
        return {name: _module(name, qMRMLSubjectHierarchyTreeView=tree_view)}
    wrapper = {name: getattr(parameter_node, name) for name in ("parameterNodeWrapper", "WithinRange")}
    return {
        "slicer.ScriptedLoadableModule": _module(
            "slicer.ScriptedLoadableModule", **{cls.__name__: cls for cls in CLASSES}
        ),
        "slicer.parameterNodeWrapper": _module("slicer.parameterNodeWrapper", **wrapper),
    }


def delete(widget):
    """Ends a panel for good: its selectors no longer watch the scene."""
    for selector in widget.findChildren(qMRMLNodeComboBox):
        selector.setMRMLScene(None)
    shiboken6.delete(widget)


@contextmanager
def in_place(scene, application_logic=None):
    """Puts the stand-ins where Slicer has the real classes, and removes them again.

    Yields:
        The :class:`Application`.
    """
    (Path(SETTINGS_FOLDER.name) / "Slicer.ini").unlink(missing_ok=True)
    application = Application(scene, application_logic)
    attributes = {
        **MRML,
        "app": application,
        "mrmlScene": scene,
        "modules": types.SimpleNamespace(s3imfusion=qSlicerScriptedLoadableModule()),
    }
    search_path = list(slicer.__path__)
    sys.path.insert(0, str(EXTENSION))
    for name, value in attributes.items():
        setattr(slicer, name, value)
    modules = {"qt": _module("qt", **QT, QUiLoader=QUiLoader), "ctk": _module("ctk", **CTK)}
    sys.modules.update(modules)
    bases = _base_modules()
    sys.modules.update(bases)
    try:
        yield application
    finally:
        for name in attributes:
            delattr(slicer, name)
        vars(slicer).pop("selfTests", None)
        sys.path.remove(str(EXTENSION))
        slicer.__path__[:] = search_path
        for name in (*modules, *bases, *OF_THE_MODULE):
            sys.modules.pop(name, None)
