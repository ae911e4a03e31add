"""Small stand-ins for what Slicer has and slicer-core has not: qt, ctk, MRML widgets, module base classes.

They follow PythonQt: a Qt property is an attribute (``lineEdit.text``), a signal is connected by its C++ signature
(``connect("clicked(bool)", f)``). What passes with them is not thereby tested in Slicer. The folder ``Base/Python`` of
Slicer's sources, named by ``SLICER_BASE_PYTHON``, takes the place of the base classes here.
"""

# ruff: noqa: N801, N802, N805, N815, PT018 - names of Qt and Slicer

import os
import sys
import types
import typing
import unittest
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import shiboken6
import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import Property, Signal

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension" / "S3IMFusion"
BASE_PYTHON = os.environ.get("SLICER_BASE_PYTHON")
QT_APPLICATION = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])  # outlives all widgets


_ASKED: set[tuple[int, str]] = set()


class PythonQt:
    """Properties as attributes, and ``connect`` by signature."""

    def __getattribute__(self, name):
        if name == "connect":
            return self._connect
        plain = super().__getattribute__
        is_asked = (id(self), name) in _ASKED  # Qt asks here whether Python has the property (3.12)
        if is_asked or name.startswith("_") or QtCore.QObject.metaObject(self).indexOfProperty(name) < 0:
            return plain(name)
        _ASKED.add((id(self), name))
        try:
            return QtCore.QObject.property(self, name)
        finally:
            _ASKED.discard((id(self), name))

    def __setattr__(self, name, value):
        if QtCore.QObject.metaObject(self).indexOfProperty(name) >= 0:
            QtCore.QObject.setProperty(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def name(self):
        return self.objectName

    def _connect(self, signature, slot):
        getattr(self, signature.partition("(")[0]).connect(slot)


def _pythonqt(name):
    return type(name, (PythonQt, getattr(QtWidgets, name)), {})


PLAIN = {
    name: _pythonqt(name)
    for name in (
        "QCheckBox",
        "QComboBox",
        "QDoubleSpinBox",
        "QFrame",
        "QLabel",
        "QLineEdit",
        "QPlainTextEdit",
        "QProgressBar",
        "QPushButton",
        "QSlider",
        "QSpinBox",
        "QTextEdit",
        "QWidget",
    )
}


class QTimer(PythonQt, QtCore.QTimer):
    pass


class ctkCollapsibleButton(PythonQt, QtWidgets.QWidget):
    contentsCollapsed = Signal(bool)
    HEADER = 22

    def __init__(self, parent=None):
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setContentsMargins(4, self.HEADER, 4, 2)

    def _get_text(self):
        return self._text

    def _set_text(self, text):
        self._text = text

    def _get_collapsed(self):
        return self._collapsed

    def _set_collapsed(self, collapsed):
        self._collapsed = collapsed
        self.setMaximumHeight(self.HEADER if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    text = Property(str, _get_text, _set_text)
    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, QtWidgets.QWidget.width(self), self.HEADER - 3, QtGui.QColor("#dde2e8"))
        painter.drawText(6, 14, ("▸ " if self._collapsed else "▾ ") + self._text)


class ctkSliderWidget(PythonQt, QtWidgets.QWidget):
    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._numbers = {"minimum": 0.0, "maximum": 99.0, "singleStep": 1.0, "pageStep": 10.0, "decimals": 2}
        self._spin_box_visible = True
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, 99)
        self._slider.valueChanged.connect(lambda value: self.valueChanged.emit(float(value)))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)

    def _number(name, kind=float):
        def write(self, value):
            self._numbers[name] = value
            self._slider.setRange(int(self._numbers["minimum"]), int(self._numbers["maximum"]))

        return Property(kind, lambda self: self._numbers[name], write)

    minimum, maximum = _number("minimum"), _number("maximum")
    singleStep, pageStep, decimals = _number("singleStep"), _number("pageStep"), _number("decimals", int)
    value = Property(float, lambda self: float(self._slider.value()), lambda self, v: self._slider.setValue(round(v)))
    spinBoxVisible = Property(
        bool, lambda self: self._spin_box_visible, lambda self, v: self.__dict__.update(_spin_box_visible=v)
    )


class ctkPathLineEdit(PythonQt, QtWidgets.QWidget):
    currentPathChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._edit, self._filters = QtWidgets.QLineEdit(), []
        self._edit.textChanged.connect(self.currentPathChanged)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit)
        layout.addWidget(QtWidgets.QToolButton(text="..."))

    currentPath = Property(str, lambda self: self._edit.text(), lambda self, v: self._edit.setText(v))
    nameFilters = Property("QStringList", lambda self: self._filters, lambda self, v: self.__dict__.update(_filters=v))


