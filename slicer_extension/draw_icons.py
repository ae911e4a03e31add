"""Draws the icons of the Slicer module: a head of two halves, and the thumbnail of the sample data.

python slicer_extension/draw_icons.py        (1 s; writes S3IMFusion/Resources/Icons)
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

MODULE = Path(__file__).resolve().parent / "S3IMFusion"
FINE = 8  # drawn larger, then averaged
GROUND, BONE, BLUE, ORANGE = (27, 40, 56), (255, 250, 232), (64, 140, 224), (240, 140, 50)


def icon(size: int) -> Image.Image:
    """A head in axial section: its ring of bone around two halves, A and B, with the common result in bright."""
    fine = size * FINE
    picture = Image.new("RGBA", (fine, fine), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle([0, 0, fine - 1, fine - 1], radius=0.18 * fine, fill=GROUND)
    draw.ellipse(_box(fine, 0.36, 0.44), fill=BONE)
    for start, color in ((90, BLUE), (-90, ORANGE)):
        draw.pieslice(_box(fine, 0.27, 0.35), start, start + 180, fill=color)
    draw.ellipse(_box(fine, 0.10, 0.16), fill=BONE)
    return picture.resize((size, size), Image.Resampling.BOX)


def _box(fine: int, half_width: float, half_height: float) -> list[float]:
    return [(0.5 + sign * half) * fine for sign in (-1, 1) for half in (half_width, half_height)]


def thumbnail() -> Image.Image:
    """The sample data: on the left half the MR, on the right half the CT in the brain window."""
    sys.path.insert(0, str(MODULE))
    from S3IMFusionLib.sample_data import GRIDS, head_phantom

    mr, ct = (volume[50, ::-1] for volume in head_phantom(GRIDS[0]))
    half = mr.shape[1] // 2
    gray = np.hstack([mr[:, :half] / 1000.0, ct[:, half:] / 80.0])
    picture = Image.fromarray((gray.clip(0, 1) * 255).astype(np.uint8)).resize((242, 299), Image.Resampling.BICUBIC)
    thumb = Image.new("L", (260, 280), 0)
    thumb.paste(picture, (9, -10))
    return thumb


if __name__ == "__main__":
    icons = MODULE / "Resources" / "Icons"
    icon(128).save(icons / "S3IMFusion.png", optimize=True)
    icon(256).save(icons / "S3IMFusion-256.png", optimize=True)
    thumbnail().save(icons / "S3IMFusionHead.png", optimize=True)
