"""The tutorial in the README of the extension matches the panel's texts and the module's pictures.

The pictures are of the sample data: the panel by stand-ins of Slicer's widgets, the slices by Slicer's slice logic. To
update one, look at the new picture, whose path a failure gives, and copy it over.
"""

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
README = EXTENSION / "README.md"
PICTURES = EXTENSION / "Screenshots"
SIZE, FIELD_MM, HEIGHT_MM = 240, 204.0, 17.0
FADES = (-100, -50, 0, 50, 100)


def test_the_words_in_bold_are_on_the_panel():
    panel = ET.parse(EXTENSION / "S3IMFusion/Resources/UI/S3IMFusion.ui")  # noqa: S314 - our own file
    texts = {element.text for element in panel.iter("string")}
    code = (EXTENSION / "S3IMFusion/S3IMFusionLib/widget.py").read_text(encoding="utf-8")
    known = {text.rstrip(":") for text in texts if text} | set(re.findall(r'_\("([^"]+)"\)', code))
    slicers = {"Sample Data", "Extensions Manager", "PyTorch", "PyTorch Utils", "S3IMFusion", "S3IMFusionHead"}
    bold = set(re.findall(r"\*\*([^*]+)\*\*", README.read_text(encoding="utf-8")))
    assert len(bold) > 10
    assert bold - known - slicers == {"Research use only."}


def test_the_readme_says_what_was_run_where():
    text = README.read_text(encoding="utf-8")
    script = runpy.run_path(str(EXTENSION.parent / ".ci" / "slicer_base_classes.py"))
    assert "5.8.1, 5.10.0, 5.12.3 and main" in text
    assert list(script["TAGS"]) == ["5.8.1", "5.10.0", "5.12.3", "main"]
    assert "The module has never run in a Slicer application" in text
    assert "The pictures on this page are mock-ups" in text


def test_the_pictures_of_the_readme_are_there_and_small():
    names = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert {Path(name).parent for name in names} <= {Path("Screenshots"), Path("S3IMFusion/Resources/Icons")}
    for name in names:
        assert (EXTENSION / name).stat().st_size < 200_000


@pytest.fixture
def sample_volumes(scene, tmp_path):
    """The sample data, loaded as Slicer does."""
    from S3IMFusionLib.sample_data import NODE_NAMES, write_sample_data
    from scene_tools import load

    return [load(scene, file, name) for file, name in zip(write_sample_data(tmp_path), NODE_NAMES, strict=True)]


@pytest.fixture
def view_picture(application_logic):
    """Makes the picture of a view of the layout as Slicer shows it, (rows, columns, RGB)."""
    from scene_tools import picture_of

    return lambda name: picture_of(application_logic, name, SIZE, FIELD_MM, HEIGHT_MM)


def side_by_side(pictures, titles):
    row = Image.fromarray(np.concatenate(pictures, axis=1))
    draw = ImageDraw.Draw(row)
    for column, title in enumerate(titles):
        draw.text((column * pictures[0].shape[1] + 6, 5), title, fill=(255, 220, 120))
    return row


def compare(new, name, folder):
    """Equal except for rounding."""
    new.save(folder / name, optimize=True)
    old = np.asarray(Image.open(PICTURES / name).convert("RGB")).astype(int)
    assert old.shape == np.asarray(new).shape, f"{folder / name} and Screenshots/{name} differ in size"
    share = (np.abs(old - np.asarray(new)).max(axis=-1) > 3).mean()
    assert share < 2e-3, f"{share:.1%} of the pixels of {folder / name} are not those of Screenshots/{name}"


@pytest.mark.slow
def test_the_pictures_of_the_tutorial_are_those_of_the_sample_data(
    panel, sample_volumes, view_picture, tmp_path_factory
):
    from PySide6 import QtWidgets
    from scene_tools import finish

    new = tmp_path_factory.mktemp("pictures")
    ct = sample_volumes[1].GetDisplayNode()
    ct.SetAutoWindowLevel(False)
    ct.SetWindowLevel(80.0, 40.0)
    panel.enter()
    panel.ui.applyButton.click()
    finish(panel)
    for name, height in (("panel.png", 330), ("advanced.png", 700)):
        panel.ui.advancedCollapsibleButton.collapsed = name == "panel.png"
        panel.parent.resize(420, height)
        QtWidgets.QApplication.processEvents()
        assert panel.parent.grab().save(str(new / name))
        assert len(np.unique(np.asarray(Image.open(new / name).convert("L")))) > 20  # not blank; fonts differ

    views = ("S3IMFusionA", "S3IMFusionFused", "S3IMFusionB")
    three = side_by_side([view_picture(view) for view in views], ("A: MR", "fused", "B: CT"))
    faded = []
    for fade in FADES:
        panel.ui.fade.value = fade
        faded.append(view_picture("S3IMFusionFused")[::2, ::2])
    five = side_by_side(faded, ("A", "", "fused", "", "B"))
    three.save(new / "fused.png")
    five.save(new / "fade.png")
    compare(three, "fused.png", new)
    compare(five, "fade.png", new)
