"""Measure fused images on disk: ``evaluate()``, and the ``Evaluation`` that it returns."""

import csv
import io
import logging
import math
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from monai_s3im.bundle_config import inference_steps
from monai_s3im.errors import InputError
from monai_s3im.formats.reading import is_image_folder, is_volume, read_image, spatial_shape_of, stem_of
from monai_s3im.formats.writing import sha256_of, write_json, write_text
from monai_s3im.functional import arc_of_bar, plane_luma, rgb_to_ycbcr, uptake_colors
from monai_s3im.metrics import FUSION_METRICS, fusion_metrics
from monai_s3im.pairs.lists import images_by_stem
from monai_s3im.record import FusionRecord, record_path
from monai_s3im.settings import DEFAULTS, MAX_GIB
from monai_s3im.transforms import ARCS
from monai_s3im.transforms.movement import moved_by, ras_to_lps

logger = logging.getLogger(__name__)

LARGEST_BATCH = 16
_MEASURED = ("fused", "image_a", "image_b")
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


def evaluate(fused: str | Path, source_a: str | Path, source_b: str | Path, *, max_gib: float = MAX_GIB) -> Evaluation:
    """Measure fused images with all fusion metrics, in float64.

    Colour pictures are measured on their luma, the rounded gray of OpenCV's BGR2GRAY: round(0.299 R + 0.587 G +
    0.114 B). 16-bit pictures are brought to the 0..255 scale.

    A volume is measured slice by slice in the axial plane, on the fused volume's grid, with its sources scaled as they
    were for fusing and the second where registration brought it (modalities, window, ranges, colour map and movement
    are read from the JSON file beside the fused volume; where there is none, they are guessed, and nothing is moved);
    its values are the means over the slices in which a source has content.

    Args:
        fused: a picture or volume, or a folder of them.
        source_a: a source, or a folder with one for each fused image, of the same name up to the suffix;
            further files there are left alone.
        source_b: the other source, in the same forms. Of a volume with a record the order of the two does not matter:
            their SHA256 says which is which, and a warning if one is not named there.
        max_gib: most memory that one image may take, see :data:`monai_s3im.settings.MAX_GIB`.

    Returns:
        The values by case; a case is named by the stem of its fused file.

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
        # in float32, as OpenCV: in float64 a pixel that lies on .5 may round to the other side
        red, green, blue = (weight * channel for weight, channel in zip(_LUMA, pixels, strict=True))
        pixels = (red + green + blue).round()[None]
    return pixels.double()


def _measure_volume(paths: tuple[Path, ...], max_gib: float) -> dict[str, float]:
    """Mean of each metric over the axial slices of a fused volume; its path, and those of its sources."""
    fused = paths[0]
    record, matrix = _record_of(fused)
    source_a, source_b = _in_recorded_order(paths, record)
    window = record.settings.window if record else DEFAULTS.window
    color_map = _color_map_of_same_luma(record.color_map if record else None)
    load, normalize, *others = inference_steps(
        *("load", "normalize", "align", "color", "split"),
        keys={"align": _MEASURED},
        window=window,
        unit=record.settings.unit if record else DEFAULTS.unit,
        **{f"range_{key}": getattr(record.settings, f"range_{key}") if record else None for key in "ab"},
        color_map=color_map,
        color_model=record.settings.color_model if record else DEFAULTS.color_model,
        max_gib=max_gib,
        device="cpu",
    )
    item: dict[Hashable, Any] = {}
    item |= {f"modality_{key}": record.sources[f"image_{key}"].modality if record else None for key in "ab"}
    item = normalize(load({**item, "image_a": source_a, "image_b": source_b}))
    if matrix is not None:
        item["image_b"] = moved_by(ras_to_lps(matrix), item["image_b"])
    item["fused"] = read_image(fused, max_gib)
    item["fused"] = item["fused"] / item["fused"].meta.get("value_range", 1.0)
    for step in others:
        item = step(item)
    item["fused"] = _fused_luma(item, record)
    slices = torch.cat([item[key].as_tensor() for key in _MEASURED]).movedim(-1, 0).double()
    slices = slices[slices[:, 1:].amax((1, 2, 3)) > 0]  # (S, 3, H, W)
    parts = [fusion_metrics(part[:, :1], part[:, 1:], data_range=1.0) for part in slices.split(LARGEST_BATCH)]
    return {name: torch.cat([part[name] for part in parts]).nanmean().item() for name in FUSION_METRICS}


def _fused_luma(item: dict[Hashable, Any], record: FusionRecord | None) -> MetaTensor:
    """The luma of a fused volume, (1, ...); where hue shows uptake, lightness was made of it and the uptake."""
    fused: MetaTensor = item["fused"]
    if fused.shape[0] == 1:
        return fused
    table = item.get("color_table")
    if record is not None and record.color_bar is not None and _is_file(record.color_map):
        arc = arc_of_bar(torch.tensor(record.color_bar.colors, dtype=torch.float64).T / 255)
        table = uptake_colors(arc)[1] if arc else None
    if table is not None and table.ndim == 3:
        return MetaTensor(plane_luma(table, item["uptake"], fused.as_tensor()), meta=fused.meta)
    return MetaTensor(rgb_to_ycbcr(fused.as_tensor())[:1], meta=fused.meta)


def _in_recorded_order(paths: tuple[Path, ...], record: FusionRecord | None) -> tuple[Path, Path]:
    """The two sources in the order of the record, by their SHA256: modality and movement are those of each source."""
    fused, source_a, source_b = paths
    recorded = [record.sources[key].sha256 for key in ("image_a", "image_b")] if record else [None, None]
    if None in recorded:  # of an early version, or sources that were no files
        return source_a, source_b
    found = [sha256_of(source) for source in (source_a, source_b)]
    for source, sha256 in zip((source_a, source_b), found, strict=True):
        if sha256 not in recorded:
            logger.warning(
                "%s is not a source that the record of %s names: check that it is the right one", source, fused
            )
    is_swapped = found != recorded and (found[0] == recorded[1] or found[1] == recorded[0])
    return (source_b, source_a) if is_swapped else (source_a, source_b)


def _record_of(fused: Path) -> tuple[FusionRecord | None, NDArray[np.float64] | None]:
    """The record beside a fused volume, and the movement of its second source.

    Raises:
        InputError: there is a record, and it is damaged.
    """
    try:
        record = FusionRecord.read(fused)
        return record, _movement_of(record) if record else None
    except ValueError as error:  # InputError too
        path = record_path(fused)
        raise InputError(f"{path} is damaged: fuse again, or delete it to measure with guesses") from error


def _movement_of(record: FusionRecord) -> NDArray[np.float64] | None:
    """The movement of the second source, 4 x 4, LPS mm; None: it was not moved.

    Raises:
        ValueError: it is not a rigid or affine movement.
    """
    if record.registration is None or record.registration.matrix_lps is None:
        return None
    matrix = np.array(record.registration.matrix_lps, dtype=np.float64).reshape(4, 4)
    if not abs(np.linalg.det(matrix)) > 0:
        raise ValueError("a movement that cannot be inverted")
    return matrix


def _color_map_of_same_luma(name: str | None) -> str | None:
    """A colour map of a file, which is not available here, leaves the uptake as luma, as our own maps do."""
    return next(iter(ARCS)) if _is_file(name) else name


def _is_file(color_map: str | None) -> bool:
    return bool(color_map) and color_map not in {*ARCS, *mpl.colormaps}


def _cases(paths: tuple[Path, Path, Path], max_gib: float) -> dict[str, tuple[Path, ...]]:
    """Case name -> its fused picture and its two sources, all of one size."""
    if any(is_image_folder(path) for path in paths):
        for path in paths:
            if not is_image_folder(path):
                raise InputError(f"{path} is not a folder, but another of the three is: give three files or folders")
        folders = [images_by_stem(folder) for folder in paths]
    else:
        for path in paths:
            if is_volume(path) != is_volume(paths[0]):
                raise InputError(f"{path} and {paths[0]} do not fit: give three pictures or three volumes")
        folders = [{stem_of(paths[0]): path} for path in paths]
    names = sorted(folders[0])
    cases = {name: tuple(folder[name] for folder in folders if name in folder) for name in names}
    missing = [
        f"{path} has no {', '.join(absent)}"
        for path, folder in zip(paths, folders, strict=True)
        if (absent := [name for name in names if name not in folder])
    ]
    if problems := missing + _unequal_sizes(cases, max_gib):
        raise InputError(f"{'; '.join(problems)}: give every case three images of one name and one size")
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
    """Case names, at most `LARGEST_BATCH` together."""
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
