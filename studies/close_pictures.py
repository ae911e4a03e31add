"""Draw lesions, a stroke and infrared scenes at four times their size, beside other methods.

Command:  python studies/close_pictures.py --stroke DIR --roadscene DIR --harvard DIR --peers DIR --run runs/close
          --out studies/gallery
Duration: about four minutes on one CPU core.
Result:   OUT/lesions_close.jpg, of the phantom and of the stroke volumes in DIR (T1, T2, FLAIR and
          FLAIR_lesion_mask.nii.gz). In runs/close, not to be published where the data may not be: infrared.png, with
          four scenes, and ct.png, with four pairs, beside the three learned peers with the best mean rank.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from monai_s3im.evaluation import PAPER_METRICS, compare
from monai_s3im.evaluation.comparison import pictures_of
from monai_s3im.evaluation.lesion_cases import LesionCase, phantom_cases, volume_cases
from monai_s3im.evaluation.lesion_pictures import LesionView, view_of
from monai_s3im.evaluation.lesion_run import Methods, measured
from monai_s3im.evaluation.run import OWN, peers_of
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser
from monai_s3im.settings import DEFAULTS

SCALE = 4
CAPTION = 34  # pixels
NOT_LEARNED = ("LaplacianPyramid", "LaplacianMaxBase", "GFF")
LESIONS = (
    (("t1", "ct"), ("haemorrhage", "tumour")),
    (("t2", "ct"), ("haemorrhage", "oedema")),
    (("t1", "t2"), ("tumour", "oedema")),
    (("t1", "pet"), ("tumour",)),
)
SCENE_CROPS = (0.35, 0.45)  # part of the height and of the width
BRAIN_CROPS = (0.5, 0.5)


def lesion_views(seed: int, stroke: Path) -> list[LesionView]:
    """The built-in lesions of the first phantom heads that have them, and the stroke with FLAIR and with T2."""
    methods = Methods(None, DEFAULTS.task, DEFAULTS.color, "cpu")
    views = []
    for pair, kinds in LESIONS:
        wanted = list(kinds)
        for case in phantom_cases(3, seed, (pair,)):
            views += _views(methods, case, [kind for kind in wanted if kind in case.lesions])
            wanted = [kind for kind in wanted if kind not in case.lesions]
            if not wanted:
                break
    names = ("FLAIR", "T2")
    pairs = [Pair(f"T1 + {name}", stroke / "T1.nii.gz", stroke / f"{name}.nii.gz", "mr", "mr") for name in names]
    for case in volume_cases(pairs, stroke / "FLAIR_lesion_mask.nii.gz"):
        views += _views(methods, case, list(case.lesions))
    return views


def _views(methods: Methods, case: LesionCase, kinds: Sequence[str]) -> list[LesionView]:
    if not kinds:
        return []
    shown = methods(case)
    views = []
    for kind in kinds:
        value = measured(case, kind, case.lesions[kind][0], shown)
        if value is not None and value.is_seen:
            views.append(view_of(shown, case.lesions[kind][0], case.images[0].affine, value))
    return views


def captioned(picture: np.ndarray, lines: Sequence[str], side: tuple[int, int]) -> Image.Image:
    """(H, W) or (H, W, 3) uint8 at four times its size, in the middle of a tile, below its caption."""
    large = Image.fromarray(picture).convert("RGB").resize((SCALE * picture.shape[1], SCALE * picture.shape[0]))
    tile = Image.new("RGB", (side[1], side[0] + CAPTION))
    tile.paste(large, ((side[1] - large.width) // 2, CAPTION))
    ImageDraw.Draw(tile).multiline_text((4, 2), "\n".join(lines), fill=(255, 255, 255), spacing=2, font_size=13)
    return tile


def in_grid(rows: Sequence[Sequence[tuple[np.ndarray, Sequence[str]]]]) -> Image.Image:
    """Rows of pictures with captions, each row as high as its highest picture."""
    wide = max(SCALE * picture.shape[1] for row in rows for picture, _ in row)
    made = []
    for row in rows:
        high = max(SCALE * picture.shape[0] for picture, _ in row)
        made.append([captioned(picture, lines, (high, wide)) for picture, lines in row])
    columns = max(len(row) for row in made)
    canvas = Image.new("RGB", (columns * (wide + 6), sum(row[0].height + 6 for row in made)), (60, 60, 60))
    top = 0
    for row in made:
        for column, tile in enumerate(row):
            canvas.paste(tile, (column * (wide + 6), top))
        top += row[0].height + 6
    return canvas


def draw_lesions_close(views: Sequence[LesionView], path: Path) -> None:
    """A row for each lesion: both sources, the network and the rules, with the contrasts."""
    rows = []
    for view in views:
        contrasts = {"A": view.value.contrasts[0], "B": view.value.contrasts[1], **view.value.fused}
        row = []
        for name, image in view.images.items():
            picture = np.rint(255 * image.movedim(0, -1).squeeze(-1).numpy()).astype(np.uint8)
            of = f"{view.value.pair}, {view.value.kind}" if name == "A" else ""
            kept = "" if name in ("A", "B") else f", kept {view.value.kept(name):.2f}"
            row.append((picture, [f"{name}: contrast {contrasts[name]:.1f}{kept}", of]))
        rows.append(row)
    in_grid(rows).save(path, quality=85)


def draw_beside_peers(
    first: Path, second: Path, modalities: tuple[str, str], peers: Path, task: str, part: tuple[float, float], run: Path
) -> Image.Image:
    """Four validation pairs, spread over the split: sources, the network and the three best learned peers."""
    fuser = Fuser(gray=True)
    sources = [pictures_of(folder) for folder in (first, second)]
    cases = sorted(sources[0].keys() & sources[1].keys())
    own = run / task
    own.mkdir(parents=True, exist_ok=True)
    for case in cases:
        if not (own / f"{case}.png").exists():
            fuser(sources[0][case], sources[1][case], own / f"{case}.png", *modalities)
    learned = {name: folder for name, folder in peers_of(peers, task).items() if name not in NOT_LEARNED}
    comparison = compare({OWN: own, **learned}, first, second, modality_b=modalities[1])
    means = {name: [comparison.mean(name, metric) for metric in PAPER_METRICS] for name in learned}
    order = np.argsort(np.argsort(-np.array(list(means.values())), axis=0), axis=0).mean(1)
    best = [name for _, name in sorted(zip(order, means, strict=True))[:3]]
    rows = []
    for case in [cases[len(cases) * (2 * k + 1) // 8] for k in range(4)]:
        files = {"A": sources[0][case], "B": sources[1][case], OWN: own / f"{case}.png"}
        files |= {name: pictures_of(learned[name])[case] for name in best}
        pictures = {name: np.asarray(Image.open(file).convert("L")) for name, file in files.items()}
        height, width = pictures["A"].shape
        high, wide = int(part[0] * height), int(part[1] * width)
        top, left = (height - high) // 2, (width - wide) // 2
        crop = (slice(top, top + high), slice(left, left + wide))
        rows.append([(picture[crop], [name, case]) for name, picture in pictures.items()])
    return in_grid(rows)


def main() -> None:
    """Draw the pictures by the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("stroke", "roadscene", "harvard", "peers", "run", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=31000, help="seed of the first phantom head")
    given = parser.parse_args()
    for folder in (given.run, given.out):
        folder.mkdir(parents=True, exist_ok=True)
    draw_lesions_close(lesion_views(given.seed, given.stroke), given.out / "lesions_close.jpg")
    scenes, heads = given.roadscene / "val", given.harvard / "CT-MRI" / "val"
    light = (scenes / "vi", scenes / "ir", ("visible", "infrared"))
    draw_beside_peers(*light, given.peers, "RoadScene", SCENE_CROPS, given.run).save(given.run / "infrared.png")
    brain = (heads / "MRI", heads / "CT", ("mr", "ct"))
    draw_beside_peers(*brain, given.peers, "MRI_CT", BRAIN_CROPS, given.run).save(given.run / "ct.png")


if __name__ == "__main__":
    main()
