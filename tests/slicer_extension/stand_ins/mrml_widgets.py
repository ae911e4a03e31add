"""The MRML widgets of the panel, and the names of those that Slicer's own Python refers to."""

# ruff: noqa: N801, N802, N805, N815, RUF012 - names of Slicer

import slicer
import slicer.util
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .ctk_widgets import named_only
from .pythonqt import PythonQt

NAMED_ONLY = ("qMRMLRangeWidget", "qMRMLScreenShotDialog", "qMRMLSliderWidget", "qMRMLSpinBox", "qSlicerWidget")


class qMRMLWidget(PythonQt, QtWidgets.QWidget):
    """A widget with a scene. Follows Libs/MRML/Widgets/qMRMLWidget.cxx, lines 51 to 77."""

    mrmlSceneChanged = Signal(object)
    CPP_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene


class qMRMLNodeComboBox(PythonQt, QtWidgets.QWidget):
    """Lists the nodes of its types. Follows Libs/MRML/Widgets/qMRMLNodeComboBox.cxx, lines 78 to 941.

    It is disabled without a scene (line 866), emits ``currentNodeChanged`` twice, with the node and with whether there
    is one (lines 740 and 741), and only on a change; a node that it does not list is None (line 924). Hidden nodes are
    not listed (qMRMLSortFilterProxyModel.cxx, showHidden).
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    CPP_SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_valid_node_changed",
    }
    _valid_node_changed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._values = {"nodeTypes": [], "hideChildNodeTypes": [], "noneDisplay": "None"}
        self._scene, self._nodes, self._tags = None, [], []
        self._box = QtWidgets.QComboBox()
        self._box.currentIndexChanged.connect(lambda index: self._emit())
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self.setEnabled(False)

    def _stored(name, kind, default=None):
        def write(self, value):
            self._values[name] = value
            self._refresh()

        return Property(kind, lambda self: self._values.get(name, default), write)

    nodeTypes, hideChildNodeTypes = _stored("nodeTypes", "QStringList"), _stored("hideChildNodeTypes", "QStringList")
    noneDisplay = _stored("noneDisplay", str)
    noneEnabled, addEnabled = _stored("noneEnabled", bool, False), _stored("addEnabled", bool, True)
    removeEnabled, renameEnabled = _stored("removeEnabled", bool, True), _stored("renameEnabled", bool, False)
    editEnabled, showHidden = _stored("editEnabled", bool, False), _stored("showHidden", bool, False)

    def _emit(self):
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self._valid_node_changed.emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent) if scene else ()
        self._tags = [scene.AddObserver(event, lambda caller, event: self._refresh()) for event in events]
        self._refresh()
        self.setEnabled(scene is not None)

    def mrmlScene(self):
        return self._scene

    def _refresh(self):
        current = self.currentNode()
        self._nodes = [None] if self.noneEnabled else []
        self._nodes += [node for node in self._nodes_of_scene() if self._is_listed(node)]
        self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems([self.noneDisplay if node is None else node.GetName() for node in self._nodes])
        self._box.setCurrentIndex(self._nodes.index(current) if current in self._nodes else self._none_index())
        self._box.blockSignals(False)
        if self.currentNode() is not current:
            self._emit()

    def _nodes_of_scene(self):
        kinds = self.nodeTypes if self._scene is not None else ()
        return [node for kind in kinds for node in slicer.util.getNodesByClass(kind, self._scene)]

    def _is_listed(self, node):
        is_hidden = bool(node.GetHideFromEditors()) and not self.showHidden
        return not is_hidden and not any(node.IsA(kind) for kind in self.hideChildNodeTypes)

    def _none_index(self):
        return 0 if self.noneEnabled else -1

    def nodeCount(self):
        return sum(node is not None for node in self._nodes)

    def nodeFromIndex(self, index):
        return [node for node in self._nodes if node is not None][index]

    def currentNode(self):
        index = self._box.currentIndex()
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node):
        self._box.setCurrentIndex(self._nodes.index(node) if node in self._nodes else self._none_index())

    def setCurrentNodeID(self, node_id):
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene is not None and node_id else None)


MADE = (qMRMLNodeComboBox, qMRMLWidget)
MRML = {**{cls.__name__: cls for cls in MADE}, **{name: named_only(name) for name in NAMED_ONLY}}
