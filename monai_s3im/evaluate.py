"""Measure fused images on disk: ``evaluate()``, and the ``Evaluation`` that it returns."""

import csv
import io
import math
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from monai_s3im.data.reading import PICTURE_SUFFIXES, read_image, spatial_shape_of, stem_of, suffix_of
from monai_s3im.data.writing import write_json, write_text
from monai_s3im.errors import InputError
from monai_s3im.metrics import FUSION_METRICS, fusion_metrics

LARGEST_BATCH = 16
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Evaluation:
    """The fusion metrics of a set of cases.

    Attributes:
        cases: file stem -> metric name -> value, the metrics in the order of `monai_s3im.metrics.FUSION_METRICS`; nan
            where a metric has no value for the case.
    """

    cases: dict[str, dict[str, float]]

    @property
    def mean(self) -> dict[str, float]:
        """Metric name -> mean over the cases that have a value, nan where none has."""
        return {name: _mean([values[name] for values in self.cases.values()]) for name in FUSION_METRICS}

    def write_json(self, path: str | Path) -> None:
        """Write ``{"cases": {stem: {"EN": ..., ...}}, "mean": {"EN": ..., ...}}``; nan and infinity become null.

        Raises:
            OutputError: the file cannot be written; nothing is left behind.
        """
        cases = {name: _without_nan(values) for name, values in self.cases.items()}
        write_json({"cases": cases, "mean": _without_nan(self.mean)}, path)

    def write_csv(self, path: str | Path) -> None:
        """Write one row per case and a last row 'mean'; nan and infinity become empty cells.

        Raises:
            OutputError: the file cannot be written; nothing is left behind.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case", *FUSION_METRICS])
        for name, values in [*self.cases.items(), ("mean", self.mean)]:
            writer.writerow([name, *_without_nan(values).values()])
        write_text(text.getvalue(), path)

    def table(self) -> Table:
        """One row per case, the mean below."""
        table = Table(show_footer=len(self.cases) > 1)
        table.add_column("case", footer="mean")
        for name, value in self.mean.items():
            table.add_column(name, footer=_shown(value), justify="right")
        for name, values in self.cases.items():
            table.add_row(name, *map(_shown, values.values()))
        return table


def evaluate(fused: str | Path, source_a: str | Path, source_b: str | Path) -> Evaluation:
    """Measure fused 2D images with all fusion metrics, in float64.

    Colour images are measured on their luma, the rounded gray of OpenCV's BGR2GRAY: round(0.299 R + 0.587 G + 0.114 B).
    16-bit images are brought to the 0..255 scale.

    Args:
        fused: a picture, or a folder of pictures.
        source_a: its first source, or a folder with one for each fused picture, of the same name up to the suffix.
        source_b: its second source, likewise.

    Returns:
        The values by case; a case is named by the stem of its fused file.

    Raises:
        InputError: a file cannot be read or is no picture, files and folders are mixed, pictures have no partner of the
            same name in another folder, or partners differ in size; all such cases are named at once.
    """
    paths = (Path(fused), Path(source_a), Path(source_b))
    cases = _cases(paths)
    batches = _batches_of_one_size(cases)
    console = Console(stderr=True)
    found: dict[str, dict[str, float]] = {}
    for names in track(batches, "Measuring", console=console, transient=True, disable=not paths[0].is_dir()):
        images = torch.stack([torch.cat([read_luma(path) for path in cases[name]]) for name in names])  # (B, 3, H, W)
        values = fusion_metrics(images[:, :1], images[:, 1:], data_range=255.0)
        for index, name in enumerate(names):
            found[name] = {metric: value[index].item() for metric, value in values.items()}
    return Evaluation({name: found[name] for name in cases})


def read_luma(path: str | Path) -> Tensor:
    """Read a picture as (1, H, W) float64 on the 0..255 scale, colour as its rounded luma.

    Raises:
        InputError: as `monai_s3im.data.reading.read_image`.
    """
    image = read_image(path)
    pixels = image.as_tensor() * (255.0 / image.meta["value_range"])
    if pixels.shape[0] == 3:
        # in float32, as OpenCV: in float64 a pixel that lies on .5 may round to the other side
        red, green, blue = (weight * channel for weight, channel in zip(_LUMA, pixels, strict=True))
        pixels = (red + green + blue).round()[None]
    return pixels.double()


def _cases(paths: tuple[Path, Path, Path]) -> dict[str, tuple[Path, ...]]:
    """Case name -> its fused picture and its two sources, all of one size."""
    if any(path.is_dir() for path in paths):
        for path in paths:
            if not path.is_dir():
                raise InputError(f"{path} is no folder, but another of the three is: give three files or folders.")
        folders = [_pictures(folder) for folder in paths]
    else:
        for path in paths:
            if suffix_of(path) and suffix_of(path) not in PICTURE_SUFFIXES:
                raise InputError(f"{path} is a volume: give 2D pictures ({' '.join(PICTURE_SUFFIXES)}).")
        folders = [{stem_of(paths[0]): path} for path in paths]
    names = sorted(set().union(*folders))
    cases = {name: tuple(folder[name] for folder in folders if name in folder) for name in names}
    missing = [
        f"{path} has no {', '.join(absent)}"
        for path, folder in zip(paths, folders, strict=True)
        if (absent := [name for name in names if name not in folder])
    ]
    if problems := missing + _unequal_sizes(cases):
        raise InputError(f"{'; '.join(problems)}: give every case three pictures of one name and one size.")
    return cases


def _pictures(folder: Path) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if suffix_of(path) not in PICTURE_SUFFIXES or path.name.startswith("."):
            continue
        if stem_of(path) in pictures:
            raise InputError(f"{folder} has {pictures[stem_of(path)].name} and {path.name}: keep one of the two.")
        pictures[stem_of(path)] = path
    if not pictures:
        raise InputError(f"{folder} has no picture: put 2D images ({' '.join(PICTURE_SUFFIXES)}) there.")
    return pictures


def _unequal_sizes(cases: dict[str, tuple[Path, ...]]) -> list[str]:
    problems = []
    for paths in cases.values():
        shapes = [spatial_shape_of(path) for path in paths]
        if len(set(shapes)) > 1:
            sizes = (f"{path} is {height} x {width}" for path, (height, width) in zip(paths, shapes, strict=True))
            problems.append(", ".join(sizes))
    return problems


def _batches_of_one_size(cases: dict[str, tuple[Path, ...]]) -> list[list[str]]:
    """Case names, at most `LARGEST_BATCH` together."""
    shapes = {name: spatial_shape_of(paths[0]) for name, paths in cases.items()}
    batches = []
    for _, group in groupby(sorted(cases, key=shapes.__getitem__), key=shapes.__getitem__):
        names = list(group)
        batches += [names[start : start + LARGEST_BATCH] for start in range(0, len(names), LARGEST_BATCH)]
    return batches


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _shown(value: float) -> str:
    return f"{value:.3f}"
