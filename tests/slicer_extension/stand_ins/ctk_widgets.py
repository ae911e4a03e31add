"""The module ``ctk``: the widgets of the panel, and the names of those that Slicer's own Python refers to."""

# ruff: noqa: N801, N802, N815 - names of CTK

import re

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .pythonqt import PythonQt
from .qt_classes import PLAIN

NAMED_ONLY = (
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkColorPickerButton",
    "ctkComboBox",
    "ctkDirectoryButton",
    "ctkDoubleRangeSlider",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
    "ctkRangeWidget",
)


def named_only(name):
    """A class that Slicer's own Python compares others with, and that the module does not use: it cannot be made."""

    def refuse(self, *arguments, **named):
        raise NotImplementedError(f"{name} has no stand-in")

    return type(name, (), {"__init__": refuse})


class ctkCollapsibleButton(PythonQt, QtWidgets.QAbstractButton):
    """A button that hides its children. Follows CTK, Libs/Widgets/ctkCollapsibleButton.cpp, lines 84 to 330.

    It is an abstract button, checked when it is open; ``contentsCollapsed`` is emitted only on a change. Unlike in
    the original, a child that is hidden while the button is closed is shown when it opens.
    """

    contentsCollapsed = Signal(bool)
    HEADER = 22

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed, self._hidden = False, []
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(4, self.HEADER, 4, 2)
        self.toggled.connect(lambda checked: self._collapse(not checked))

    def _collapse(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setMaximumHeight(self.HEADER if collapsed else 16777215)
        self._show_children()
        self.contentsCollapsed.emit(collapsed)

    def _show_children(self):
        if self._collapsed:
            children = [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]
            now_hidden = [child for child in children if not QtWidgets.QWidget.isHidden(child)]
            self._hidden += now_hidden
            for child in now_hidden:
                QtWidgets.QWidget.setVisible(child, False)
        else:
            for child in self._hidden:
                QtWidgets.QWidget.setVisible(child, True)
            self._hidden = []

    def showEvent(self, event):
        super().showEvent(event)
        self._show_children()  # ctkCollapsibleButton.cpp, line 124: not before the widget is created

    def sizeHint(self):
        return QtWidgets.QWidget.sizeHint(self)

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, QtWidgets.QWidget.width(self), self.HEADER - 3, QtGui.QColor("#dde2e8"))
        painter.drawText(6, 14, ("▸ " if self._collapsed else "▾ ") + self.text)

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, value: self.setChecked(not value))


class ctkSliderWidget(PythonQt, QtWidgets.QWidget):
    """A slider with a spin box. Follows CTK, Libs/Widgets/ctkSliderWidget.cpp, lines 178 to 420.

    The spin box rounds to its decimals and keeps the value in the range; ``valueChanged`` is emitted only on a change,
    also when a new range moves the value.
    """

    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._page_step, self._spin_box_visible = 10.0, True
        self._spin, self._slider = QtWidgets.QDoubleSpinBox(), QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._spin.setRange(0.0, 99.0)
        self._slider.setRange(0, 99)
        self._spin.valueChanged.connect(self._on_spin)
        self._slider.sliderMoved.connect(lambda position: self._spin.setValue(float(position)))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)

    def _on_spin(self, value):
        self._slider.setValue(round(value))
        self.valueChanged.emit(value)

    def _set_range(self, minimum, maximum):
        self._slider.setRange(round(minimum), round(maximum))
        self._spin.setRange(minimum, maximum)

    def _set_single_step(self, step):
        if step > 0:  # ctkSliderWidget.cpp, line 420: another step is refused with a warning
            self._spin.setSingleStep(step)

    minimum = Property(float, lambda self: self._spin.minimum(), lambda self, v: self._set_range(v, self.maximum))
    maximum = Property(float, lambda self: self._spin.maximum(), lambda self, v: self._set_range(self.minimum, v))
    singleStep = Property(float, lambda self: self._spin.singleStep(), _set_single_step)
    pageStep = Property(float, lambda self: self._page_step, lambda self, v: setattr(self, "_page_step", v))
    decimals = Property(int, lambda self: self._spin.decimals(), lambda self, v: self._spin.setDecimals(v))
    value = Property(float, lambda self: self._spin.value(), lambda self, v: self._spin.setValue(v))
    spinBoxVisible = Property(
        bool, lambda self: self._spin_box_visible, lambda self, v: setattr(self, "_spin_box_visible", v)
    )


class ctkPathLineEdit(PythonQt, QtWidgets.QWidget):
    """A path with a history. Follows CTK, Libs/Widgets/ctkPathLineEdit.cpp, lines 258 to 300 and 702 to 758.

    ``currentPathChanged`` is emitted with every keystroke, but only where the text is acceptable: it fits the name
    filters, or, without any, is not empty. An empty text is never acceptable. ``comboBox()`` can be called
    (ctkPathLineEdit.h, Q_INVOKABLE), and its line edit emits every change.
    """

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._filters, self._has_valid_input = [], False
        self._box, self._edit = PLAIN["QComboBox"](), PLAIN["QLineEdit"]()
        self._box.setEditable(True)
        self._box.setLineEdit(self._edit)
        self._box.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        self._box.setCompleter(None)
        self._set_filters([])
        self._edit.textChanged.connect(self._update_has_valid_input)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box, 1)
        layout.addWidget(QtWidgets.QToolButton(text="..."))

    def comboBox(self):
        return self._box

    def _set_filters(self, filters):
        self._filters = list(filters)
        pattern = QtCore.QRegularExpression(name_filters_to_pattern(self._filters))
        self._edit.setValidator(QtGui.QRegularExpressionValidator(pattern, self._edit))

    def _update_has_valid_input(self, _text):
        before, self._has_valid_input = self._has_valid_input, self._edit.hasAcceptableInput()
        if self._has_valid_input:
            self.currentPathChanged.emit(self._edit.text)
        if self._has_valid_input != before:
            self.validInputChanged.emit(self._has_valid_input)

    currentPath = Property(str, lambda self: self._edit.text, lambda self, v: self._edit.setText(v))
    nameFilters = Property("QStringList", lambda self: self._filters, _set_filters)


def name_filters_to_pattern(filters):
    """The texts that the name filters accept. Follows CTK, Libs/Core/ctkUtils.cpp, nameFiltersToRegExpPattern.

    The last letter of an extension is optional there: ``*.pt`` accepts ``a.p`` too.
    """
    in_brackets = [re.search(r"\(([^()]*)\)$", text) for text in filters]
    wildcards = " ".join(found[1] if found else text for text, found in zip(filters, in_brackets, strict=True))
    extensions = [found[1] for one in wildcards.split() if (found := re.search(r"\*\.(\w+)", one))]
    return "(" + "|".join(rf".*\.{extension}?$" for extension in extensions) + ")" if extensions else ".+"


MADE = (ctkCollapsibleButton, ctkPathLineEdit, ctkSliderWidget)
CTK = {**{cls.__name__: cls for cls in MADE}, **{name: named_only(name) for name in NAMED_ONLY}}
