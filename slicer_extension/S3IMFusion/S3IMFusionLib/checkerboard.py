"""A checkerboard of A and B: a display-only volume, to check that edges continue across fields."""

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .registration import hidden_node
from .result import fill_node, image_of, show_full_range
from .scene import matrix_of, parent_matrix_of

FIELD_MM = 25.0


def checkerboard_of(source_a: Any, source_b: Any, fused: Any) -> Any:
    """Alternate fields of A and B, as Slicer displays them now, on the grid of a fused volume.

    The fields are cubes of about 25 mm. The node is hidden and not saved with the scene; :func:`remove_copy` of
    ``registration.py`` removes it.

    Args:
        source_a: volume node with a display node.
        source_b: the same.
        fused: volume node that gives the grid and parent transform.

    Returns:
        The node, RGB.
    """
    to_world, dimensions = parent_matrix_of(fused) @ matrix_of(fused), fused.GetImageData().GetDimensions()
    spacing = np.linalg.norm(to_world[:3, :3], axis=0)
    k, j, i = (np.arange(count) * step // FIELD_MM for count, step in zip(dimensions[::-1], spacing[::-1], strict=True))
    is_b = (k[:, None, None] + j[:, None] + i) % 2 == 1
    voxels = _displayed_on(source_a, to_world, dimensions)
    np.copyto(voxels, _displayed_on(source_b, to_world, dimensions), where=is_b[..., None])
    node = hidden_node(fused.GetScene(), "vtkMRMLVectorVolumeNode", "Checkerboard")
    fill_node(node, image_of(voxels), matrix_of(fused))
    node.SetAndObserveTransformNodeID(fused.GetTransformNodeID())
    display = hidden_node(fused.GetScene(), "vtkMRMLVectorVolumeDisplayNode", "Checkerboard display")
    node.SetAndObserveDisplayNodeID(display.GetID())
    show_full_range(node)
    return node


def _displayed_on(source: Any, to_world: np.ndarray, dimensions: tuple[int, int, int]) -> np.ndarray:
    """A volume as displayed by Slicer, (K, J, I, 3) RGB, interpolated linearly on a grid, black outside."""
    to_source = np.linalg.inv(parent_matrix_of(source) @ matrix_of(source)) @ to_world
    matrix, transform, reslice = vtk.vtkMatrix4x4(), vtk.vtkTransform(), vtk.vtkImageReslice()
    matrix.DeepCopy(to_source.ravel().tolist())
    transform.SetMatrix(matrix)
    reslice.SetInputConnection(source.GetDisplayNode().GetOutputImageDataConnection())
    reslice.SetResliceTransform(transform)
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(0, dimensions[0] - 1, 0, dimensions[1] - 1, 0, dimensions[2] - 1)
    reslice.Update()
    colors = vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
    return np.ascontiguousarray(colors.reshape(*dimensions[::-1], -1)[..., :3])
