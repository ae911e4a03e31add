"""The typed parameter node. Follows Base/Python/slicer/parameterNodeWrapper/wrapper.py, lines 130 to 360.

The types are those of serializers.py (nodes, enumerations, plain values), the connections those of guiConnectors.py,
which ask for exactly these classes of widgets.
"""

# ruff: noqa: N802 - names of Slicer

import typing
from dataclasses import dataclass
from enum import Enum

import slicer
import slicer.util
import vtk

from .ctk_widgets import ctkSliderWidget
from .mrml_widgets import qMRMLNodeComboBox
from .qt_classes import PLAIN


@dataclass
class WithinRange:
    """Follows validators.py, lines 83 to 95: a value out of the range is a ValueError."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


def parameterNodeWrapper(cls):
    """Typed fields on a parameter node."""
    cls.allParameters = typing.get_type_hints(cls, include_extras=True)
    cls._defaults = {name: getattr(cls, name) for name in cls.allParameters if hasattr(cls, name)}
    cls.__init__, cls._is_parameter_node_wrapper = _initialise, True
    cls.connectGui, cls.disconnectGui = _connect_gui, _disconnect_gui
    cls.StartModify = lambda self: self.parameterNode.StartModify()
    cls.EndModify = lambda self, was_modified: self.parameterNode.EndModify(was_modified)
    for name, annotated in cls.allParameters.items():
        setattr(cls, name, _field(name, annotated))
    return cls


def _initialise(self, node):
    self.parameterNode, self._guis, self._updating = node, {}, False
    for name in self.allParameters:
        if not node.HasParameter(name):
            setattr(self, name, self._defaults.get(name))
        getattr(self, name)  # an unknown value ends here: wrapper.py, line 87


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
            if text not in kind.__members__:  # serializers.py, line 1093
                raise ValueError(f"Found {text!r} in parameter node but it is not a name in {kind!r}")
            return kind[text]
        return text == "True" if kind is bool else kind(text)

    def write(self, value):
        if issubclass(kind, slicer.vtkMRMLNode):
            _check_type(name, value, (kind, type(None)))
            self.parameterNode.SetParameter(name, "")
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
            return
        _check_type(name, value, (int, float) if kind is float else kind)
        if limits is not None:
            limits.validate(value)
        self.parameterNode.SetParameter(name, value.name if isinstance(value, Enum) else str(value))

    return property(read, write)


def _check_type(name, value, kinds):
    if not isinstance(value, kinds):  # validators.py, IsInstance
        raise TypeError(f"{name}: expected {kinds}, got {value!r}")


def _connect_gui(self, ui):
    widgets = {w.property("SlicerParameterName"): w for w in vars(ui).values() if w.property("SlicerParameterName")}
    connectors = []
    for name, widget in widgets.items():
        changed, read, write = _connector(widget, self.allParameters[name])
        write(getattr(self, name))

        def to_node(*ignored, name=name, read=read):
            with slicer.util.NodeModify(self):
                if not self._updating:
                    setattr(self, name, read())

        changed.connect(to_node)
        connectors.append((name, changed, to_node, write))

    def to_gui(caller, event):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for name, _changed, _to_node, write in connectors:
                    write(getattr(self, name))
        finally:
            self._updating = False

    tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, to_gui)
    self._guis[tag] = connectors
    return tag


def _disconnect_gui(self, tag):
    if tag in self._guis:
        self.parameterNode.RemoveObserver(tag)
        for _name, changed, to_node, _write in self._guis.pop(tag):
            changed.disconnect(to_node)


def _connector(widget, annotated):
    kind, limits = _plain_type(annotated), _range_of(annotated)
    if issubclass(kind, slicer.vtkMRMLNode) and type(widget) is qMRMLNodeComboBox:
        widget.nodeTypes = [kind.__name__]
        return widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
    if kind is bool and type(widget) is PLAIN["QCheckBox"]:
        return widget.stateChanged, lambda: widget.checked, lambda value: setattr(widget, "checked", value)
    if issubclass(kind, Enum) and type(widget) is PLAIN["QComboBox"]:
        return _enum_connector(widget, kind)
    if kind is str and type(widget) is PLAIN["QLineEdit"]:
        return widget.textChanged, lambda: widget.text, lambda value: setattr(widget, "text", value)
    exact = {int: PLAIN["QSpinBox"], float: ctkSliderWidget}
    if limits is None or type(widget) is not exact.get(kind):
        raise RuntimeError(
            f"Unable to create GUI connector from datatype '{annotated}' to widget type '{type(widget)}'"
        )
    widget.minimum, widget.maximum = limits.minimum, limits.maximum
    return widget.valueChanged, lambda: widget.value, lambda value: setattr(widget, "value", value)


def _enum_connector(widget, kind):
    members = list(kind)
    widget.clear()
    for member in members:
        widget.addItem(member.label())
    return (
        widget.currentIndexChanged,
        lambda: members[widget.currentIndex],
        lambda value: setattr(widget, "currentIndex", members.index(value)),
    )