class qMRMLWidget(PythonQt, QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)

    def setMRMLScene(self, scene):
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(PythonQt, QtWidgets.QWidget):
    """Lists the nodes of its types; follows the scene."""

    currentNodeChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._values = {"nodeTypes": [], "hideChildNodeTypes": [], "noneDisplay": "None"}
        self._scene, self._nodes, self._tags = None, [], []
        self._box = QtWidgets.QComboBox()
        self._box.currentIndexChanged.connect(lambda index: self.currentNodeChanged.emit(self.currentNode()))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)

    def _stored(name, kind, default=None):
        return Property(
            kind, lambda self: self._values.get(name, default), lambda self, v: self._values.update({name: v})
        )

    nodeTypes, hideChildNodeTypes = _stored("nodeTypes", "QStringList"), _stored("hideChildNodeTypes", "QStringList")
    noneDisplay = _stored("noneDisplay", str)
    noneEnabled, addEnabled = _stored("noneEnabled", bool, False), _stored("addEnabled", bool, True)
    removeEnabled, renameEnabled = _stored("removeEnabled", bool, True), _stored("renameEnabled", bool, False)

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent) if scene else ()
        self._tags = [scene.AddObserver(event, lambda caller, event: self._refresh()) for event in events]
        self._refresh()

    def _refresh(self):
        current = self.currentNode()
        nodes = [
            node
            for kind in self._values["nodeTypes"]
            for node in (slicer.util.getNodesByClass(kind, self._scene) if self._scene else ())
            if not any(node.IsA(hidden) for hidden in self._values["hideChildNodeTypes"])
        ]
        self._nodes = [None, *nodes]
        self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems([self._values["noneDisplay"], *(node.GetName() for node in nodes)])
        self._box.setCurrentIndex(self._nodes.index(current) if current in nodes else 0)
        self._box.blockSignals(False)
        if self.currentNode() is not current:
            self.currentNodeChanged.emit(self.currentNode())

    def currentNode(self):
        index = self._box.currentIndex()
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node):
        self._box.setCurrentIndex(self._nodes.index(node) if node in self._nodes else 0)


CTK = {cls.__name__: cls for cls in (ctkCollapsibleButton, ctkPathLineEdit, ctkSliderWidget)}
MRML = {cls.__name__: cls for cls in (qMRMLNodeComboBox, qMRMLWidget)}


class QUiLoader(QtUiTools.QUiLoader):
    """Makes the stand-ins, and connects them as the file says, whose signatures only C++ understands."""

    def createWidget(self, name, parent=None, object_name=""):
        widget = {**PLAIN, **CTK, **MRML}[name](parent)
        QtCore.QObject.setObjectName(widget, object_name)
        return widget

    def load(self, file):
        tree = ET.fromstring(bytes(file.readAll()))  # noqa: S314 - our own file
        connections = tree.find("connections")
        tree.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(tree))
        widget = super().load(buffer)
        for connection in connections:
            names = {item.tag: item.text.partition("(")[0] for item in connection}
            receiver = widget.findChild(QtWidgets.QWidget, names["receiver"])
            getattr(widget, names["signal"]).connect(getattr(receiver, names["slot"]))
        return widget


class Application:
    """slicer.app: whether tests run, the logic of the views, and what was connected."""

    applicationName = "Slicer"

    def __init__(self, application_logic=None):
        self._application_logic = application_logic
        self.is_testing = True
        self.connected = []

    def testingEnabled(self):
        return self.is_testing

    def applicationLogic(self):
        return self._application_logic

    def layoutManager(self):
        return None

    def connect(self, signature, slot):
        self.connected.append((signature, slot))

    def setOverrideCursor(self, cursor):
        pass

    def restoreOverrideCursor(self):
        pass


class ModuleParent(PLAIN["QWidget"]):
    """The C++ side of a module's panel."""

    def __init__(self):
        super().__init__()
        self.__dict__["isEntered"] = True
        QtWidgets.QVBoxLayout(self)


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent or ModuleParent()
        self.layout = QtWidgets.QWidget.layout(self.parent)

    def setup(self):
        pass

    def resourcePath(self, name):
        return str(EXTENSION / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message, msec=0):
        pass


@dataclass
class WithinRange:
    minimum: float
    maximum: float


def parameterNodeWrapper(cls):
    """Typed fields on a parameter node; widgets must be of exactly the types that Slicer connects."""
    cls.fields = typing.get_type_hints(cls, include_extras=True)
    cls.defaults = {name: getattr(cls, name) for name in cls.fields if hasattr(cls, name)}
    cls.__init__ = _init_parameters
    cls.connectGui, cls.disconnectGui = _connect_gui, _disconnect_gui
    for name, annotated in cls.fields.items():
        setattr(cls, name, _field(name, annotated))
    return cls


def _init_parameters(self, node):
    self.parameterNode, self.guis = node, {}
    for name in self.fields:
        if not node.HasParameter(name):
            setattr(self, name, self.defaults.get(name))


def _plain_type(annotated):
    return typing.get_args(annotated)[0] if typing.get_origin(annotated) else annotated


def _range_of(annotated):
    return next((item for item in typing.get_args(annotated) if isinstance(item, WithinRange)), None)


