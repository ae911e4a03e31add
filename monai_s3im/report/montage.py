"""One picture of a case: A, B, fused and a checkerboard of A and B, in three planes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from monai_s3im.evaluation.replay import CaseImages
from monai_s3im.record import ColorBar
from monai_s3im.transforms import PLANES, ToSlices

TILE_PIXELS = 264
"""The longest side of the field of view in the montage."""

_CHECK_PIXELS = 33
_GAP = 6
_HEADER = 30
_BAR_PIXELS = 384
_HEAD = 0.1  # brighter voxels belong to the head
_QUALITY = 82
_OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))
_LIGHT, _DIM = (235, 235, 235), (150, 170, 190)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Montage:
    """A picture of a case.

    Attributes:
        webp: the picture, WebP.
        size: width and height in pixels.
        description: a sentence for the alternative text.
    """

    webp: bytes
    size: tuple[int, int]
    description: str


def montage(images: CaseImages, titles: tuple[str, str], color_bar: ColorBar | None = None) -> Montage:
    """Draw a case, in its true proportions.

    Volumes are cut in the axial, coronal and sagittal planes of their grid through the centre of the head, or of the
    part of it that both sources cover. Axial and coronal planes have the patient's right on the left, sagittal ones the
    front; letters show it.

    Args:
        images: on one grid.
        titles: of the columns A and B.
        color_bar: the colour scale, drawn below.
    """
    columns = [*titles, "fused", "checkerboard of A and B"] if images.sources else ["fused"]
    volumes = [*images.sources, images.fused]
    if images.fused.ndim == 3:
        rows = [_row([_pixels(image.as_tensor()) for image in volumes], (1.0, 1.0), None, max(images.fused.shape[1:]))]
        where = ""
    else:
        at = _centre(images)
        rows = [_plane_row(volumes, plane, at) for plane in PLANES]
        where = f"; axial, coronal and sagittal plane through {_told(images.fused.affine.cpu().numpy() @ [*at, 1.0])}"
    picture = _sheet(rows, columns)
    if color_bar is not None:
        picture = _with_bar(picture, color_bar)
    stream = io.BytesIO()
    picture.save(stream, format="WEBP", quality=_QUALITY)
    colors = "" if color_bar is None else f"; colours run from {_ends(color_bar)}"
    return Montage(stream.getvalue(), picture.size, f"{', '.join(columns)}{where}{colors}")


def _centre(images: CaseImages) -> list[float]:
    """The centre voxel of the head where all sources cover it, else of the head, else of the volume."""
    head = images.fused.as_tensor().amax(0) > _HEAD
    overlap = head if images.covered is None else head & images.covered.as_subclass(torch.Tensor).all(0)
    for mask in (overlap, head):
        if mask.any():
            sums = [mask.sum(dim=[a for a in range(3) if a != axis]).double() for axis in range(3)]
            return [float((s * torch.arange(len(s))).sum() / s.sum()) for s in sums]
    return [(extent - 1) / 2 for extent in images.fused.shape[1:]]


def _told(point: NDArray[np.float64]) -> str:
    """A point in RAS mm, in words: 'L 4, A 1, I 17 mm'."""
    places = [f"{'LPI'[axis] if value < 0 else 'RAS'[axis]} {abs(value):.0f}" for axis, value in enumerate(point[:3])]
    return f"{', '.join(places)} mm"


def _plane_row(volumes: Sequence[MetaTensor], plane: str, at: Sequence[float]) -> list[Image.Image]:
    down, right = PLANES[plane][0], PLANES[plane][1]
    slices = [ToSlices(plane)(volume) for volume in volumes]
    affine = slices[0].affine.cpu().numpy()
    index = np.linalg.solve(affine, volumes[0].affine.cpu().numpy() @ [*at, 1.0])[2]
    cuts = [_pixels(volume.as_tensor()[..., int(np.rint(index).clip(0, volume.shape[-1] - 1))]) for volume in slices]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    original = volumes[0]
    extents = np.array(original.shape[1:]) * np.linalg.norm(original.affine.cpu().numpy()[:3, :3], axis=0)
    return _row(cuts, (sizes[0], sizes[1]), (_OPPOSITE[right], right, _OPPOSITE[down], down), extents.max())


def _row(
    cuts: Sequence[Pixels], pixel_mm: tuple[float, float], letters: Sequence[str] | None, field_mm: float
) -> list[Image.Image]:
    """Tiles of one row, sources first, at one scale: ``field_mm`` becomes ``TILE_PIXELS``."""
    rows, columns = cuts[0].shape[:2]
    scale = TILE_PIXELS / field_mm
    size = (max(1, round(columns * pixel_mm[1] * scale)), max(1, round(rows * pixel_mm[0] * scale)))
    tiles = [Image.fromarray(cut).resize(size, Image.Resampling.BICUBIC) for cut in cuts]
    if len(tiles) == 3:
        tiles.append(_checkerboard(tiles[0], tiles[1]))
    for tile in tiles if letters else []:
        _draw_letters(tile, letters or "")
    return tiles


def _checkerboard(first: Image.Image, second: Image.Image) -> Image.Image:
    width, height = first.size
    rows, columns = (np.arange(extent) // _CHECK_PIXELS for extent in (height, width))
    return Image.composite(second, first, Image.fromarray((rows[:, None] + columns) % 2 == 1))


def _draw_letters(tile: Image.Image, letters: Sequence[str]) -> None:
    """Write the labels of left, right, top and bottom at the edges."""
    (width, height), font = tile.size, ImageFont.load_default(15)
    places = [
        (3, height // 2, "lm"),
        (width - 3, height // 2, "rm"),
        (width // 2, 2, "mt"),
        (width // 2, height - 2, "mb"),
    ]
    draw = ImageDraw.Draw(tile)
    for letter, (x, y, anchor) in zip(letters, places, strict=True):
        draw.text((x, y), letter, _DIM, font, anchor, stroke_width=1, stroke_fill=(0, 0, 0))


def _sheet(rows: Sequence[Sequence[Image.Image]], titles: Sequence[str]) -> Image.Image:
    """Tiles in columns below their titles, each centred in its cell, on black."""
    width = max(TILE_PIXELS, *(tile.width for row in rows for tile in row))
    heights = [row[0].height for row in rows]
    size = (len(titles) * (width + _GAP) + _GAP, _HEADER + sum(heights) + _GAP * len(rows))
    sheet = Image.new("RGB", size)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for column, title in enumerate(titles):
        middle = _GAP + column * (width + _GAP) + width // 2
        draw.text((middle, _HEADER // 2), title, _LIGHT, font, "mm")
        top = _HEADER
        for row, height in zip(rows, heights, strict=True):
            sheet.paste(row[column], (middle - row[column].width // 2, top))
            top += height + _GAP
    return sheet


def _with_bar(sheet: Image.Image, color_bar: ColorBar) -> Image.Image:
    """The sheet with the colour bar below it, labelled with both ends and the unit."""
    wider = Image.new("RGB", (sheet.width, sheet.height + _HEADER))
    wider.paste(sheet)
    colors = Image.fromarray(np.array(color_bar.colors, dtype=np.uint8)[None])
    width, middle = min(_BAR_PIXELS, sheet.width // 2), sheet.height + _HEADER // 2 - _GAP // 2
    left = (sheet.width - width) // 2
    wider.paste(colors.resize((width, _HEADER // 2)), (left, middle - _HEADER // 4))
    draw, font = ImageDraw.Draw(wider), ImageFont.load_default(15)
    lower, upper = _ends(color_bar).split(" to ")
    draw.text((left - _GAP, middle), lower, _LIGHT, font, "rm")
    draw.text((left + width + _GAP, middle), upper, _LIGHT, font, "lm")
    return wider


def _ends(color_bar: ColorBar) -> str:
    """The range in words, such as '0 to 25.1 Bq/ml'."""
    return f"{color_bar.range[0]:.4g} to {color_bar.range[1]:.4g} {color_bar.unit or ''}".rstrip()


def _pixels(plane: torch.Tensor) -> Pixels:
    """(1 or 3, rows, columns) in [0, 1] as (rows, columns, 3)."""
    rgb = plane.expand(3, -1, -1).clamp(0, 1)
    pixels: Pixels = (255 * rgb).round().to(torch.uint8).movedim(0, -1).contiguous().numpy()
    return pixels
