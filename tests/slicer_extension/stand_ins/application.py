"""slicer.app, its layout manager and its module manager, and the C++ sides of a module."""

# ruff: noqa: N801, N802, N815 - names of Slicer

import sys
import types

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .paths import EXTENSION
from .pythonqt import PythonQt, refuse_unknown_attributes
from .qt_classes import QSettings


class qSlicerLayoutManager(PythonQt, QtCore.QObject):
    """Follows Libs/MRML/Widgets/qMRMLLayoutManager.cxx, lines 1097 to 1147, on Slicer's own layout node."""

    layoutChanged = Signal(int)

    def __init__(self, scene):
        super().__init__()
        self._scene = scene

    def _node(self):
        return self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")

    layout = Property(
        int,
        lambda self: self._node().GetViewArrangement() if self._node() is not None else 0,
        lambda self, number: self.setLayout(number),
    )

    def setLayout(self, number):
        node = self._node()
        if node is None or self.layout == number:
            return
        if not node.IsLayoutDescription(number):
            number = node.SlicerLayoutConventionalView
        node.RemoveAllMaximizedViewNodes()
        node.SetViewArrangement(number)
        self.layoutChanged.emit(number)

    def addMaximizedViewNode(self, view):
        self._node().AddMaximizedViewNode(view)

    def layoutLogic(self):
        return types.SimpleNamespace(GetLayoutNode=self._node)


class qSlicerModuleManager(PythonQt, QtCore.QObject):
    """Follows Base/QTCore/qSlicerModuleManager.h: the signal that notifies a module's panel of its end."""

    moduleAboutToBeUnloaded = Signal(str)


class Application(PythonQt, QtCore.QObject):
    """slicer.app: Base/QTGUI/qSlicerApplication.h and Base/QTCore/qSlicerCoreApplication.h.

    A test may set ``is_testing``, and reads from ``connected`` what was connected.
    """

    startupCompleted = Signal()

    def __init__(self, scene, application_logic=None):
        super().__init__()
        own = {
            "is_testing": True,
            "connected": [],
            "_application_logic": application_logic,
            "_layout_manager": qSlicerLayoutManager(scene),
            "_module_manager": qSlicerModuleManager(),
        }
        vars(self).update(own)

    applicationName = Property(str, lambda self: "Slicer")

    def __setattr__(self, name, value):
        if name in vars(self):
            vars(self)[name] = value
        else:
            super().__setattr__(name, value)

    def _connect(self, signature, slot):
        self.connected.append((signature, slot))
        return super()._connect(signature, slot)

    def testingEnabled(self):
        return self.is_testing

    def applicationLogic(self):
        return self._application_logic

    def layoutManager(self):
        return self._layout_manager

    def moduleManager(self):
        return self._module_manager

    def settings(self):
        return QSettings()

    def userSettings(self):
        return QSettings()

    def translate(self, context, text):
        return text

    def moduleDocumentationUrl(self, module):
        return f"https://slicer.readthedocs.io/en/latest/user_guide/modules/{module.lower()}.html"

    def processEvents(self):
        QtWidgets.QApplication.processEvents()

    def setOverrideCursor(self, cursor):
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        QtWidgets.QApplication.restoreOverrideCursor()


@refuse_unknown_attributes
class qSlicerScriptedLoadableModule:
    """The C++ side of a module. Follows Base/QTGUI/qSlicerScriptedLoadableModule.h, lines 36 to 51.

    ``widgetRepresentation`` is of Base/QTCore/qSlicerAbstractCoreModule.h; here it is what was made, or None.
    """

    def __init__(self, name="S3IMFusion"):
        self.name, self.path = name, str(EXTENSION / f"{name}.py")
        self.title = self.helpText = self.acknowledgementText = ""
        self.categories, self.contributors, self.dependencies, self.associatedNodeTypes = [], [], [], []
        self.extensions, self.icon, self.hidden, self.index = {}, None, False, -1
        self._widget = None

    def widgetRepresentation(self):
        return self._widget


class qSlicerScriptedLoadableModuleWidget(PythonQt, QtWidgets.QWidget):
    """The C++ side of a module's panel. Follows Base/QTGUI/qSlicerScriptedLoadableModuleWidget.cxx, lines 79 to 230.

    It has a vertical layout; ``isEntered`` is true from before the panel's ``enter`` to before its ``exit``
    (qSlicerAbstractModuleWidget.cxx, lines 54 to 67), and neither is called twice.
    """

    def __init__(self, parent=None):
        super().__init__(parent)
        self._is_entered, self._panel = False, None
        QtWidgets.QVBoxLayout(self)

    isEntered = Property(bool, lambda self: self._is_entered)

    def make(self, widget_class):
        """What Slicer does when the module is opened for the first time: makes the panel and calls its ``setup``."""
        self._panel = widget_class(self)
        setattr(slicer.modules, widget_class.__name__, self._panel)
        slicer.modules.s3imfusion._widget = self
        self._panel.setup()
        return self._panel

    def reload(self):
        """Lines 189 to 198: the panel of the current source, which is set up and not entered again."""
        self.make(sys.modules["S3IMFusion"].S3IMFusionWidget)

    def enter(self):
        assert not self._is_entered
        self._is_entered = True
        self._panel.enter()

    def exit(self):
        assert self._is_entered
        self._is_entered = False
        self._panel.exit()
