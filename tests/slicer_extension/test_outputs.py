"""Files that ``s3im fuse`` writes, opened as Slicer opens them."""

from typing import Any

import numpy as np
import pytest
import torch
from scene_tools import load, matrix_of, voxels_of

from monai_s3im.formats.writing import write_image
from monai_s3im.transforms.movement import read_movement

OBLIQUE = np.array([[-1.8, 0.4, 0.0, 60.0], [0.3, 1.35, -0.9, -80.0], [0.2, 0.7, 2.6, 12.0], [0.0, 0.0, 0.0, 1.0]])


def right_angled(affine: np.ndarray) -> np.ndarray:
    """The affine with its axes made orthogonal, as files of scanners have them."""
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    result = affine.copy()
    result[:3, :3] = left @ right * np.linalg.norm(affine[:3, :3], axis=0)
    return result


def at_the_same_points(node: Any, values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of a node and of (C, I, J, K) values at the same points in mm: a reader may turn the axes round."""
    points = np.argwhere(np.ones(values.shape[1:], bool))
    to_node = np.linalg.inv(matrix_of(node)) @ affine
    indices = points @ to_node[:3, :3].T + to_node[:3, 3]
    np.testing.assert_allclose(indices, indices.round(), atol=1e-3)
    i, j, k = indices.round().astype(int).T
    return voxels_of(node)[k, j, i], values[:, *points.T].T


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_coloured_volume_has_its_colours_and_its_place(suffix, scene, tmp_path):
    affine = right_angled(OBLIQUE)
    colours = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 7), dtype=np.uint8)
    write_image(torch.from_numpy(colours / np.float32(255)), tmp_path / f"fused{suffix}", affine)
    node = load(scene, tmp_path / f"fused{suffix}", "fused", "vtkMRMLVectorVolumeNode")
    assert voxels_of(node).dtype == np.uint8
    found, expected = at_the_same_points(node, colours, affine)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_gray_volume_has_its_values_and_its_place(suffix, scene, tmp_path):
    affine = right_angled(OBLIQUE)
    values = np.random.default_rng(1).random((1, 5, 6, 7), dtype=np.float32)
    write_image(torch.from_numpy(values), tmp_path / f"fused{suffix}", affine)
    node = load(scene, tmp_path / f"fused{suffix}", "fused")
    found, expected = at_the_same_points(node, values, affine)
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-6)


def test_a_saved_movement_opens_as_a_transform(scene, tmp_path):
    import vtk

    from monai_s3im.formats.writing import write_transform

    turn = np.radians(12)
    movement = np.eye(4)
    movement[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    movement[:3, 3] = [4.0, -7.5, 11.0]
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    write_transform(flip @ movement @ flip, tmp_path / "fused.tfm")  # LPS, A's points to B's
    np.testing.assert_allclose(read_movement(tmp_path / "fused.tfm"), movement, atol=1e-12)
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "movement")
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(tmp_path / "fused.tfm"))
    assert storage.ReadData(node)
    to_parent = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(to_parent)
    found = np.array([[to_parent.GetElement(row, column) for column in range(4)] for row in range(4)])
    # ITK's transform takes points of the reference to the image; Slicer's brings the image to its parent
    np.testing.assert_allclose(found, np.linalg.inv(movement), atol=1e-9)
