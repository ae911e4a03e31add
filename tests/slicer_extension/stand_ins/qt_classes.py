"""The module ``qt``: Qt's own classes by PySide6, with PythonQt's rules."""

import ctypes
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import PythonQt

QT_APPLICATION = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])  # outlives all widgets
SETTINGS_FOLDER = tempfile.TemporaryDirectory(prefix="s3im-settings-")  # never the user's own settings

if sys.version_info < (3, 12):
    # PySide6 6.12 gives away a reference to True with each emit() and disconnect(); Python would end when none is left.
    ctypes.c_ssize_t.from_address(id(True)).value += 1 << 30

WIDGETS = (
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
    "QToolButton",
    "QWidget",
)
PLAIN = {name: type(name, (PythonQt, getattr(QtWidgets, name)), {}) for name in WIDGETS}


class QTimer(PythonQt, QtCore.QTimer):
    """Qt's own."""


class QSettings(PythonQt, QtCore.QSettings):
    """Qt's own, in a file of the test run; without arguments it is the application's, as in Slicer."""

    def __init__(self, *arguments):
        file = str(Path(SETTINGS_FOLDER.name) / "Slicer.ini")
        super().__init__(*(arguments or (file, QtCore.QSettings.Format.IniFormat)))


OTHERS = {
    "QAction": QtGui.QAction,
    "QColor": QtGui.QColor,
    "QDesktopServices": QtGui.QDesktopServices,
    "QFile": QtCore.QFile,
    "QFormLayout": QtWidgets.QFormLayout,
    "QHBoxLayout": QtWidgets.QHBoxLayout,
    "QIcon": QtGui.QIcon,
    "QMenu": QtWidgets.QMenu,
    "QObject": QtCore.QObject,
    "QSizePolicy": QtWidgets.QSizePolicy,
    "QUrl": QtCore.QUrl,
    "QVBoxLayout": QtWidgets.QVBoxLayout,
    "Qt": QtCore.Qt,
}
QT = {**PLAIN, **OTHERS, "QSettings": QSettings, "QTimer": QTimer}
