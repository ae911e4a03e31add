"""Affines to test with, and geometry voxel by voxel."""

import itertools

import numpy as np
from monai.data import MetaTensor
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation


def an_affine(rotation=(0.0, 0.0, 0.0), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    """Voxel index to RAS mm: a rotation vector in degrees, spacing and origin in mm."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(rotation, degrees=True).as_matrix() * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


def a_volume(array, affine):
    """A MetaTensor of an array (X, Y, Z)."""
    return MetaTensor(np.array(array, dtype=np.float32, order="C")[None], affine=np.asarray(affine, dtype=np.float64))


def voxel_indices(shape):
    """(number of voxels, 3), in the order of the flattened array."""
    return np.array(list(itertools.product(*map(range, shape))), dtype=float)


def positions(shape, affine):
    """RAS mm of every voxel, (number of voxels, 3)."""
    return voxel_indices(shape) @ affine[:3, :3].T + affine[:3, 3]


def indices_of(points, affine):
    """Where RAS mm points lie among the voxels, (number of points, 3), not rounded."""
    return np.linalg.solve(affine[:3, :3], (points - affine[:3, 3]).T).T


def resampled(array, affine, shape, target):
    """Linear interpolation of (X, Y, Z) at every voxel of another grid; the edge value continues outside."""
    at = indices_of(positions(shape, target), affine)
    return map_coordinates(array.astype(float), at.T, order=1, mode="nearest").reshape(shape)


def in_field_of_view(shape_of_image, affine, shape, target, margin=0.5):
    """Which voxels of a grid lie in an image's field of view: up to ``margin`` voxels beyond the outermost centres."""
    at = indices_of(positions(shape, target), affine)
    inside = (at >= -margin) & (at <= np.asarray(shape_of_image) - 1 + margin)
    return inside.all(axis=1).reshape(shape)
