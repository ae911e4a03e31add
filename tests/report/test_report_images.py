"""The sources of a case are shown as the pipeline used them."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from sample_images import GRID, SHAPE, SMALLER, blobs, write_volume

from monai_s3im.errors import InputError
from monai_s3im.evaluation.replay import read_case_images
from monai_s3im.formats.writing import write_transform
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser
from monai_s3im.record import FusionRecord, RegistrationRecord


@pytest.fixture
def fused_pair(tmp_path):
    """A pair of volumes on different grids, its fused volume and its record."""

    def fuse(affine_b=SMALLER[1], shape_b=SMALLER[0], array_b=None, **settings):
        image_a = write_volume(tmp_path / "a.nii.gz", 0)
        image_b = write_volume(tmp_path / "b.nii.gz", 5, shape_b, affine_b, array_b)
        pair = Pair("one", image_a, image_b, "mr", "pet")
        Fuser(device="cpu", **settings)(image_a, image_b, tmp_path / "one.nii.gz", "mr", "pet")
        return pair, tmp_path / "one.nii.gz", FusionRecord.read(tmp_path / "one.nii.gz")

    return fuse


def test_the_anatomy_is_its_file_scaled_by_the_recorded_range_on_the_grid_of_the_result(fused_pair):
    pair, fused, record = fused_pair()
    images = read_case_images(fused, record, pair)
    lower, upper = record.sources["image_a"].intensity_range
    expected = ((nib.load(pair.image_a).get_fdata() - lower) / (upper - lower)).clip(0, 1)
    assert np.allclose(images.sources[0][0], expected, atol=1e-5)
    assert np.allclose(images.sources[0].affine, GRID, atol=1e-5)
    assert images.sources[1].shape == (3, *SHAPE)
    assert images.covered.shape == (2, *SHAPE)
    assert images.covered[0].all()
    assert not images.covered[1].all()
    assert not images.sources[1][:, ~images.covered[1]].any()


@pytest.mark.parametrize("plane", ["coronal", "sagittal", "in-plane"])
def test_the_sources_lie_on_the_result_whatever_the_plane_and_reference(fused_pair, plane):
    pair, fused, record = fused_pair(plane=plane, reference="b", spacing="1.5")
    images = read_case_images(fused, record, pair)
    assert images.why_no_sources is None
    file = nib.load(fused)
    for source in images.sources:
        assert source.shape[1:] == file.shape
        assert np.allclose(source.affine, file.affine, atol=1e-4)
    where = images.covered.all(0).numpy()
    fused_luma = images.fused.numpy().mean(0)[where]
    correlations = [np.corrcoef(fused_luma, source.numpy().mean(0)[where])[0, 1] for source in images.sources]
    assert max(correlations) > 0.7


def test_a_recorded_movement_brings_image_b_back(fused_pair):
    movement = np.eye(4)
    movement[:3, 3] = (6.0, -4.0, 9.0)  # LPS mm
    ras = np.diag([-1, -1, 1, 1]) @ movement @ np.diag([-1, -1, 1, 1])
    array = (1000 * blobs(SHAPE, 0)).astype(np.int16)  # image A, displaced
    pair, fused, record = fused_pair(ras @ GRID, SHAPE, array)
    write_transform(movement, fused.with_name("one.tfm"))
    moved = read_case_images(fused, replace(record, registration=RegistrationRecord("rigid", file="one.tfm")), pair)
    unmoved = read_case_images(fused, record, pair)
    anatomy = moved.sources[0][0].numpy()
    uptake = [images.sources[1].numpy().max(0) for images in (moved, unmoved)]
    agreement = [np.corrcoef(anatomy.ravel(), luma.ravel())[0, 1] for luma in uptake]
    assert agreement[0] > 0.85
    assert agreement[1] < 0.5
    assert moved.covered is None


def test_a_source_other_than_that_of_the_record_is_not_shown(fused_pair):
    pair, fused, record = fused_pair()
    write_volume(pair.image_b, 6, *SMALLER)
    images = read_case_images(fused, record, pair)
    assert images.sources == ()
    assert images.why_no_sources == "Its sources cannot be shown: b.nii.gz has changed since the fusion: fuse it again"


def test_a_source_that_is_gone_is_reported(fused_pair, tmp_path):
    pair, fused, record = fused_pair()
    images = read_case_images(fused, record, replace(pair, image_b=tmp_path / "gone.nii.gz"))
    assert images.sources == ()
    assert "gone.nii.gz does not exist" in images.why_no_sources


def test_another_fused_image_than_that_of_the_record_is_refused(fused_pair):
    pair, fused, record = fused_pair()
    shutil.copy(pair.image_a, fused)
    with pytest.raises(InputError, match="has changed since it was written: fuse it again"):
        read_case_images(fused, record, pair)


def test_a_colour_map_from_a_file_must_be_named_again(fused_pair, tmp_path):
    table = tmp_path / "blue.txt"
    table.write_text("\n".join(f"0 0 {level}" for level in range(256)))
    pair, fused, record = fused_pair(color_map=str(table))
    assert "blue.txt, the file of its colour map, is missing" in read_case_images(fused, record, pair).why_no_sources
    uptake = read_case_images(fused, record, pair, str(table)).sources[1].numpy()
    assert uptake[2].max() > uptake[0].max()


def test_no_message_is_repeated(fused_pair, caplog):
    far = SMALLER[1].copy()
    far[0, 3] += 12
    pair, fused, record = fused_pair(far)
    assert record.warnings
    caplog.clear()
    read_case_images(fused, record, pair)
    assert not caplog.records


def test_a_pair_that_was_fused_on_a_gpu_is_shown_without_one(fused_pair):
    pair, fused, record = fused_pair()
    expected = read_case_images(fused, record, pair)
    images = read_case_images(fused, replace(record, settings=replace(record.settings, device="cuda:0")), pair)
    assert images.why_no_sources is None
    assert all(torch.equal(*both) for both in zip(images.sources, expected.sources, strict=True))


def test_larger_images_than_the_limit_are_shown_where_it_is_raised(fused_pair):
    pair, fused, record = fused_pair()
    gib = np.prod(SHAPE) * 4 / 2**30
    assert read_case_images(fused, record, pair, max_gib=3 * gib).why_no_sources is None  # the fused one is RGB
    with pytest.raises(InputError, match="more than the limit of"):
        read_case_images(fused, record, pair, max_gib=gib / 2)
