"""The modality of a volume node, and its display in Slicer."""

from typing import Any

import numpy as np

from .i18n import _
from .paths import library_module

_TABLE = library_module("modalities")
_RECOGNITION = library_module("recognition")

FUNCTIONAL = _TABLE.FUNCTIONAL
"""Modalities shown in colour."""

_DICOM_MODALITY = "DICOM.Modality"
_COLORS = 256


def guess_modality(node: Any, partner: Any = None) -> str | None:
    """The modality that :func:`modality_said` finds; None if unknown."""
    return modality_said(node, partner)[0]


def modality_said(node: Any, partner: Any = None) -> tuple[str | None, str]:
    """The modality of a node and its origin: from DICOM attributes, else recognised by the library from names.

    Args:
        node: the node.
        partner: the other node of the pair; a folder with the files of both is ignored.

    Returns:
        The modality and its origin, ``"dicom"``, ``"name"``, ..., as in a record; None and ``"values"`` if unknown.
    """
    tag = node.GetAttribute(_DICOM_MODALITY)
    hierarchy, item = hierarchy_item(node)
    while item and not tag:
        tag = hierarchy.GetItemAttribute(item, _DICOM_MODALITY)
        item = hierarchy.GetItemParent(item)
        item = item if item != hierarchy.GetSceneItemID() else 0
    if (found := _TABLE.modality_of_dicom(tag or "")) is not None:
        return str(found.name), "dicom"
    said = _RECOGNITION.recognise(_file_of(node), partner and _file_of(partner), node.GetName())
    return (said.modality.name, said.by) if said else (None, "values")


def _file_of(node: Any) -> str | None:
    """The file from which a node was loaded or to which it was saved; None without one."""
    storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    return (storage.GetFileName() or None) if storage is not None else None


def shown_colors_of(node: Any) -> np.ndarray | None:
    """The colours in which Slicer shows a scalar volume, from its lowest to its highest value; None if gray."""
    display = node.GetDisplayNode()
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        return None
    color_node = display.GetColorNode()
    colors = color_node.GetScalarsToColors() if color_node is not None else None
    if colors is None or node.GetImageData().GetNumberOfScalarComponents() > 1:
        return None
    shown = np.zeros((_COLORS, 3))
    for row, value in zip(shown, np.linspace(*colors.GetRange(), _COLORS), strict=True):
        colors.GetColor(value, row)
    table = np.rint(255 * shown).astype(np.uint8)
    table = table[::-1] if display.GetInvertDisplayScalarRange() else table
    return None if (table == table[:, :1]).all() else table


def shown_window_of(node: Any) -> tuple[float, float] | None:
    """The window in which Slicer shows a volume, (lower, upper) in the volume's unit; None if it is not shown."""
    display = node.GetDisplayNode()
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode") or not display.GetWindow() > 0:
        return None
    return display.GetLevel() - display.GetWindow() / 2, display.GetLevel() + display.GetWindow() / 2


def ct_range_of(record: Any) -> str:
    """The range of the CT in a fused volume, such as ``"0 to 80 HU (brain)"``, from the library's record.

    Empty if no
    source is a CT in HU; the name is included if the range was chosen by content.
    """
    for source in record.sources.values():
        if source.modality == "ct":
            lower, upper = source.intensity_range
            name = {"brain": _("brain"), "soft_tissue": _("soft tissue")}.get(source.ct_window)
            text = _("{lower:g} to {upper:g} HU ({name})") if name else _("{lower:g} to {upper:g} HU")
            return text.format(lower=lower, upper=upper, name=name)
    return ""


def hierarchy_item(node: Any) -> tuple[Any, int]:
    """The subject hierarchy and the node's item in it; None and 0 without them."""
    scene = node.GetScene()
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") if scene is not None else None
    return hierarchy, hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
