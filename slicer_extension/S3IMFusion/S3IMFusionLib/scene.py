"""A volume node as a source: content, position, and problems that prevent fusing it.

Geometry is given in RAS mm of the world: a node's IJKToRAS, then its parent transforms. Nodes are only read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .appearance import FUNCTIONAL, modality_said, shown_colors_of
from .i18n import _


@dataclass(frozen=True)
class Source:
    """A volume node of the scene, as a source.

    Attributes:
        node: the node.
        shown: the node that shows it: the same, or for a frame of a sequence its proxy node.
        name: its name.
        shape: voxels along I, J, K.
        to_world: (4, 4), from (I, J, K) to RAS mm of the world.
        modality: as given, else from the node; None: the library guesses from the voxels.
        colors: (256, 3) R, G, B of 0 to 255, in which Slicer shows a functional volume; None: gray, or not functional.
        modality_by: ``"user"``, or the origin, see :func:`.appearance.modality_said`; ``"values"`` includes colour.
    """

    node: Any
    shown: Any
    name: str
    shape: tuple[int, int, int]
    to_world: np.ndarray
    modality: str | None
    colors: np.ndarray | None
    modality_by: str = "values"

    def write(self, path: Path) -> dict[str, Any]:
        """Write the voxels as .npy; return the source's description for the process."""
        np.save(path, voxels_of(self.node))
        return {"path": str(path), "affine": self.to_world.tolist(), **self._said()}

    def _said(self) -> dict[str, Any]:
        return {"modality": self.modality, "modality_by": self.modality_by}


def problems_of(node: Any, letter: str) -> list[str]:
    """Problems that prevent fusing a node, in sentences.

    Args:
        node: volume node, or None.
        letter: ``"A"`` or ``"B"``.
    """
    if node is None:
        return [_("Choose volume {letter}.").format(letter=letter)]
    name = _("Volume {letter}, '{name}',").format(letter=letter, name=node.GetName())
    if node.IsA("vtkMRMLSequenceNode"):
        return [_("{name} is a sequence: choose the volume of one time point.").format(name=name)]
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        return [_("{name} is not a volume: choose a scalar or colour volume.").format(name=name)]
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return [_("{name} is a label map, not an image: choose an image.").format(name=name)]
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        return [_("{name} is empty: load or choose another volume.").format(name=name)]
    problems = []
    components, kind = image.GetNumberOfScalarComponents(), image.GetScalarTypeAsString()
    is_colour = components in {3, 4} and kind in {"unsigned char", "unsigned short"}
    if node.IsA("vtkMRMLMultiVolumeNode") or node.IsA("vtkMRMLDiffusionWeightedVolumeNode"):
        problems.append(
            _("{name} is 4D with {components} frames: choose one frame, as a separate volume.").format(
                name=name, components=components
            )
        )
    elif components > 1 and not (node.IsA("vtkMRMLVectorVolumeNode") and is_colour):
        problems.append(
            _("{name} has {components} values of type {kind} per voxel and is not RGB: choose another volume.").format(
                name=name, components=components, kind=kind
            )
        )
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        problems.append(
            _(
                "{name} has the nonlinear parent transform '{transform}': harden it on the volume first "
                "(Data module, right-click on the volume's transform, Harden transform)."
            ).format(name=name, transform=transform.GetName())
        )
    elif abs(np.linalg.det((parent_matrix_of(node) @ matrix_of(node))[:3, :3])) < 1e-12:
        problems.append(_("{name} has degenerate axes: repair its spacing or transform.").format(name=name))
    return problems


def source_of(
    node: Any, modality: str | None = None, shown_as: Any = None, name: str | None = None, partner: Any = None
) -> Source:
    """A node as a source.

    Args:
        node: volume node that passes :func:`problems_of`.
        modality: None: from the node's DICOM modality, its name, or else its colours.
        shown_as: the proxy node of a sequence's frame, which gives transform, name and colours.
        name: None: that of the node.
        partner: the other node of the pair, see :func:`.appearance.guess_modality`.
    """
    shown = shown_as or node
    colors = shown_colors_of(shown)
    said, said_by = (modality, "user") if modality else modality_said(shown, partner)
    modality = said or ("pet" if colors is not None else None)
    to_world = parent_matrix_of(shown) @ matrix_of(node)
    colors = colors if modality in FUNCTIONAL else None
    shape = node.GetImageData().GetDimensions()
    return Source(node, shown, name or shown.GetName() or shown.GetID(), shape, to_world, modality, colors, said_by)


def voxels_of(node: Any) -> np.ndarray:
    """The voxels, (K, J, I), or (K, J, I, components); shared with the node."""
    image = node.GetImageData()
    array = vtk_to_numpy(image.GetPointData().GetScalars())
    return array.reshape(*reversed(image.GetDimensions()), *array.shape[1:])


def matrix_of(node: Any) -> np.ndarray:
    """IJKToRAS, (4, 4), without the parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return _array_of(matrix)


def parent_matrix_of(node: Any) -> np.ndarray:
    """The product of a node's linear parent transforms, to the world, (4, 4), RAS mm."""
    transform, to_world = node.GetParentTransformNode(), vtk.vtkMatrix4x4()
    if transform is not None:
        transform.GetMatrixTransformToWorld(to_world)
    return _array_of(to_world)


def _array_of(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def do_overlap(source_a: Source, source_b: Source) -> bool:
    """Whether the fields of view of two sources overlap: no plane separates the two parallelepipeds."""
    boxes = [_corners(source) for source in (source_a, source_b)]
    edges = [source.to_world[:3, :3].T for source in (source_a, source_b)]  # one row each for I, J, K
    normals = [np.cross(edge[i], edge[j]) for edge in edges for i, j in ((0, 1), (1, 2), (2, 0))]
    normals += [np.cross(one, other) for one in edges[0] for other in edges[1]]
    for normal in normals:
        length = np.linalg.norm(normal)
        if length < 1e-9:
            continue
        (low_a, high_a), (low_b, high_b) = ((extent.min(), extent.max()) for extent in (box @ normal for box in boxes))
        if high_a <= low_b or high_b <= low_a:
            return False
    return True


def _corners(source: Source) -> np.ndarray:
    ends = np.array(np.meshgrid(*([-0.5, extent - 0.5] for extent in source.shape))).reshape(3, -1)
    return (source.to_world[:3, :3] @ ends + source.to_world[:3, 3:]).T
