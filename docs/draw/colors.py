"""Draw and measure how well uptake can be read from fused colours, for docs/is_it_right.md.

An observer reads each voxel with at least 8 % of uptake from the colour bar: the nearest colour in CIELAB, of colours
and bar as they are seen. Colour-vision deficiencies are complete (severity 1), by the matrices of Machado et al. 2009
(doi 10.1109/TVCG.2009.113) on linear RGB.

Command:  python docs/draw/colors.py docs/gallery [FOLDER]
          FOLDER has T1.nii and PET.nii of SPM's templates; they are measured, too
Duration: three minutes on one CPU core.
Result:   colors.jpg, T1 with PET and with SPECT of the head phantom by several colours; registered.jpg, T1 with CT out
          not registered, and registered; and on the standard output the tables of the page.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from monai_s3im.evaluation import READING_GUARDS, reading_values
from monai_s3im.formats.reading import read_image
from monai_s3im.functional import plane_colors
from monai_s3im.phantom import head_phantom
from monai_s3im.pipeline import Fuser
from monai_s3im.transforms import NormalizeModality
from monai_s3im.transforms.color_map import colors_by

SIGHT = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
MAPS = ("magenta-gold", "hot", "inferno", "viridis", "turbo", "jet")
FORMER = {"color_model": "ycbcr", "color_map": "afmhot"}
GRID = ((96, 116, 88), (2.0, 2.0, 2.0))
SCALE, BAR_HEIGHT = 2, 22


@dataclass(frozen=True)
class Pair:
    """T1 and a functional volume on one grid, and their fusions."""

    name: str
    anatomy: Tensor
    uptake: Tensor
    gray: Tensor
    fused: Tensor
    former: Tensor
    former_gray: Tensor


def seen(rgb: Tensor, sight: str) -> Tensor:
    """RGB in [0, 1], (3, ...), as seen with that colour vision."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = torch.tensordot(torch.tensor(SIGHT[sight], dtype=rgb.dtype), linear, dims=1).clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def fused_pair(name: str, modality: str, anatomy: MetaTensor, functional: MetaTensor) -> Pair:
    """Fuse a pair by the default colours and by those of the paper, each in colour and gray."""
    found = [
        Fuser(device="cpu", gray=gray, **settings)(anatomy, functional, None, "mr", modality).as_tensor()
        for settings in ({}, FORMER)
        for gray in (True, False)
    ]
    scaled = [NormalizeModality(kind)(image).as_tensor() for kind, image in (("mr", anatomy), (modality, functional))]
    return Pair(name, *(image.clamp(0, 1) for image in scaled), found[0], found[1], found[3], found[2])


def overlay(pair: Pair, name: str) -> Tensor:
    """T1 with the functional volume in a colour map over it, half transparent, as viewers show it."""
    colors = torch.as_tensor(mpl.colormaps[name](pair.uptake[0].numpy())[..., :3]).movedim(-1, 0).float()
    return (colors + pair.anatomy) / 2


def bar_of(name: str) -> Tensor:
    """The colours of a map of matplotlib, (3, 256)."""
    return torch.as_tensor(mpl.colormaps[name](range(256))[:, :3].T.copy()).float()


def reading_rows(pair: Pair) -> list[str]:
    """The observer's table of a pair, as Markdown; of an overlay the anatomy is that of T1."""
    shown = {
        "`afmhot` with its luma replaced, as in the paper": (
            pair.former,
            colors_by("afmhot", "ycbcr").bar,
            pair.former_gray,
        ),
        **{f"overlay of `{name}`, 50 %": (overlay(pair, name), bar_of(name), pair.anatomy) for name in ("hot", "jet")},
        "**`magenta-gold`**, the default": (pair.fused, colors_by("magenta-gold", "lab").bar, pair.gray),
    }
    rows = []
    for title, (colors, bar, luma) in shown.items():
        values = reading_values((255 * colors).round() / 255, bar, pair.uptake, luma)
        read, error, part, anatomy = (values[name] for name in READING_GUARDS)
        rows.append(f"| {pair.name} | {title} | {read:.3f} | {error:.3f} | {part:.1f} % | {anatomy:.3f} |")
    return rows


