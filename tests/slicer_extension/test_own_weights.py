"""The field for own weights: it can be cleared and edited, and no scene disables Apply without a reason."""

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

from PySide6 import QtCore, QtTest


@pytest.fixture
def own(tmp_path):
    """A file of weights; it is not read."""
    file = tmp_path / "own.pt"
    file.write_bytes(b"")
    return str(file)


@pytest.fixture
def pair(panel, add_volume):
    """Two volumes, chosen."""
    volumes = [add_volume(name, np.ones((8, 40, 40), np.int16)) for name in ("MR", "CT")]
    panel.enter()
    return volumes


@pytest.fixture
def edit(panel):
    """The line in which the user types."""
    return panel.ui.weights.comboBox().lineEdit()


def test_the_path_line_is_silent_where_ctks_is(panel, edit, own):
    heard = []
    panel.ui.weights.connect("currentPathChanged(QString)", heard.append)
    for text in ("/folder/own", "/folder/own.p", "/folder/own.pt", "/folder/own.ptx", "", own):
        edit.setText(text)
    assert heard == ["/folder/own.p", "/folder/own.pt", own]


def test_missing_weights_turn_apply_off_and_clearing_turns_it_on(panel, pair):
    panel.parameters.weights = "/elsewhere/own.pt"
    assert not panel.ui.applyButton.enabled
    assert "press Clear there" in panel.ui.applyButton.toolTip
    panel.ui.clearWeightsButton.click()
    assert panel.ui.applyButton.enabled


@pytest.mark.parametrize("way", ["keys", "button", "script"])
def test_own_weights_can_be_cleared(panel, pair, edit, own, way):
    panel.ui.weights.currentPath = own
    assert (panel.parameters.weights, panel.ui.clearWeightsButton.enabled) == (own, True)
    if way == "keys":
        edit.selectAll()
        QtTest.QTest.keyClick(edit, QtCore.Qt.Key.Key_Delete)
    elif way == "button":
        panel.ui.clearWeightsButton.click()
    else:
        panel.parameters.weights = ""
    assert (panel.parameters.weights, panel.ui.weights.currentPath) == ("", "")
    assert not panel.ui.clearWeightsButton.enabled
    assert panel.ui.applyButton.enabled


def test_what_is_shown_is_what_is_used_also_where_it_is_not_weights(panel, pair, edit):
    edit.setText("/folder/own.txt")
    assert panel.parameters.weights == "/folder/own.txt"
    assert not panel.ui.applyButton.enabled
    assert "own.txt do not exist" in panel.ui.applyButton.toolTip


def test_a_path_can_be_typed_in_the_middle(panel, edit):
    edit.setText("/folder/own.pt")
    edit.setCursorPosition(len("/folder/"))
    QtTest.QTest.keyClicks(edit, "new/")
    assert edit.text == panel.parameters.weights == "/folder/new/own.pt"
    assert edit.cursorPosition == len("/folder/new/")


def test_what_is_typed_is_not_overwritten_when_something_else_changes(panel, edit):
    edit.setText("/folder/own.pt")
    edit.setText("/folder/ow")
    panel.parameters.slice_batch = 3
    assert edit.text == "/folder/ow"


def test_a_scene_with_missing_weights_explains_why_apply_is_disabled(panel, scene, tmp_path):
    panel.parameters.weights = "/elsewhere/own.pt"
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    panel.parameters.weights = ""
    panel.ui.statusLabel.text = ""
    scene.Import()
    assert panel.parameters.weights == panel.ui.weights.currentPath == "/elsewhere/own.pt"
    reason = "The weights /elsewhere/own.pt do not exist: choose another file under Advanced, or press Clear there."
    assert panel.ui.statusLabel.text == reason
    panel.ui.clearWeightsButton.click()
    assert panel.parameters.weights == ""
