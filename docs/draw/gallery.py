"""Draw the pictures of the README from the head phantom.

Command:  python docs/draw/gallery.py docs/gallery
Duration: about three minutes on two CPU cores.
Result:   fused_pairs.png, T1 with CT and with SPECT, axial; findings.png, T1 with CT and PET by the network of the
          paper and by the default weights; fused_volume.png, T1 with CT and with PET in three planes; coordinates.png,
          an oblique T1 and an axial CT fused on the grid of either, a landmark ringed; colors.jpg and registered.jpg,
          see colors.py.
"""

import sys
import tempfile
from pathlib import Path

import colors
import numpy as np
from monai.data import MetaTensor
from PIL import Image, ImageDraw

from monai_s3im.formats.reading import read_image
from monai_s3im.pairs.lists import read_pairs
from monai_s3im.phantom import head_phantom, write_phantom
from monai_s3im.pipeline import Fuser
from monai_s3im.transforms import AlignSourcesd, ColorMapd, NormalizeModalityd, ToSlices, in_color

PLANES = ("axial", "coronal", "sagittal")


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(1 or 3, H, W) in [0, 1] to (H, W, 3) uint8."""
    return np.rint(255 * np.repeat(image, 3 // len(image), axis=0)).astype(np.uint8).transpose(1, 2, 0)


def in_rows(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures in rows and columns on black, each row as high as its highest picture."""
    high = [max(picture.shape[0] for picture in row) for row in rows]
    wide = [max(row[column].shape[1] for row in rows) for column in range(len(rows[0]))]
    canvas = np.zeros((sum(high), sum(wide), 3), np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = sum(high[:i]), sum(wide[:j])
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def middle_slice(volume: MetaTensor, plane: str) -> np.ndarray:
    """The middle slice of a volume in [0, 1], in viewing orientation."""
    slices = ToSlices(plane)(volume)
    return as_rgb(slices[..., slices.shape[-1] // 2].numpy())


def volume_rows(
    fusers: list[Fuser], folder: Path, modalities: tuple[str, ...], planes: tuple[str, ...]
) -> list[list[np.ndarray]]:
    """Source A, source B and what each fuser makes of them in each plane, for T1 with each of the modalities."""
    rows = []
    for pair in read_pairs(folder / "volumes" / "pairs.csv"):
        if pair.modality_b not in modalities:
            continue
        fused = [fuser(pair.image_a, pair.image_b, None, pair.modality_a, pair.modality_b) for fuser in fusers]
        item = {"a": read_image(pair.image_a), "b": read_image(pair.image_b), "ma": "mr", "mb": pair.modality_b}
        for transform in (NormalizeModalityd(["a", "b"], ["ma", "mb"]), ColorMapd(["a", "b"])):
            item = transform(item)
        item |= {key: in_color(item[key]) for key in ("a", "b")}
        for plane in planes:
            aligned = AlignSourcesd(["a", "b"], plane=plane)(item)
            shown = [aligned[key][..., aligned[key].shape[-1] // 2].numpy() for key in ("a", "b")]
            rows.append([*map(as_rgb, shown), *(middle_slice(volume, plane) for volume in fused)])
    return rows


def enlarged(rows: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Twice the size."""
    return [[np.asarray(Image.fromarray(p).resize((2 * p.shape[1], 2 * p.shape[0]))) for p in row] for row in rows]


def ringed(volume: MetaTensor, landmark: tuple[float, float, float]) -> np.ndarray:
    """The sagittal slice through a landmark (RAS mm), with a yellow ring at its position by the affine."""
    slices = ToSlices("sagittal")(volume)
    row, column, depth = np.linalg.solve(slices.affine.numpy(), [*landmark, 1.0])[:3]
    picture = Image.fromarray(as_rgb(slices[..., round(depth)].numpy()))
    ImageDraw.Draw(picture).ellipse([column - 5, row - 5, column + 5, row + 5], outline=(255, 220, 0))
    return np.asarray(picture)


def coordinates_rows() -> list[list[np.ndarray]]:
    """An oblique T1 and an axial CT of one head, and both fused on the grid of T1 and on that of CT."""
    oblique = head_phantom((120, 130, 125), (1.5, 1.5, 1.5), oblique_deg=25)
    axial = head_phantom((100, 140, 90), (1.6, 1.6, 2.0))
    landmark = axial.landmarks["pineal"]
    item = {"a": oblique.volumes["t1"], "b": axial.volumes["ct"], "ma": "mr", "mb": "ct"}
    shown = NormalizeModalityd(["a", "b"], ["ma", "mb"])(item)
    row = [ringed(shown[key].clamp(0, 1), landmark) for key in ("a", "b")]
    for reference in ("a", "b"):
        fused = Fuser(device="cpu", reference=reference)(item["a"], item["b"], None, "mr", "ct")
        row.append(ringed(fused, landmark))
    return [row]


def main() -> None:
    """Write the phantom, fuse, draw."""
    target = Path(sys.argv[1])
    fuser = Fuser(device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_phantom(Path(temporary) / "phantom", subjects=4, volumes=True).parent
        pictures = {
            "fused_pairs": enlarged(volume_rows([fuser], folder, ("ct", "spect"), ("axial",))),
            "fused_volume": volume_rows([fuser], folder, ("ct", "pet"), PLANES),
            "findings": enlarged(
                volume_rows([Fuser(device="cpu", task="figure-2"), fuser], folder, ("ct", "pet"), ("axial",))
            ),
            "coordinates": coordinates_rows(),
        }
        for name, rows in pictures.items():
            Image.fromarray(in_rows(rows)).save(target / f"{name}.png", optimize=True)
    colors.draw(target)


if __name__ == "__main__":
    main()
