"""Show a registration: its transform as a node, and a display copy of B under it, with B itself unchanged."""

from dataclasses import replace
from typing import Any

import numpy as np
import vtk

from .result import Placement, describe_node, fill_node
from .scene import Source, matrix_of, parent_matrix_of
from .study import put_into_study

ROLE = "S3IMFusion.Registration"
"""Role of the node reference from a fused volume to the transform from B to A."""

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def movement_of(record: Any) -> np.ndarray | None:
    """The matrix from B's points to A's, (4, 4), RAS mm; None if the pair was not registered.

    The record holds the inverse, as ITK does: from A's points to B's, LPS mm.
    """
    found = record.registration
    if found is None or found.matrix_lps is None:
        return None
    return np.linalg.inv(_RAS_TO_LPS @ np.array(found.matrix_lps, dtype=float) @ _RAS_TO_LPS)


def put_transform(scene: Any, movement: np.ndarray, pair: tuple[Source, Source], home: int, former: Any = None) -> Any:
    """Put a registration into the scene as a linear transform, named "B to A (S3IMFusion)" after the volumes.

    Args:
        scene: the scene.
        movement: from :func:`movement_of`; it becomes the transform to parent.
        pair: A and B.
        home: parent item in the subject hierarchy; 0: none.
        former: the transform of an earlier result, updated if it belongs to the same volumes; None: a new one.

    Returns:
        The node.
    """
    source_a, source_b = pair
    name = f"{source_b.name} to {source_a.name} (S3IMFusion)"
    references = {"SourceA": source_a.shown.GetID(), "SourceB": source_b.shown.GetID()}
    if former is not None and any(
        former.GetNodeReferenceID(f"S3IMFusion.{role}") != node_id for role, node_id in references.items()
    ):
        former = None
    node = former or scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", scene.GenerateUniqueName(name))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(movement.ravel().tolist())
    node.SetMatrixTransformToParent(matrix)
    describe_node(node, {}, references)
    put_into_study(node, home, {})
    return node


def placed(placement: Placement, reference: Source, pair: tuple[Source, Source], transform: Any) -> Placement:
    """The placement of a volume that was fused after registration.

    The result is in the space of A. On the grid of B it is therefore placed under the transform that moved B there.
    """
    found = replace(placement, references={**placement.references, "Registration": transform.GetID()})
    if reference is not pair[1]:
        return found
    series = dict(found.series)
    if reference.shown.GetParentTransformNode() is not None:
        series.pop("FrameOfReferenceUID", None)  # the grid differs from that of B's images
    return replace(found, ijk_to_ras=reference.to_world, transform_id=transform.GetID(), series=series)


def frame_matrix(record: Any, reference: Source, is_b: bool) -> np.ndarray:
    """IJKToRAS of a fused frame of a sequence, (4, 4), below the parent transform of its reference.

    Like a volume it is in the space of A: on the grid of a registered B, at the position to which that frame was moved.

    Args:
        record: the library's record of this frame.
        reference: the source that gives the grid of the frame.
        is_b: whether this is B.
    """
    movement = movement_of(record)
    if movement is None or not is_b:
        return matrix_of(reference.node)
    return np.linalg.inv(parent_matrix_of(reference.shown)) @ movement @ reference.to_world


def registered_copy(source_b: Any, fused: Any) -> Any:
    """A display-only copy of B under the registration transform of a fused volume.

    It shares B's voxels and copies B's current display. It is hidden from lists and trees and not saved with the scene;
    the caller removes it with :func:`remove_copy`.

    Returns:
        The node; None if B was not registered.
    """
    transform, scene = fused.GetNodeReference(ROLE), fused.GetScene()
    if transform is None or source_b.GetImageData() is None:
        return None
    copy = hidden_node(scene, source_b.GetClassName(), source_b.GetName())
    fill_node(copy, source_b.GetImageData(), parent_matrix_of(source_b) @ matrix_of(source_b))
    copy.SetAndObserveTransformNodeID(transform.GetID())
    display = source_b.GetDisplayNode()
    if display is not None:
        shown = hidden_node(scene, display.GetClassName(), display.GetName() or "")
        shown.CopyContent(display)
        shown.SetAndObserveColorNodeID(display.GetColorNodeID())
        copy.SetAndObserveDisplayNodeID(shown.GetID())
    return copy


def remove_copy(copy: Any) -> None:
    """Remove the nodes of :func:`registered_copy`, even if the user has removed some of them."""
    scene, display = copy.GetScene(), copy.GetDisplayNode()
    for node in (display, copy):
        if scene is not None and node is not None and node.GetScene() is scene:
            scene.RemoveNode(node)


def is_copy(node: Any) -> bool:
    """Whether a node is display-only, made by :func:`hidden_node`."""
    return bool(node.GetHideFromEditors()) and not node.GetSaveWithScene()


def hidden_node(scene: Any, class_name: str, name: str) -> Any:
    """A new node that is hidden from lists and trees and not saved with the scene."""
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(True)  # before it is added, so it gets no item in the subject hierarchy
    node.SetSaveWithScene(False)
    return scene.AddNode(node)
