"""Check fused volumes: picture guards slice by slice, smoothness between slices, and no patch grid."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import isfile
from monai_s3im.formats.writing import write_json, write_text
from monai_s3im.pairs.lists import Pair
from monai_s3im.record import FusionRecord
from monai_s3im.transforms.slices import PLANES, ToSlices

from .guards import GUARDS, VOLUME_GUARDS, Guard, guard_values
from .pictures import draw_montage
from .readability import READING_GUARDS, ReadingGuard, reading_values
from .replay import CaseImages, read_case_images

_SLICES_AT_ONCE = 16
ALL_GUARDS: dict[str, Guard | ReadingGuard] = {**GUARDS, **VOLUME_GUARDS, **READING_GUARDS}
"""The guards of :func:`case_guards` by name."""


@dataclass(frozen=True)
class VolumeGuards:
    """The guard values of one fused volume.

    Attributes:
        name: of the pair.
        modalities: of its sources.
        values: guard -> value, nan if there is nothing to measure.
    """

    name: str
    modalities: tuple[str, str]
    values: dict[str, float]


def volume_guards(fused: Tensor, sources: Tensor, modality_b: str) -> dict[str, float]:
    """The guards of a volume.

    Args:
        fused: (1, H, W, D) in [0, 1], slices along the last axis, as for the network.
        sources: (2, H, W, D) in [0, 1].
        modality_b: modality of the second source.

    Returns:
        Guard -> value: picture guards as means over the slices with something to measure, then volume guards.
    """
    found: dict[str, list[Tensor]] = {}
    for start in range(0, fused.shape[-1], _SLICES_AT_ONCE):
        part = slice(start, start + _SLICES_AT_ONCE)
        images, pairs = (255 * volume[..., part].movedim(-1, 0).double() for volume in (fused, sources))
        for name, values in guard_values(images, pairs, modality_b).items():
            found.setdefault(name, []).append(values)
    means = {name: torch.cat(columns).nanmean().item() for name, columns in found.items()}
    return {**means, **{name: guard.values(fused, sources).item() for name, guard in VOLUME_GUARDS.items()}}


def case_guards(images: CaseImages, record: FusionRecord) -> dict[str, float]:
    """The guards of a case and, for coloured results, the readability of uptake.

    Args:
        images: with both sources.
        record: how they were fused.

    Returns:
        Name in :data:`ALL_GUARDS` -> value, nan if there is nothing to measure.
    """
    modality_b = record.sources["image_b"].modality
    if images.fused.ndim == 3:
        a, b, fused = (255 * luma.as_tensor().clamp(0, 1).double() for luma in images.lumas)
        values = guard_values(fused[None], torch.cat([a, b])[None], modality_b)
        return {name: value.item() for name, value in values.items()} | _readings(images, record)
    slices = [ToSlices(record.settings.plane)(luma).as_tensor().clamp(0, 1) for luma in images.lumas]
    return volume_guards(slices[2], torch.cat(slices[:2]), modality_b) | _readings(images, record)


def run_volumes(
    fused_dir: Path,
    pairs: Sequence[Pair],
    output_dir: Path,
    progress: Callable[[str], None] | None = None,
    color_map: str | Path | None = None,
) -> Path:
    """Measure and draw the fused volumes of pairs.

    Args:
        fused_dir: folder of ``NAME.nii.gz`` with their records, as ``s3im fuse --pairs`` writes them.
        pairs: the sources.
        output_dir: gets ``volumes.md``, ``volumes.json`` and ``NAME.png``, sources and fused volume in three
            planes with an enlarged region each.
        progress: called with the name of the current step.
        color_map: the file of a colour map that the volumes were fused with; a record has only its name and SHA256.

    Returns:
        The Markdown file.

    Raises:
        InputError: no pair has a fused volume, or a volume or a source cannot be read.
        OutputError: an output cannot be written.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output_dir} cannot be created ({error.strerror}): choose another folder") from error
    found = []
    for pair in pairs:
        fused = fused_dir / f"{pair.name}.nii.gz"
        if not isfile(fused):
            continue
        if progress is not None:
            progress(pair.name)
        record = FusionRecord.read(fused)
        if record is None:
            raise InputError(f"{fused} has no record (.json): fuse it again with s3im fuse")
        images = read_case_images(fused, record, pair, str(color_map) if color_map else None)
        if images.why_no_sources:
            raise InputError(f"{pair.name}: {images.why_no_sources}")
        modalities = tuple(record.sources[f"image_{key}"].modality for key in "ab")
        values = case_guards(images, record)
        found.append(VolumeGuards(pair.name, (modalities[0], modalities[1]), values))
        shown = {"A": images.sources[0], "B": images.sources[1], "fused": images.fused}
        planes = {plane: {title: _middle(image, plane) for title, image in shown.items()} for plane in PLANES}
        draw_montage(planes, output_dir / f"{pair.name}.png", record.color_bar)
    if not found:
        raise InputError(f"{fused_dir} holds no fused volume of these pairs: fuse them with s3im fuse --pairs first")
    write_json({"volumes": {one.name: _finite(one.values) for one in found}}, output_dir / "volumes.json")
    write_text(_markdown(found), output_dir / "volumes.md")
    return output_dir / "volumes.md"


def _readings(images: CaseImages, record: FusionRecord) -> dict[str, float]:
    """How well uptake can be read; empty for a fused volume without a colour bar."""
    if record.color_bar is None or images.uptake is None:
        return {}
    bar = torch.tensor(record.color_bar.colors, dtype=torch.float64).T / 255
    fused, uptake, luma = (image.as_tensor() for image in (images.fused, images.uptake, images.lumas[-1]))
    return reading_values(fused.expand(3, *fused.shape[1:]), bar, uptake, luma)  # RGB without colour is read as gray


def _markdown(found: Sequence[VolumeGuards]) -> str:
    guards = {name: guard for name, guard in ALL_GUARDS.items() if any(name in one.values for one in found)}
    titles = [f"{each.title}, {'at most' if each.is_upper else 'at least'} {each.bound:g}" for each in guards.values()]
    lines = [f"| volume | modalities | {' | '.join(titles)} |", "|---" * (len(guards) + 2) + "|"]
    for one in found:
        cells = [_cell(name, one.values.get(name, math.nan)) for name in guards]
        lines.append(f"| {one.name} | {' + '.join(one.modalities)} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.3f}" if ALL_GUARDS[name].holds(value) else f"{value:.3f} (broken)"


def _middle(image: MetaTensor, plane: str) -> Tensor:
    """The middle slice, (1 or 3, rows, columns) on the 0..255 scale."""
    slices = ToSlices(plane)(image).as_tensor()
    return 255 * slices[..., slices.shape[-1] // 2]


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
