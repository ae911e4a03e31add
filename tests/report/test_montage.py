"""A montage shows each plane in the right orientation and proportions, through the head."""

import io

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_s3im.evaluation.replay import CaseImages
from monai_s3im.record import ColorBar
from monai_s3im.report.montage import TILE_PIXELS, montage

SHAPE = (30, 40, 20)
FIELD_MM = (60.0, 80.0, 100.0)  # R, A, S
AFFINE = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0], dtype=torch.float64))


def volume_of(array, affine=AFFINE):
    return MetaTensor(torch.as_tensor(array, dtype=torch.float32)[None], affine=affine)


def drawn(images):
    """Pixels of a montage, (rows, columns), gray."""
    with Image.open(io.BytesIO(montage(images, ("A: MR", "B: CT")).webp)) as picture:
        return np.asarray(picture.convert("L")).astype(float)


def box_at(*voxel):
    """A bright box around a voxel, on a ground that is not black, but dimmer than a head."""
    array = np.full(SHAPE, 0.09)
    array[tuple(slice(v - 2, v + 3) for v in voxel)] = 1
    return array


def bright_spot(tile):
    rows, columns = np.nonzero(tile > 200)
    return rows.mean() / tile.shape[0], columns.mean() / tile.shape[1]


def tiles_of_one_column(pixels):
    """The planes of a montage of one column: the rows below the title that are not black."""
    lit = pixels[30:] > 12
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lit.mean(axis=1) > 0.3, [0]]).astype(int)))
    tiles = []
    for top, bottom in edges.reshape(-1, 2):
        columns = np.flatnonzero(lit[top:bottom].mean(axis=0) > 0.5)
        tiles.append(pixels[30 + top : 30 + bottom, columns[0] : columns[-1] + 1])
    return tiles


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1)], ids=["RAS", "LAS", "LPS", "RAI"])
def test_planes_are_the_right_way_round_and_in_true_proportions(flips):
    array, affine = box_at(25, 30, 12), AFFINE.clone()  # right, anterior, superior
    for axis, flip in enumerate(flips):
        if flip < 0:
            array = np.flip(array, axis).copy()
            affine[axis, 3] = AFFINE[axis, axis] * (SHAPE[axis] - 1)
            affine[axis, axis] *= -1
    axial, coronal, sagittal = tiles_of_one_column(drawn(CaseImages(volume_of(array, affine))))
    right, front, top = 25.5 / 30, 30.5 / 40, 12.5 / 20  # parts of the field of view
    for tile, (height, width), place in (
        (axial, (80, 60), (1 - front, 1 - right)),
        (coronal, (100, 60), (1 - top, 1 - right)),
        (sagittal, (100, 80), (1 - top, 1 - front)),
    ):
        assert tile.shape == pytest.approx((height * TILE_PIXELS / 100, width * TILE_PIXELS / 100), abs=2)
        assert bright_spot(tile) == pytest.approx(place, abs=0.02)


def test_planes_go_through_the_middle_of_the_head():
    array = np.zeros(SHAPE)
    array[4:9, 20:31, 6:9] = 0.8
    description = montage(CaseImages(volume_of(array)), ("A", "B")).description
    assert description == "fused; axial, coronal and sagittal plane through R 12, A 50, S 35 mm"


def test_planes_go_through_what_both_sources_cover():
    covered = torch.ones(2, *SHAPE, dtype=torch.bool)
    covered[1, :, :, 4:] = False
    fused = volume_of(np.full(SHAPE, 0.5))
    description = montage(CaseImages(fused, (fused, fused), covered), ("A: MR", "B: CT")).description
    assert description.endswith("through R 29, A 39, S 8 mm")  # voxel 1.5 of the four that B covers, 5 mm each: 7.5


def test_places_on_the_other_side_are_reported_by_their_own_letters():
    affine = AFFINE.clone()
    affine[:3, 3] = torch.tensor([-100.0, -200.0, -300.0])
    description = montage(CaseImages(volume_of(np.full(SHAPE, 0.5), affine)), ("A", "B")).description
    assert description.endswith("through L 71, P 161, I 252 mm")


def test_the_last_column_is_a_checkerboard_of_the_sources():
    black, white = (MetaTensor(torch.full((1, 264, 264), level)) for level in (0.0, 1.0))
    pixels = drawn(CaseImages(black, (black, white)))
    board = pixels[30:-6, -6 - 264 : -6]
    assert board.shape == (264, 264)
    middles = board[16::33, 16::33]
    expected = np.indices((8, 8)).sum(axis=0) % 2 * 255
    assert np.abs(middles - expected).max() < 20


def test_colour_stays_colour():
    red = torch.zeros(3, 20, 24)
    red[0] = 1
    result = montage(CaseImages(MetaTensor(red)), ("A", "B"))
    with Image.open(io.BytesIO(result.webp)) as picture:
        assert picture.size == result.size
        middle = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    assert np.abs(np.subtract(middle, (255, 0, 0))).max() < 16
    assert result.description == "fused"


def test_the_colour_bar_is_drawn_below_with_its_range():
    red = torch.zeros(3, 300, 300)
    red[0] = 0.3
    bar = ColorBar([[0, level, 255 - level] for level in range(256)], [0.0, 6.25], "SUV")
    without, result = (montage(CaseImages(MetaTensor(red)), ("A", "B"), given) for given in (None, bar))
    assert result.description == f"{without.description}; colours run from 0 to 6.25 SUV"
    with Image.open(io.BytesIO(result.webp)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    strip = pixels[without.size[1] :]
    assert len(strip) > 20
    row = strip[len(strip) // 2 - 3]
    shown = np.flatnonzero((row[:, 0] < 60) & (row[:, 1:].sum(1) > 200))
    assert np.ptp(shown) > 100
    blue, green = row[shown[5]], row[shown[-6]]
    assert blue[2] > 200 > green[2]
    assert green[1] > 200 > blue[1]


def test_a_thin_picture_is_drawn_too():
    line = MetaTensor(torch.linspace(0, 1, 2000)[None, None].expand(1, 1, 2000))
    assert montage(CaseImages(line, (line, line)), ("A: MR", "B: CT")).size[1] < 60
