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

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import is_image_folder, is_volume, read_image, spatial_shape_of, stem_of
from monai_s3im.formats.writing import write_json, write_text
from monai_s3im.metrics import FUSION_METRICS, fusion_metrics
from monai_s3im.pairs.lists import images_by_stem
from monai_s3im.settings import MAX_GIB

from .volume_slices import slices_with_content

LARGEST_BATCH = 16
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Evaluation:
    """The fusion metrics of a set of cases.

    Attributes:
        cases: file stem -> metric name -> value, the metrics in the order of `monai_s3im.metrics.FUSION_METRICS`; nan
            if a metric has no value for the case.
    """

    cases: dict[str, dict[str, float]]

    @property
    def mean(self) -> dict[str, float]:
        """Metric name -> mean over the cases that have a value, nan if none do."""
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


def evaluate(fused: str | Path, source_a: str | Path, source_b: str | Path, *, max_gib: float = MAX_GIB) -> Evaluation:
    """Measure fused images with all fusion metrics, in float64.

    Colour pictures are measured on their luma, the rounded gray of OpenCV's BGR2GRAY: round(0.299 R + 0.587 G + 0.114
    B). 16-bit pictures are scaled to 0..255.

    A volume is measured slice by slice in the axial plane, on the fused volume's grid, with the sources scaled and the
    second one moved as for the fusion. Modalities, window, ranges, colour map and movement come from the JSON file next
    to the fused volume; without it they are guessed, and nothing is moved. The values are means over the slices in
    which a source has content.

    Args:
        fused: a picture or volume, or a folder of them.
        source_a: a source, or a folder with one for each fused image, of the same name up to the suffix; other files
            there are ignored.
        source_b: the other source, in the same form. For a volume with a record the order of the two does not matter:
            they are identified by their SHA256, with a warning if one is not in the record.
        max_gib: maximum memory that one image may take, see :data:`monai_s3im.settings.MAX_GIB`.

    Returns:
        The values by case; a case is named after the stem of its fused file.

    Raises:
        InputError: a file cannot be read, files and folders are mixed, a fused image has no source of the same name,
            pictures differ in size, or volumes do not overlap; all missing partners and sizes are named at once.
    """
    paths = (Path(fused), Path(source_a), Path(source_b))
    cases = _cases(paths, max_gib)
    volumes = [name for name in cases if is_volume(cases[name][0])]
    batches = [*_batches_of_one_size({name: cases[name] for name in cases if name not in volumes}, max_gib)]
    batches += [[name] for name in volumes]
    console = Console(stderr=True)
    found: dict[str, dict[str, float]] = {}
    for names in track(batches, "Measuring", console=console, transient=True, disable=not is_image_folder(paths[0])):
        if names[0] in volumes:
            found[names[0]] = _measure_volume(cases[names[0]], max_gib)
            continue
        images = torch.stack([torch.cat([read_luma(path, max_gib) for path in cases[name]]) for name in names])
        values = fusion_metrics(images[:, :1], images[:, 1:], data_range=255.0)
        for index, name in enumerate(names):
            found[name] = {metric: value[index].item() for metric, value in values.items()}
    return Evaluation({name: found[name] for name in cases})


def read_luma(path: str | Path, max_gib: float = MAX_GIB) -> Tensor:
    """Read a picture as (1, H, W) float64 on the 0..255 scale, colour as its rounded luma.

    Raises:
        InputError: as `monai_s3im.formats.reading.read_image`.
    """
    image = read_image(path, max_gib)
    pixels = image.as_tensor() * (255.0 / image.meta["value_range"])
    if pixels.shape[0] == 3:
        # in float32, like OpenCV: in float64 a pixel at .5 may round the other way
        red, green, blue = (weight * channel for weight, channel in zip(_LUMA, pixels, strict=True))
        pixels = (red + green + blue).round()[None]
    return pixels.double()


def _measure_volume(paths: tuple[Path, ...], max_gib: float) -> dict[str, float]:
    """Mean of each metric over the axial slices of a fused volume; takes its path and those of its sources."""
    slices = slices_with_content(paths, max_gib).split(LARGEST_BATCH)
    parts = [fusion_metrics(part[:, :1], part[:, 1:], data_range=1.0) for part in slices]
    return {name: torch.cat([part[name] for part in parts]).nanmean().item() for name in FUSION_METRICS}


def _cases(paths: tuple[Path, Path, Path], max_gib: float) -> dict[str, tuple[Path, ...]]:
    """Case name -> its fused picture and its two sources, all of the same size."""
    if any(is_image_folder(path) for path in paths):
        for path in paths:
            if not is_image_folder(path):
                raise InputError(
                    f"{path} is not a folder, but another of the three is: give three files or three folders"
                )
        folders = [images_by_stem(folder) for folder in paths]
    else:
        for path in paths:
            if is_volume(path) != is_volume(paths[0]):
                raise InputError(f"{path} and {paths[0]} do not match: give three pictures or three volumes")
        folders = [{stem_of(paths[0]): path} for path in paths]
    names = sorted(folders[0])
    cases = {name: tuple(folder[name] for folder in folders if name in folder) for name in names}
    missing = [
        f"{path} has no {', '.join(absent)}"
        for path, folder in zip(paths, folders, strict=True)
        if (absent := [name for name in names if name not in folder])
    ]
    if problems := missing + _unequal_sizes(cases, max_gib):
        raise InputError(f"{'; '.join(problems)}: give every case three images of the same name and size")
    return cases


def _unequal_sizes(cases: dict[str, tuple[Path, ...]], max_gib: float) -> list[str]:
    problems = []
    for paths in cases.values():
        if is_volume(paths[0]):
            continue
        shapes = [spatial_shape_of(path, max_gib) for path in paths]
        if len(set(shapes)) > 1:
            sizes = (f"{path} is {height} x {width}" for path, (height, width) in zip(paths, shapes, strict=True))
            problems.append(", ".join(sizes))
    return problems


def _batches_of_one_size(cases: dict[str, tuple[Path, ...]], max_gib: float) -> list[list[str]]:
    """Case names, in groups of at most `LARGEST_BATCH`."""
    shapes = {name: spatial_shape_of(paths[0], max_gib) for name, paths in cases.items()}
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