def vision_rows() -> list[str]:
    """Every uptake at every luma, by colour map and kind of vision, as Markdown."""
    steps = torch.meshgrid(torch.linspace(0.08, 1, 93), torch.linspace(0, 1, 52), indexing="ij")
    uptake, luma = (step.reshape(1, -1) for step in steps)
    rows = [f"| colour map | {' | '.join(SIGHT)} |", f"|{'---|' * (1 + len(SIGHT))}"]
    for name in MAPS:
        colors = colors_by(name, "lab")
        shown, cells = (255 * plane_colors(colors.table, uptake, luma)).round() / 255, []
        for sight in SIGHT:
            values = reading_values(seen(shown.double(), sight), seen(colors.bar.double(), sight), uptake, luma)
            cells.append(f"{values['read']:.2f}, {values['read error']:.2f}, {values['reversed']:.1f} %")
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return rows


def tile(volume: Tensor, depth: int, title: str, bar: Tensor | None = None) -> Image.Image:
    """An axial slice, front up and the patient's right at the left, with its title and colour bar."""
    plane = volume[..., depth].expand(3, -1, -1).flip(1, 2).transpose(1, 2)
    pixels = (255 * plane.clamp(0, 1)).round().byte().movedim(0, -1).contiguous().numpy()
    picture = Image.fromarray(pixels).resize(
        (SCALE * pixels.shape[1], SCALE * pixels.shape[0]), Image.Resampling.BICUBIC
    )
    sheet = Image.new("RGB", (picture.width, picture.height + 2 * BAR_HEIGHT))
    sheet.paste(picture, (0, BAR_HEIGHT))
    middle = (sheet.width // 2, BAR_HEIGHT // 2)
    ImageDraw.Draw(sheet).text(middle, title, (235, 235, 235), ImageFont.load_default(14), "mm")
    if bar is not None:
        colors = Image.fromarray((255 * bar).round().byte().T[None].contiguous().numpy())
        sheet.paste(colors.resize((sheet.width - 40, BAR_HEIGHT // 2)), (20, sheet.height - BAR_HEIGHT * 3 // 4))
    return sheet


def color_row(pair: Pair, depth: int) -> list[Image.Image]:
    """One slice of a pair by all colours and sights."""
    bar = colors_by("magenta-gold", "lab").bar
    shown = [
        (pair.anatomy, "T1", None),
        (pair.uptake, pair.name, None),
        (pair.former, "afmhot, paper", colors_by("afmhot", "ycbcr").bar),
        (overlay(pair, "hot"), "overlay 50 %", bar_of("hot")),
        (pair.fused, "fused", bar),
        (pair.gray, "gray", None),
        *((seen(pair.fused, sight), sight, seen(bar, sight)) for sight in list(SIGHT)[1:]),
    ]
    return [tile(volume, depth, title, colors) for volume, title, colors in shown]


def in_rows(rows: list[list[Image.Image]]) -> Image.Image:
    """Tiles of one size in rows."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (len(rows[0]) * width, len(rows) * height))
    for index, row in enumerate(rows):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * width, index * height))
    return sheet


def registered_row() -> list[Image.Image]:
    """T1 and CT of the phantom fused with the CT displaced by 8 mm and 6 degrees, as it is and registered."""
    head = head_phantom(*GRID, modalities=("t1", "ct"))
    turn, ct = np.radians(6), head.volumes["ct"]
    movement = np.eye(4)
    movement[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    movement[:3, 3] = (8, 0, 0)
    moved = MetaTensor(ct.as_tensor(), affine=torch.as_tensor(movement) @ ct.affine)
    found = []
    for register in ("none", "rigid"):
        fused = Fuser(device="cpu", register=register)(head.volumes["t1"], moved, None, "mr", "ct")
        found.append(tile(fused.as_tensor(), GRID[0][2] * 55 // 100, f"--register {register}"))
    return found


def draw(target: Path, templates: Path | None = None) -> None:
    """Draw both pictures, and print the tables."""
    head = head_phantom(*GRID, modalities=("t1", "pet", "spect")).volumes
    pairs = [fused_pair(f"{name.upper()}, phantom", name, head["t1"], head[name]) for name in ("pet", "spect")]
    depth = GRID[0][2] * 55 // 100
    in_rows([color_row(pair, depth) for pair in pairs]).save(target / "colors.jpg", quality=88, subsampling=0)
    if templates is not None:
        volumes = [read_image(templates / name) for name in ("T1.nii", "PET.nii")]
        pairs.append(fused_pair("PET, templates", "pet", *volumes))
    print("\n".join([*(row for pair in pairs for row in reading_rows(pair)), "", *vision_rows()]))
    in_rows([registered_row()]).save(target / "registered.jpg", quality=88)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
