"""Loads the .ui file with the stand-ins in it."""

# ruff: noqa: N802 - names of Qt

import xml.etree.ElementTree as ET

from PySide6 import QtCore, QtUiTools, QtWidgets

from .ctk_widgets import CTK
from .mrml_widgets import MRML
from .qt_classes import PLAIN


class QUiLoader(QtUiTools.QUiLoader):
    """Makes the stand-ins, and connects them as the file says; only C++ understands its signatures."""

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
