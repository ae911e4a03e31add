"""The colour node of a fused volume and its legend, in Slicer's own scene."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")

from S3IMFusionLib.color_bar import show_color_bar
from S3IMFusionLib.settings import FusionSettings
from scene_tools import voxels_of

from monai_s3im.evaluation import READING_GUARDS, reading_values
from monai_s3im.phantom import head_phantom
from monai_s3im.record import ColorBar

BAR = ColorBar([[level, 255 - level, 7] for level in range(256)], [0.0, 6.2], "SUV")
RGB = np.full((4, 5, 6, 3), 90, dtype=np.uint8)
KINDS = ("vtkMRMLColorTableNode", "vtkMRMLColorLegendDisplayNode", "vtkMRMLScalarVolumeDisplayNode")


def counts(scene):
    return [scene.GetNumberOfNodesByClass(kind) for kind in KINDS]


def legend_of(node):
    from slicer import vtkSlicerColorLogic

    return vtkSlicerColorLogic.GetColorLegendDisplayNode(node.GetNthDisplayNode(1))


def test_the_legend_has_the_colours_and_the_range_of_the_record(scene, add_volume):
    fused = add_volume("fused", RGB)
    own = fused.GetDisplayNode()
    show_color_bar(fused, BAR)
    legend = legend_of(fused)
    shown = legend.GetPrimaryDisplayNode()
    assert fused.GetDisplayNode() is own  # which shows the volume
    assert own.IsA("vtkMRMLVectorVolumeDisplayNode")
    # what vtkMRMLColorLegendDisplayableManager takes of a volume: window, level and colour node
    assert (shown.GetLevel() - shown.GetWindow() / 2, shown.GetLevel() + shown.GetWindow() / 2) == (0.0, 6.2)
    assert (legend.GetTitleText(), legend.GetMaxNumberOfColors()) == ("SUV", 256)
    table, color = shown.GetColorNode().GetLookupTable(), [0.0] * 4
    for index in (0, 100, 255):
        table.GetTableValue(index, color)
        assert np.rint(255 * np.array(color[:3])).tolist() == BAR.colors[index]
    assert shown.GetColorNode().GetColorName(255) == "6.2"


def test_the_legend_is_shown_where_the_volume_is(scene, add_volume):
    """The displayable manager asks for the volume of the legend's primary display node."""
    fused = add_volume("fused", RGB)
    show_color_bar(fused, BAR)
    assert legend_of(fused).GetDisplayableNode() is fused
    assert legend_of(fused).GetPrimaryDisplayNode().GetDisplayableNode() is fused
    assert legend_of(fused).GetVisibility()


def test_a_volume_that_is_filled_again_has_one_bar_and_a_gray_one_has_none(scene, add_volume):
    fused = add_volume("fused", RGB)
    before = counts(scene)
    show_color_bar(fused, BAR)
    once = counts(scene)
    assert once == [count + 1 for count in before]
    show_color_bar(fused, replace(BAR, range=[0.0, 3.0], unit=None))
    assert counts(scene) == once
    assert legend_of(fused).GetPrimaryDisplayNode().GetWindow() == 3.0
    assert legend_of(fused).GetTitleText() == "Uptake"
    show_color_bar(fused, None)
    assert counts(scene) == before
    assert fused.GetNumberOfDisplayNodes() == 1


@pytest.mark.parametrize(("blue", "is_kept"), [(7, True), (None, False)])
def test_colours_of_the_display_that_cannot_show_uptake_give_way_to_the_library_s(tmp_path, blue, is_kept):
    from S3IMFusionLib.worker_main import _with_fit_colors

    level = np.arange(256)
    colors = [level, level, level] if blue is None else [level, 255 - level, np.full(256, blue)]
    np.savetxt(tmp_path / "displayed.txt", np.stack(colors, -1), fmt="%d")
    settings = {"color_map": str(tmp_path / "displayed.txt"), "color_model": "lab"}
    expected = settings if is_kept else {**settings, "color_map": None}
    assert _with_fit_colors(settings) == expected
    (tmp_path / "displayed.txt").rename(tmp_path / "own.txt")  # which the user named
    settings["color_map"] = str(tmp_path / "own.txt")
    assert _with_fit_colors(settings) == settings


def test_a_scene_without_legends_gets_the_colour_node_alone(scene, add_volume, monkeypatch):
    """As that of the web page, whose toolbar shows the bar."""
    monkeypatch.setattr("S3IMFusionLib.color_bar._LEGEND", "vtkMRMLNoSuchNode")
    fused = add_volume("fused", RGB)
    before = counts(scene)
    show_color_bar(fused, BAR)
    assert counts(scene) == [before[0] + 1, *before[1:]]


@pytest.mark.parametrize("tracer", ["pet", "spect"])
def test_uptake_is_read_from_the_voxels_by_the_colour_node(logic, add_volume, tracer):
    """The guards of an observer who sees the fused volume and the legend, nothing else."""
    phantom = head_phantom((80, 96, 40), (2.4, 2.4, 4.0)).volumes
    mr, functional = (
        add_volume(name, phantom[key][0].numpy().T, phantom[key].affine.numpy())
        for name, key in (("MR T1", "t1"), (tracer.upper(), tracer))
    )
    fused, gray = (logic.process(mr, functional, settings=FusionSettings(gray=gray)) for gray in (False, True))
    bar = legend_of(fused).GetPrimaryDisplayNode()
    lower, upper = bar.GetLevel() - bar.GetWindow() / 2, bar.GetLevel() + bar.GetWindow() / 2
    table, colors = bar.GetColorNode().GetLookupTable(), np.zeros((3, 256))
    for index in range(256):
        table.GetColor(table.GetTableRange()[0] + index, colors[:, index])
    uptake = ((phantom[tracer].as_tensor() - lower) / (upper - lower)).clamp(0, 1)
    shown = torch.tensor(voxels_of(fused).T / 255)
    luma = torch.tensor(voxels_of(gray).T[None] / 10000)
    found = reading_values(shown, torch.tensor(colors), uptake, luma)
    assert {name: value for name, value in found.items() if not READING_GUARDS[name].holds(value)} == {}
