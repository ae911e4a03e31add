"""Small images to fuse, written as files."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from references.geometry_reference import an_affine

SHAPE = (12, 10, 9)
GRID = an_affine((20, -10, 35), (1.5, 1.0, 3.0), (-12.0, 8.0, -5.0))
SMALLER = (10, 8, 6), an_affine((5, 0, 20), (1.2, 1.4, 2.0), (-11.0, 10.0, 0.0))


def blobs(shape, seed=0):
    """Something smooth with detail, in [0, 1], 0 at the first pixel and 1 at the last."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, extent) for extent in shape], indexing="ij")
    centre = random.uniform(-0.4, 0.4, len(shape))
    image = np.exp(-3 * sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)))
    image = 0.8 * image + 0.2 * random.random(shape)
    image.flat[0], image.flat[-1] = 0, 1
    return image


def write_picture(path: Path, seed=0, size=(20, 24), *, colour=False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = [blobs(size, seed + index) for index in range(3 if colour else 1)]
    Image.fromarray(np.rint(255 * np.squeeze(np.stack(channels, axis=-1))).astype(np.uint8)).save(path)
    return path


def write_volume(path: Path, seed=0, shape=SHAPE, affine=GRID, array=None) -> Path:
    """By nibabel for NIfTI, by SimpleITK for the rest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (1000 * blobs(shape, seed)).astype(np.int16) if array is None else array
    if ".nii" in path.name:
        nib.save(nib.Nifti1Image(array, affine), path)
    else:
        save_itk(path, array, affine)
    return path


def save_itk(path: Path, voxels, affine=GRID, *, is_rgb=False) -> None:
    """By SimpleITK: voxels as (x, y, z) or (x, y, z, channel), affine voxel -> RAS mm."""
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0, 3) if is_rgb else voxels.T, isVector=is_rgb)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


def itk_affine(path: Path):
    """Voxel index to RAS mm, as SimpleITK reads it."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine
