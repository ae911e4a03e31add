"""The colour of uptake: by the hues of a colour map, or by its chrominance; no colour without uptake."""

import logging
import math
import re
from collections.abc import Hashable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import isfile
from monai_s3im.functional import hue_arc, plane_colors, rgb_to_lab, rgb_to_ycbcr, uptake_colors, ycbcr_to_rgb
from monai_s3im.modalities import MODALITIES
from monai_s3im.settings import COLOR_MODELS, COLORED

from .meta import like, with_meta
from .notes import COLOR_BAR, with_note, with_warnings

logger = logging.getLogger(__name__)

ARCS = {"magenta-gold": (-30.0, 80.0)}
"""Built-in colour maps: first and last hue, degrees of CIELAB. The default map also stays in order for people with
deuteranopia or protanopia (``docs/draw/colors.py``)."""


FULL_COLOR = 0.25
"""Above this part of the range, uptake has the full colour of its map; below it, the colour fades in smoothly."""

_FULL_HUE = 0.08
_LEAST_ANATOMY = 0.94  # measured: 0.95 to 0.99 for maps that meet the anatomy guard, 0.89 to 0.92 for the others
_REMEDY = f"use {next(iter(ARCS))}, plasma or inferno"
_FEWEST_ROWS = 256
_BAR_ENTRIES = 256
_VOXELS_AT_ONCE = 2**18


class ColorMap(Transform):
    """Show a scalar image by the luma and the chrominance of a colour map, in YCbCr.

    - Luma is that of the map if it is a matplotlib map that is black at 0 and only brightens (afmhot, inferno).
      Otherwise (viridis, jet, hot, which is dark red at 0, a file) it is the uptake itself, and the map gives only the
      hue.
    - Chrominance is that of the map, weighted by the smooth step ``3 t^2 - 2 t^3``, ``t = uptake / 0.25`` up to 1: zero
      at 0, full at a quarter of the range and above. So zero uptake has no colour, whatever the map has at 0.

    Args:
        name: a colour map of :data:`ARCS` or of matplotlib, or a text file of 256 or more rows of R G B, from no to
            full uptake: 0 to 255, or 0 to 1 if no value exceeds 1.

    Raises:
        InputError: if it is neither, or the file cannot be used.
    """

    def __init__(self, name: str) -> None:
        rgb = map_colors(name)  # (3, entries)
        uptake = torch.linspace(0, 1, rgb.shape[1])
        ycbcr = rgb_to_ycbcr(rgb)
        part = (uptake / FULL_COLOR).clamp_max(1)
        ycbcr[1:] *= part**2 * (3 - 2 * part)
        if name not in mpl.colormaps or not _brightens_from_black(ycbcr[0]):
            ycbcr[0] = uptake
        self.table = ycbcr_to_rgb(ycbcr)

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """Map (1, ...) in [0, 1] to RGB (3, ...), linearly between the entries of the table.

        RGB leaves [0, 1] where luma and chrominance do not match; its luma does not.
        """
        return in_color(like(convert_to_tensor(image), with_meta(image), color_table=self.table))


def colors_of(values: Tensor, table: Tensor) -> Tensor:
    """The colours (3, ...) of values (1, ...), clipped to [0, 1], linearly between entries of a table.

    A table is (3, entries), or (3, uptakes, lumas), see :func:`monai_s3im.functional.uptake_colors`; then the luma of a
    value is the value itself.
    """
    if table.ndim == 3:
        return plane_colors(table, values, values)
    last = table.shape[1] - 1
    position = values.flatten().clamp(0, 1) * last
    below = position.int().clamp_max_(last - 1)
    above = below + 1
    fraction = position.sub_(below)
    colors = [torch.lerp(c.index_select(0, below), c.index_select(0, above), fraction) for c in table]
    return torch.stack(colors).reshape(3, *values.shape[1:])


def in_color(image: MetaTensor) -> MetaTensor:
    """RGB (3, ...) of an image with a colour table in its metadata; any other image unchanged."""
    table = image.meta.get("color_table")
    if table is None:
        return image
    colored = image.as_tensor().new_empty(3, *image.shape[1:])
    for part, rgb in slabs(image.as_tensor(), colored):
        rgb.copy_(colors_of(part, table))
    return like(colored, image, without=("color_table",))


