"""The viewer's volumes are small enough and in the position of the originals."""

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from references.geometry_reference import an_affine
from scipy.ndimage import center_of_mass

from monai_s3im.viewer import viewer_volume

SHAPE = (48, 40, 33)
OBLIQUE = torch.as_tensor(an_affine((20, -10, 35), (1.5, 1.0, 3.0), (-12.0, 8.0, -5.0)))


def volume_of(array):
    return MetaTensor(torch.as_tensor(array, dtype=torch.float32), affine=OBLIQUE)


def read(volume):
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(volume.base64)))
    return image.dataobj.get_unscaled(), image.affine


def test_values_are_those_of_the_range_that_became_0_and_1():
    array = noise()
    content = gzip.decompress(base64.b64decode(viewer_volume(volume_of(array), 10**6, (-160.0, 240.0)).base64))
    shown = nib.Nifti1Image.from_bytes(content).get_fdata()
    assert np.abs(shown - (400 * array[0] - 160)).max() <= 400 / 255 / 2 + 1e-3


def noise(channels=1):
    return np.random.default_rng(0).random((channels, *SHAPE))


def test_a_volume_that_is_small_enough_stays_unchanged_in_8_bit():
    array = noise()
    volume = viewer_volume(volume_of(array), most_bytes=10**6)
    voxels, affine = read(volume)
    assert voxels.dtype == np.uint8
    assert np.array_equal(voxels, np.rint(255 * array[0].astype(np.float32)))
    assert np.allclose(affine, OBLIQUE, atol=1e-4)
    assert not volume.is_reduced
    assert volume.voxel_mm == pytest.approx((1.5, 1.0, 3.0))


def test_colour_is_rgb24():
    array = noise(3)
    voxels, _ = read(viewer_volume(volume_of(array), most_bytes=10**6))
    for channel, name in enumerate("RGB"):
        assert np.array_equal(voxels[name], np.rint(255 * array[channel].astype(np.float32)))


@pytest.mark.parametrize("most_bytes", [40_000, 10_000, 2_000])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_reduced_volume_keeps_to_its_bytes(channels, most_bytes):
    volume = viewer_volume(volume_of(noise(channels)), most_bytes)
    assert most_bytes / 4 < len(volume.base64) <= most_bytes
    assert volume.is_reduced


def test_a_reduced_volume_keeps_its_position():
    array = 0.02 * noise()
    array[0, 10:19, 20:31, 5:12] = 1
    voxels, affine = read(volume := viewer_volume(volume_of(array), most_bytes=12_000))
    there = OBLIQUE.numpy() @ [*center_of_mass(array[0] ** 2), 1]
    here = affine @ [*center_of_mass((voxels / 255.0) ** 2), 1]
    assert np.linalg.norm(there - here) < 0.15 * max(volume.voxel_mm)
    faces = [
        matrix @ [*(np.array(shape) * end - 0.5), 1]
        for matrix, shape in ((OBLIQUE.numpy(), SHAPE), (affine, voxels.shape))
        for end in (0, 1)
    ]
    assert np.allclose(faces[0], faces[2], atol=1e-4)  # the same field of view
    assert np.allclose(faces[1], faces[3], atol=1e-4)


def test_the_finest_axes_are_made_coarser_first():
    voxel_mm = viewer_volume(volume_of(noise()), most_bytes=25_000).voxel_mm
    assert voxel_mm[2] == pytest.approx(3.0)
    assert voxel_mm[1] > 1.5
    assert voxel_mm[0] == pytest.approx(voxel_mm[1], rel=0.1)


def test_the_same_volume_gives_the_same_bytes():
    first, second = (viewer_volume(volume_of(noise()), most_bytes=9_000) for _ in range(2))
    assert first == second
