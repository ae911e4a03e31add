"""The place of a fused volume in the patient's study, and its tags for Slicer's DICOM export.

Slicer's exporter (DICOMScalarVolumePlugin, CreateDICOMSeries) takes the tags of a series from attributes of its
subject-hierarchy item, and those of patient and study from the items above.
"""

from collections.abc import Mapping
from typing import Any

from .appearance import hierarchy_item
from .scene import Source

PREFIX = "DICOM."
STUDY_LEVEL, PATIENT_LEVEL = "Study", "Patient"
PRODUCT = "S3IMFusion"
_LONGEST_DESCRIPTION = 64  # letters of a DICOM LO
_FIRST_SERIES = 1000
_LARGEST_SERIES = 2**31 - 1


def home_of(reference: Source, other: Source) -> int:
    """Parent item of the result in the subject hierarchy: that of the reference, else the study of the other source.

    Returns:
        The item; 0 without a subject hierarchy, or if the reference has no item in it and the other no study.
    """
    hierarchy, item = hierarchy_item(reference.shown)
    if hierarchy is None:
        return 0
    home = hierarchy.GetItemParent(item) if item else 0
    if home and home != hierarchy.GetSceneItemID():
        return int(home)
    _, other_item = hierarchy_item(other.shown)
    return int((other_item and hierarchy.GetItemAncestorAtLevel(other_item, STUDY_LEVEL)) or home)


def series_tags(reference: Source, name: str) -> dict[str, str]:
    """DICOM tags of the fused series.

    The modality is "SC": CreateDICOMSeries refuses "OT", and would store it as CT with HU; for "SC" it writes a
    Secondary Capture. Number and frame of reference follow from those of the reference, if it has any.

    Args:
        reference: the source that gives the grid of the result.
        name: of the fused volume.
    """
    hierarchy, item = hierarchy_item(reference.shown)
    tags = {
        "Modality": "SC",
        "SeriesDescription": f"{PRODUCT} {name}"[:_LONGEST_DESCRIPTION],
        "SeriesNumber": str(_FIRST_SERIES),
        "Manufacturer": f"The {PRODUCT} developers",
        "Model": PRODUCT,
    }
    number = hierarchy.GetItemAttribute(item, f"{PREFIX}SeriesNumber") if item else ""
    if number.strip().isdigit() and int(number) <= _LARGEST_SERIES - _FIRST_SERIES:
        tags["SeriesNumber"] = str(_FIRST_SERIES + int(number))
    frame = hierarchy.GetItemAttribute(item, f"{PREFIX}FrameOfReferenceUID") if item else ""
    if frame:
        tags["FrameOfReferenceUID"] = frame
    return tags


def put_into_study(node: Any, home: int, tags: Mapping[str, str]) -> None:
    """Put a node under an item of the subject hierarchy, and set the DICOM tags on the node's item.

    Args:
        node: the volume node.
        home: the parent item; 0: keep the current one.
        tags: DICOM tags by name, without prefix.
    """
    hierarchy, item = hierarchy_item(node)
    if hierarchy is None:
        return
    item = item or hierarchy.CreateItem(home or hierarchy.GetSceneItemID(), node)
    if home:
        hierarchy.SetItemParent(item, home)
    for name, value in tags.items():
        hierarchy.SetItemAttribute(item, PREFIX + name, value)


def series_tags_of_item(hierarchy: Any, item: int) -> dict[str, str]:
    """The tags of a series that a user may edit before the export; the modality is not one of them."""
    names = (
        "SeriesDescription",
        "SeriesNumber",
        "SeriesDate",
        "SeriesTime",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
    )
    return {name: hierarchy.GetItemAttribute(item, PREFIX + name) for name in names}
