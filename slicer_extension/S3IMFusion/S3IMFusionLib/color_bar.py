"""The colour bar of a fused volume: a colour node and its legend in the slice views."""

from typing import Any

from .i18n import _

_ROLE = "S3IMFusion.ColorTable"
_LEGEND = "vtkMRMLColorLegendDisplayNode"


def show_color_bar(node: Any, bar: Any) -> None:
    """Give a fused volume the colour bar of the library's record, or remove an earlier one.

    A legend shows the colours and the range of a display node. For a colour volume this is the range of its bytes, so a
    second, invisible display node holds colours and range.

    Args:
        node: the volume, in a scene and with its own display node.
        bar: ``color_bar`` of the library's record, or None.
    """
    _remove(node)
    if bar is None or not node.IsA("vtkMRMLVectorVolumeNode"):
        return
    scene, name = node.GetScene(), _("{name} uptake").format(name=node.GetName())
    colors = scene.AddNewNodeByClass("vtkMRMLColorTableNode", scene.GenerateUniqueName(name))
    colors.SetTypeToUser()
    colors.SetNumberOfColors(len(bar.colors))
    lower, upper = bar.range
    for index, rgb in enumerate(bar.colors):
        value = lower + (upper - lower) * index / (len(bar.colors) - 1)
        colors.SetColor(index, f"{value:.4g}", *(channel / 255 for channel in rgb), 1.0)
    node.SetNodeReferenceID(_ROLE, colors.GetID())
    if scene.IsNodeClassRegistered(_LEGEND):
        _add_legend(node, colors, bar)


def _add_legend(node: Any, colors: Any, bar: Any) -> None:
    scene, (lower, upper) = node.GetScene(), bar.range
    scale = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode", colors.GetName())
    scale.SetAutoWindowLevel(False)
    scale.SetWindowLevelMinMax(lower, upper)
    scale.SetAndObserveColorNodeID(colors.GetID())
    legend = scene.AddNewNodeByClass(_LEGEND, colors.GetName())
    legend.SetTitleText(bar.unit or _("Uptake"))
    legend.SetLabelFormat("%.4g")
    legend.SetMaxNumberOfColors(len(bar.colors))
    legend.SetAndObservePrimaryDisplayNode(scale)
    node.AddAndObserveDisplayNodeID(scale.GetID())
    node.AddAndObserveDisplayNodeID(legend.GetID())
    legend.Modified()  # adding it to a volume does not redraw the views


def _remove(node: Any) -> None:
    """Remove the colour node, its display node and legend."""
    colors = node.GetNodeReference(_ROLE)
    node.RemoveNodeReferenceIDs(_ROLE)
    if colors is None:
        return
    shown = [node.GetNthDisplayNode(index) for index in range(1, node.GetNumberOfDisplayNodes())]
    for display in shown:
        is_scale = display.GetColorNodeID() == colors.GetID()
        if display.IsA(_LEGEND) or is_scale:
            node.GetScene().RemoveNode(display)
    node.GetScene().RemoveNode(colors)