def slabs(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Blocks of the same rows of images (C, rows, ...), small enough to save memory."""
    rows = max(1, _VOXELS_AT_ONCE // images[0][0, 0].numel())
    return zip(*(image.split(rows, dim=1) for image in images), strict=True)


def map_colors(name: str) -> Tensor:
    """The colours of a map, RGB in [0, 1], (3, entries), from no to full uptake.

    Args:
        name: as :class:`ColorMap`.

    Raises:
        InputError: as :class:`ColorMap`.
    """
    if name in ARCS:
        return uptake_colors(ARCS[name])[0]
    if name in mpl.colormaps:
        return torch.as_tensor(mpl.colormaps[name](range(256))[:, :3].T.copy(), dtype=torch.float32)
    if isfile(name):
        return _colors_of_file(Path(name))
    alike = ", ".join(get_close_matches(name, [*ARCS, *mpl.colormaps], n=3)) or "magenta-gold, inferno, viridis, jet"
    raise InputError(
        f"unknown colour map {name!r}: use one from matplotlib, such as {alike}, or a text file of R G B rows"
    )


def _colors_of_file(path: Path) -> Tensor:
    remedy = f"give a text file of {_FEWEST_ROWS} or more rows of R G B, 0 to 255 or 0 to 1"
    try:
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
        rows = [re.split(r"[\s,;]+", line) for line in lines if line and not line.startswith("#")]
        if rows and rows[0][0].isalpha():  # column titles
            del rows[0]
        colors = np.array(rows).astype(np.float64)
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f"{path} is not a colour map: {remedy}") from error
    if colors.ndim != 2 or colors.shape[1] != 3 or len(colors) < _FEWEST_ROWS:
        raise InputError(f"{path} has a table of shape {colors.shape}: {remedy}")
    if not (colors.min() >= 0 and colors.max() <= 255):
        raise InputError(f"{path} has values outside 0 to 255: {remedy}")
    largest = 255 if colors.max() > 1 else 1  # as FSLeyes and matplotlib write it
    return torch.as_tensor(colors.T.copy() / largest, dtype=torch.float32)


def _brightens_from_black(luma: Tensor) -> bool:
    return bool(luma[0] < 1 / 255) and bool((luma.diff() >= 0).all())


class Colors(NamedTuple):
    """The colouring of uptake.

    Attributes:
        bar: the colour bar, RGB in [0, 1], (3, entries).
        table: colour table for :func:`colors_of`.
        remark: a warning about the map; None if there is none.
    """

    bar: Tensor
    table: Tensor
    remark: str | None = None


def colors_by(name: str, color_model: str) -> Colors:
    """Build the colours of a map in a colour model.

    Args:
        name: as :class:`ColorMap`.
        color_model: ``"lab"``: the hues of the map, evenly spaced, with lightness left to anatomy; ``"ycbcr"``: as
            :class:`ColorMap`; also used for a map whose hues cannot show uptake.

    Raises:
        InputError: as :class:`ColorMap`.
    """
    if color_model == "lab":
        arc = ARCS.get(name) or hue_arc(map_colors(name))
        if arc is not None:
            bar, plane = uptake_colors(arc)
            hidden = (
                f"the colour map {Path(name).name} hides anatomy: some of its hues are visible only at high lightness, "
                f"so lightness depends on uptake; {_REMEDY}"
            )
            return Colors(bar, plane, None if _shows_anatomy(plane) else hidden)
    table = ColorMap(name).table
    remark = (
        f"the colour map {Path(name).name} is unsuitable for fusion: it shows uptake by brightness or repeats its "
        f"hues, so uptake cannot be read from the fused colours; {_REMEDY}"
    )
    mixed = (
        "with the colour model ycbcr, uptake and anatomy share the brightness, so uptake cannot be read from the "
        "fused colours: leave --color-model out, or compare with the PET or SPECT itself"
    )
    return Colors(table.clamp(0, 1), table, remark if color_model == "lab" else mixed)


def _shows_anatomy(plane: Tensor) -> bool:
    """Whether lightness follows the luma at all fully coloured uptakes, by Pearson's correlation."""
    begin = math.ceil(_FULL_HUE * plane.shape[1])
    lightness = rgb_to_lab(plane[:, begin:].double())[0]
    luma = torch.linspace(0, 1, plane.shape[2], dtype=torch.float64).expand_as(lightness)
    return bool(torch.corrcoef(torch.stack([lightness.flatten(), luma.flatten()]))[0, 1] >= _LEAST_ANATOMY)


class ColorMapd(MapTransform):
    """Give the source to be coloured its colours, as ``meta["color_table"]``.

    The voxels are unchanged, since three channels would need three times the memory; :class:`SplitChrominanced` uses
    the values and the table.

    - ``color="auto"``: scalar volumes of a functional modality (PET, SPECT). Pictures get no table: a gray picture of
      uptake has lost its unit, and a coloured one already has colours.
    - ``color="b"``: only the last source, volume or picture, whatever its modality. If two gray contrasts oppose each
      other, such as those of a lesion in T1 and FLAIR, hue shows the second one.

    In the model ``"lab"`` hue shows uptake and lightness anatomy, see :func:`monai_s3im.functional.uptake_colors`. If a
    second source has colour, the colours of both are mixed, which requires ``"ycbcr"``.

    Args:
        keys: normalised sources with ``meta["modality"]``, A and B.
        color_map: see :class:`ColorMap`; None: that of each modality, and magenta-gold for one that has none.
        color_model: ``"lab"`` or ``"ycbcr"``, see :func:`colors_by`.
        color: ``"auto"`` or ``"b"``.

    Raises:
        InputError: if the colour map or the model cannot be used, or ``color`` is unknown.
    """

    def __init__(
        self, keys: KeysCollection, color_map: str | None = None, color_model: str = "lab", color: str = "auto"
    ) -> None:
        super().__init__(keys)
        if color not in COLORED:
            raise InputError(f"color is {color!r}: use one of {', '.join(COLORED)}")
        if color_model not in COLOR_MODELS:
            raise InputError(f"unknown colour model {color_model!r}: use one of {', '.join(COLOR_MODELS)}")
        self.color, self.color_model = color, color_model
        self.colors = {model: colors_by(str(color_map), model) for model in COLOR_MODELS} if color_map else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Colour; the colour bar and warnings about the map are noted.

        Raises:
            InputError: if B should be shown by colour, but a source already has colours.
        """
        result = dict(data)
        images = {key: with_meta(result[key]) for key in self.keys}
        if self.color == "b":
            _refuse_colors(images)
            key = self.keys[-1]
            maps = {key: _map_of(images[key]) or next(iter(ARCS))}
        else:
            maps = {key: own for key, image in images.items() if (own := _map_of(image)) is not None}
        is_alone = len(maps) == 1 and not any(image.shape[0] == 3 for image in images.values())
        model = self.color_model if is_alone else "ycbcr"
        for key, own in maps.items():
            colors = self.colors[model] if self.colors else colors_by(own, model)
            result[key] = like(images[key].as_tensor(), images[key], color_table=colors.table)
            if is_alone:
                result = with_note(result, COLOR_BAR, _bar_of(images[key], colors.bar))
            if colors.remark is not None and is_alone:
                logger.warning("%s", colors.remark)
                result = with_warnings(result, [colors.remark])
        return result


def _map_of(image: MetaTensor) -> str | None:
    """The colour map of its modality, if the image is a scalar volume of uptake."""
    modality = MODALITIES.get(image.meta.get("modality"))
    return modality.color_map if modality and image.ndim == 4 and image.shape[0] == 1 else None


def _refuse_colors(images: Mapping[Hashable, MetaTensor]) -> None:
    for key, image in images.items():
        if image.shape[0] == 3:
            file = image.meta.get("filename_or_obj") or key
            raise InputError(f"{file} already has colours, but color b needs gray sources: leave color at auto")


def _bar_of(image: MetaTensor, bar: Tensor) -> dict[str, Any]:
    """The colour bar in the form of the record."""
    evenly = colors_of(torch.linspace(0, 1, _BAR_ENTRIES)[None], bar)
    colors = (255 * evenly).round().to(torch.uint8).T.tolist()
    unit = str(image.meta.get("unit") or "")
    return {
        "colors": colors,
        "range": [float(end) for end in image.meta.get("intensity_range", (0.0, 1.0))],
        "unit": "SUV" if unit.upper().startswith("SUV") else unit or None,
    }