def _field(name, annotated):
    kind, limits = _plain_type(annotated), _range_of(annotated)

    def read(self):
        if issubclass(kind, slicer.vtkMRMLNode):
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name)
        if issubclass(kind, Enum):
            return kind[text]
        return text == "True" if kind is bool else kind(text)

    def write(self, value):
        if issubclass(kind, slicer.vtkMRMLNode):
            assert value is None or isinstance(value, kind)
            self.parameterNode.SetParameter(name, "")
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
            return
        assert isinstance(value, (int, float) if kind is float else kind), (name, value)
        assert limits is None or limits.minimum <= value <= limits.maximum
        self.parameterNode.SetParameter(name, value.name if isinstance(value, Enum) else str(value))

    return property(read, write)


def _connect_gui(self, ui):
    widgets = {w.property("SlicerParameterName"): w for w in vars(ui).values() if w.property("SlicerParameterName")}
    connectors = []
    for name, widget in widgets.items():
        changed, read, write = _connector(widget, self.fields[name])
        write(getattr(self, name))

        def to_node(*ignored, name=name, read=read):
            if not self.updating:
                setattr(self, name, read())

        changed.connect(to_node)
        connectors.append((name, changed, to_node, write))

    def to_gui(caller, event):
        if not self.updating:
            self.updating = True
            for name, _changed, _to_node, write in connectors:
                write(getattr(self, name))
            self.updating = False

    self.updating = False
    tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, to_gui)
    self.guis[tag] = connectors
    return tag


def _disconnect_gui(self, tag):
    self.parameterNode.RemoveObserver(tag)
    for _name, changed, to_node, _write in self.guis.pop(tag):
        changed.disconnect(to_node)


def _connector(widget, annotated):
    kind, limits = _plain_type(annotated), _range_of(annotated)
    if issubclass(kind, slicer.vtkMRMLNode) and type(widget) is qMRMLNodeComboBox:
        widget.nodeTypes = [kind.__name__]
        return widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
    if kind is bool and type(widget) is PLAIN["QCheckBox"]:
        return widget.toggled, lambda: widget.checked, lambda value: setattr(widget, "checked", value)
    if issubclass(kind, Enum) and type(widget) is PLAIN["QComboBox"]:
        members = list(kind)
        widget.clear()
        for member in members:
            widget.addItem(member.label())
        return (
            widget.currentIndexChanged,
            lambda: members[widget.currentIndex],
            lambda value: setattr(widget, "currentIndex", members.index(value)),
        )
    exact = {int: PLAIN["QSpinBox"], float: ctkSliderWidget}
    assert limits is not None and type(widget) is exact[kind], f"no connector from {annotated} to {type(widget)}"
    widget.minimum, widget.maximum = limits.minimum, limits.maximum
    return widget.valueChanged, lambda: widget.value, lambda value: setattr(widget, "value", value)


def _module(name, **attributes):
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    return module


def _base_modules():
    if BASE_PYTHON:
        slicer.__path__.append(str(Path(BASE_PYTHON) / "slicer"))
        return {
            "qSlicerSubjectHierarchyModuleWidgetsPythonQt": _module(
                "qSlicerSubjectHierarchyModuleWidgetsPythonQt",
                qMRMLSubjectHierarchyTreeView=type("qMRMLSubjectHierarchyTreeView", (), {}),
            )
        }
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    base = _module("slicer.ScriptedLoadableModule", **{cls.__name__: cls for cls in classes})
    wrapper = _module("slicer.parameterNodeWrapper", parameterNodeWrapper=parameterNodeWrapper, WithinRange=WithinRange)
    return {base.__name__: base, wrapper.__name__: wrapper}


def delete(widget):
    """Ends a panel for good: its selectors no longer watch the scene."""
    for selector in widget.findChildren(qMRMLNodeComboBox):
        selector.setMRMLScene(None)
    shiboken6.delete(widget)


@contextmanager
def in_place(scene, application_logic=None):
    """Puts the stand-ins where Slicer has the real things, and takes them away again.

    Yields:
        The :class:`Application`.
    """
    application = Application(application_logic)
    qt = _module("qt", **PLAIN, QTimer=QTimer, QUiLoader=QUiLoader, QFile=QtCore.QFile, Qt=QtCore.Qt)
    modules = {"qt": qt, "ctk": _module("ctk", **CTK), **_base_modules()}
    attributes = {**MRML, "app": application, "mrmlScene": scene, "modules": types.SimpleNamespace()}
    search_path = list(slicer.__path__)
    sys.modules.update(modules)
    sys.path.insert(0, str(EXTENSION))
    for name, value in attributes.items():
        setattr(slicer, name, value)
    try:
        yield application
    finally:
        for name in attributes:
            delattr(slicer, name)
        sys.path.remove(str(EXTENSION))
        slicer.__path__[:] = search_path
        for name in (*modules, "S3IMFusion", "S3IMFusionLib.parameters", "S3IMFusionLib.widget"):
            sys.modules.pop(name, None)
