"""The colour of uptake: a colour map of matplotlib or of a file, without colour where there is no uptake."""

from collections.abc import Hashable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

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
from monai_s3im.functional import rgb_to_ycbcr, ycbcr_to_rgb
from monai_s3im.modalities import MODALITIES

from .meta import like, with_meta

FULL_COLOR = 0.25
"""From this part of the range on, uptake has the full colour of its map; from 0 on, the colour comes in smoothly."""

_FEWEST_ROWS = 256
_VOXELS_AT_ONCE = 2**18


class ColorMap(Transform):
    """Show a scalar image in colour: uptake is told by the hue, and brightens.

    - Luma is that of the map, where it is one of matplotlib's that is black at 0 and only brightens (afmhot, inferno).
      Else (viridis, jet, hot, which is dark red at 0, a file) it is the uptake itself, and the map gives the hue alone.
    - Chrominance is that of the map, weighted by the smooth step ``3 t^2 - 2 t^3``, ``t = uptake / 0.25`` up to 1: none
      at 0, full from a quarter of the range on. So no uptake leaves no colour, whatever the map has at 0.

    Args:
        name: a colour map of matplotlib, or a text file of 256 or more rows of R G B, from no to full uptake: 0 to 255,
            or 0 to 1 where no value is larger than 1.

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

        RGB leaves [0, 1] where luma and chrominance do not fit together; its luma does not.
        """
        return in_color(like(convert_to_tensor(image), with_meta(image), color_table=self.table))


def colors_of(values: Tensor, table: Tensor) -> Tensor:
    """The colours (3, ...) of values (1, ...), clipped to [0, 1], linearly between entries of a table (3, entries)."""
    last = table.shape[1] - 1
    position = values.flatten().clamp(0, 1) * last
    below = position.int().clamp_max_(last - 1)
    above = below + 1
    fraction = position.sub_(below)
    colors = [torch.lerp(c.index_select(0, below), c.index_select(0, above), fraction) for c in table]
    return torch.stack(colors).reshape(3, *values.shape[1:])


def in_color(image: MetaTensor) -> MetaTensor:
    """RGB (3, ...) of an image that has a table of colours in its metadata; another image as it is."""
    table = image.meta.get("color_table")
    if table is None:
        return image
    colored = image.as_tensor().new_empty(3, *image.shape[1:])
    for part, rgb in slabs(image.as_tensor(), colored):
        rgb.copy_(colors_of(part, table))
    return like(colored, image, without=("color_table",))


def slabs(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of images (C, rows, ...), few at a time: what is computed of them takes little memory."""
    rows = max(1, _VOXELS_AT_ONCE // images[0][0, 0].numel())
    return zip(*(image.split(rows, dim=1) for image in images), strict=True)


def map_colors(name: str) -> Tensor:
    """The colours of a map, RGB in [0, 1], (3, entries), from no to full uptake.

    Args:
        name: as :class:`ColorMap`.

    Raises:
        InputError: as :class:`ColorMap`.
    """
    if name in mpl.colormaps:
        return torch.as_tensor(mpl.colormaps[name](range(256))[:, :3].T.copy(), dtype=torch.float32)
    if isfile(name):
        return _colors_of_file(Path(name))
    alike = ", ".join(get_close_matches(name, list(mpl.colormaps), n=3)) or "afmhot, hot, inferno, viridis, jet"
    raise InputError(f"no colour map {name!r}: use one of matplotlib, such as {alike}, or a text file of R G B rows")


def _colors_of_file(path: Path) -> Tensor:
    remedy = f"give a text file of {_FEWEST_ROWS} or more rows of R G B, 0 to 255 or 0 to 1"
    try:
        colors = np.array(
            [line.replace(",", " ").split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        )
        colors = colors.astype(np.float64)
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f"{path} holds no colour map: {remedy}") from error
    if colors.ndim != 2 or colors.shape[1] != 3 or len(colors) < _FEWEST_ROWS:
        raise InputError(f"{path} has a table of shape {colors.shape}: {remedy}")
    if not (colors.min() >= 0 and colors.max() <= 255):
        raise InputError(f"{path} has values outside 0 to 255: {remedy}")
    largest = 255 if colors.max() > 1 else 1  # as FSLeyes and matplotlib write it
    return torch.as_tensor(colors.T.copy() / largest, dtype=torch.float32)


def _brightens_from_black(luma: Tensor) -> bool:
    return bool(luma[0] < 1 / 255) and bool((luma.diff() >= 0).all())


class ColorMapd(MapTransform):
    """Give each scalar volume of a functional modality (PET, SPECT) its colours, as ``meta["color_table"]``.

    The voxels stay as they are: three channels would take three times the memory, and :class:`SplitChrominanced` makes
    of values and table what it needs. Pictures get no table: a gray picture of uptake has lost its unit, and a coloured
    one has its colours.

    Args:
        keys: normalised sources with ``meta["modality"]``.
        color_map: see :class:`ColorMap`; None: that of each modality.

    Raises:
        InputError: if the colour map cannot be used.
    """

    def __init__(self, keys: KeysCollection, color_map: str | None = None) -> None:
        super().__init__(keys)
        self.color_map = ColorMap(str(color_map)) if color_map else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Colour."""
        result = dict(data)
        for key in self.keys:
            image = with_meta(result[key])
            modality = MODALITIES.get(image.meta.get("modality"))
            own = modality.color_map if modality else None
            if own and image.ndim == 4 and image.shape[0] == 1:
                table = (self.color_map or ColorMap(own)).table
                result[key] = like(image.as_tensor(), image, color_table=table)
        return result
