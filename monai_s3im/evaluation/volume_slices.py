"""A fused volume and its sources, slice by slice, prepared as its record says."""

import logging
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from monai_s3im.bundle_config import inference_steps
from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of
from monai_s3im.functional import arc_of_bar, plane_luma, rgb_to_ycbcr, uptake_colors
from monai_s3im.record import FusionRecord, record_path
from monai_s3im.settings import DEFAULTS
from monai_s3im.transforms import ARCS
from monai_s3im.transforms.movement import moved_by, ras_to_lps

logger = logging.getLogger(__name__)

_MEASURED = ("fused", "image_a", "image_b")


def slices_with_content(paths: tuple[Path, ...], max_gib: float) -> Tensor:
    """The axial slices of a fused volume and its sources as fused; only slices in which a source has content.

    Args:
        paths: paths of the fused volume and of its sources in either order.
        max_gib: maximum memory that one image may take.

    Returns:
        (S, 3, H, W), float64, in [0, 1]: fused, source A, source B.

    Raises:
        InputError: as :func:`.evaluate.evaluate`.
    """
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
        color=record.settings.color if record else DEFAULTS.color,
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
    return slices[slices[:, 1:].amax((1, 2, 3)) > 0]


def _fused_luma(item: dict[Hashable, Any], record: FusionRecord | None) -> MetaTensor:
    """The luma of a fused volume, (1, ...); if hue shows uptake, it is recovered from lightness and uptake."""
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
    """The two sources in the order of the record, by their SHA256, since modality and movement belong to one source."""
    fused, source_a, source_b = paths
    recorded = [record.sources[key].sha256 for key in ("image_a", "image_b")] if record else [None, None]
    if None in recorded:  # an early version, or sources that were not files
        return source_a, source_b
    found = [sha256_of(source) for source in (source_a, source_b)]
    for source, sha256 in zip((source_a, source_b), found, strict=True):
        if sha256 not in recorded:
            logger.warning(
                "%s is not one of the sources in the record of %s: check that it is the right file", source, fused
            )
    is_swapped = found != recorded and (found[0] == recorded[1] or found[1] == recorded[0])
    return (source_b, source_a) if is_swapped else (source_a, source_b)


def _record_of(fused: Path) -> tuple[FusionRecord | None, NDArray[np.float64] | None]:
    """The record next to a fused volume, and the movement of its second source.

    Raises:
        InputError: the record is damaged.
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
    """Replace a map from a file, which is missing here; the luma stays the uptake, as with built-in maps."""
    return next(iter(ARCS)) if _is_file(name) else name


def _is_file(color_map: str | None) -> bool:
    return bool(color_map) and color_map not in {*ARCS, *mpl.colormaps}
