"""The images of a case as the pipeline used them: the fused image, and its sources on the same grid."""

import json
import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from monai.data import MetaTensor

from monai_s3im.bundle_config import bundle_parser
from monai_s3im.errors import InputError, own_errors
from monai_s3im.formats.paths import isfile
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of
from monai_s3im.functional import plane_luma, rgb_to_ycbcr
from monai_s3im.pairs.lists import Pair
from monai_s3im.record import FusionRecord
from monai_s3im.settings import MAX_GIB
from monai_s3im.transforms import ARCS, RestoreGridd, SplitChrominanced, in_color, on_same_grid
from monai_s3im.transforms.notes import PROVENANCE, noted


@dataclass(frozen=True)
class CaseImages:
    """The images of one case on one grid.

    Attributes:
        fused: (1 or 3, ...) in [0, 1].
        sources: A and B, (1 or 3, ...) in [0, 1]; empty if they cannot be shown.
        covered: bool (sources, ...), the voxels each source covers; None: all.
        why_no_sources: the reason, if there are no sources.
        uptake: uptake of the only source of a functional modality, (1, ...) in [0, 1]; None if there is none, or two.
        functional: index of that source, 0 or 1.
        color_table: its colours, see :func:`monai_s3im.transforms.colors_of`.
    """

    fused: MetaTensor
    sources: tuple[MetaTensor, ...] = ()
    covered: torch.Tensor | None = None
    why_no_sources: str | None = None
    uptake: MetaTensor | None = None
    functional: int = 0
    color_table: torch.Tensor | None = None

    @property
    def lumas(self) -> tuple[MetaTensor, ...]:
        """A, B and the fused image as input and output of the network, (1, ...) in [0, 1]."""
        lumas = [_luma(image) for image in (*self.sources, self.fused)]
        if self.uptake is not None and self.color_table is not None and self.color_table.ndim == 3:
            lumas[self.functional] = self.uptake
            if self.fused.shape[0] == 3:
                fused = plane_luma(self.color_table, self.uptake.as_tensor(), self.fused.as_tensor())
                lumas[-1] = MetaTensor(fused, affine=self.fused.affine)
        return tuple(lumas)


def read_case_images(
    fused: Path, record: FusionRecord, pair: Pair | None, color_map: str | None = None, max_gib: float = MAX_GIB
) -> CaseImages:
    """Read the fused image of a case, and its sources through the pipeline that made it.

    The sources are scaled, moved by the recorded transform, resampled onto the result's grid and coloured as for the
    fusion, by the transforms of the bundle's inference config with the settings of the record.

    Args:
        fused: the fused image; its transform, if any, is in the same folder.
        record: its record.
        pair: its sources; None: not known.
        color_map: the file of a colour map; the record has only its name and SHA256.
        max_gib: maximum memory that one image may take, see :data:`monai_s3im.settings.MAX_GIB`.

    Raises:
        InputError: if the fused image cannot be read, or does not match the record.
    """
    if sha256_of(fused) != record.fused_sha256:
        raise InputError(f"{fused.name} has changed since it was written: fuse it again")
    image = read_image(fused, max_gib)
    image = MetaTensor(image.as_tensor() / image.meta.get("value_range", 1.0), affine=image.affine)
    if pair is None:
        return CaseImages(image, why_no_sources="Its sources were not named, so only the fused image is shown.")
    try:
        item = _aligned(fused, record, pair, color_map, max_gib)
        sources = (item["image_a"], item["image_b"])
        if image.ndim == 4 and not all(on_same_grid(source, image) for source in sources):
            raise InputError("the grid of the fused image is not the one that the pipeline now gives: fuse it again")
    except InputError as error:
        return CaseImages(image, why_no_sources=f"Its sources cannot be shown: {error}")
    return CaseImages(
        image,
        sources,
        item.get("covered"),
        uptake=item.get("uptake"),
        functional=item.get("functional", 0),
        color_table=item.get("color_table"),
    )


def _aligned(
    fused: Path, record: FusionRecord, pair: Pair, color_map: str | None, max_gib: float
) -> dict[Hashable, Any]:
    """The sources before their luma is split off, in the array order of the result."""
    settings = {**record.recorded_settings, "register": "none", "device": "cpu", "max_gib": max_gib}
    if record.registration is not None and record.registration.file is not None:
        settings["transform"] = str(fused.with_name(record.registration.file))
    is_file = record.color_map is not None and record.color_map not in {*ARCS, *mpl.colormaps}
    settings["color_map"] = (color_map or record.color_map) if is_file else record.color_map
    if is_file and not isfile(str(settings["color_map"])):
        raise InputError(f"{settings['color_map']}, the file of its colour map, is missing: name it (--color-map)")
    item: dict[Hashable, Any] = {"image_a": str(pair.image_a), "image_b": str(pair.image_b)}
    item |= {f"modality_{key}": record.sources[f"image_{key}"].modality for key in "ab"}
    with own_errors(), _told_before():
        for transform in _pipeline(json.dumps(settings)):
            item = transform(item)
    for key, source in noted(item, PROVENANCE).items():
        if source["sha256"] != record.sources[key].sha256:
            raise InputError(f"{Path(source['file']).name} has changed since the fusion: fuse it again")
    keys = ["image_a", "image_b"]
    functional = [index for index, key in enumerate(keys) if "color_table" in item[key].meta]
    if len(functional) == 1:
        uptake = item[keys[functional[0]]]
        item |= {"uptake": uptake.clamp(0, 1), "functional": functional[0], "color_table": uptake.meta["color_table"]}
    item |= {key: in_color(item[key]) for key in keys}
    keys += [key for key in ("uptake", "covered") if key in item]
    return dict(RestoreGridd(keys)(item))


def _luma(image: MetaTensor) -> MetaTensor:
    """(1, ...) of gray or RGB."""
    if image.shape[0] == 1:
        return image
    return MetaTensor(rgb_to_ycbcr(image.as_tensor())[:1], affine=image.affine)


@lru_cache(maxsize=2)
def _pipeline(settings: str) -> tuple[Callable[..., dict[Hashable, Any]], ...]:
    """The transforms of the inference config up to the split of luma; takes the settings as JSON."""
    parser = bundle_parser("inference", **json.loads(settings))
    steps = parser.get_parsed_content("preprocessing").transforms
    return tuple(takewhile(lambda step: not isinstance(step, SplitChrominanced), steps))


@contextmanager
def _told_before() -> Iterator[None]:
    """Silence the pipeline's warnings, which are in the record already."""
    loggers = [logging.getLogger(f"monai_s3im.{name}") for name in ("formats", "transforms")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
