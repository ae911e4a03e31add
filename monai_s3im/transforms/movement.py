"""A movement: the matrix from points of the reference to the corresponding points of the other volume."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import isfile

from .meta import like

_LARGEST_MM, _MOST_SCALING = 1e6, 1e3
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    """A linear ITK transform of three dimensions as a matrix, (4, 4), in its coordinates."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - matrix[:3, 3]
    return matrix


def affine_transform(matrix: NDArray[np.float64]) -> sitk.AffineTransform:
    """A matrix, (4, 4), as an ITK transform in the same coordinates."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def ras_to_lps(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same movement, (4, 4), between LPS (ITK, DICOM) and RAS (NIfTI, here); in either direction."""
    return np.asarray(_LPS @ matrix @ _LPS)


def moved_by(movement: NDArray[np.float64], image: MetaTensor) -> MetaTensor:
    """Move a volume to a reference: the same voxels with another affine.

    Args:
        movement: (4, 4), from points of the reference to points of the image, RAS mm.
        image: (C, X, Y, Z) with affine, RAS mm.
    """
    affine = torch.as_tensor(np.linalg.solve(movement, np.asarray(image.affine.cpu(), dtype=np.float64)))
    return like(image.as_tensor(), image, affine)


def read_movement(path: str | Path) -> NDArray[np.float64]:
    """Read a linear transform written by ITK, SimpleITK, Slicer, elastix or ANTs (.tfm, .txt, .mat, .h5).

    Args:
        path: the file; it maps points of the reference to points of the other volume, LPS mm.

    Returns:
        (4, 4), the same in RAS mm.

    Raises:
        InputError: if the file is missing or damaged, or the transform is not linear, not 3D, not invertible, or moves
            by more than a kilometre or scales a thousandfold.
    """
    if not isfile(path):
        raise InputError(f"{path} is not a file: give the transform as a .tfm file")
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or not an ITK transform: save it again as .tfm") from error
    kind = transform.Downcast().GetName()
    if transform.GetDimension() != 3:
        raise InputError(f"{path} holds a {kind} of {transform.GetDimension()} dimensions: give one of 3")
    if not transform.IsLinear():
        raise InputError(f"{path} holds a {kind}, which bends space: give a rigid or affine transform")
    matrix = matrix_of(transform)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise InputError(f"{path} holds a {kind} that cannot be inverted: estimate it again")
    scaling = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if abs(matrix[:3, 3]).max() > _LARGEST_MM or not 1 / _MOST_SCALING < scaling.min() <= scaling.max() < _MOST_SCALING:
        raise InputError(
            f"{path} holds a {kind} that moves by more than a kilometre or scales a thousandfold: estimate it again"
        )
    return ras_to_lps(matrix)
