"""Colour: the luma is fused, then uptake or chrominance is restored (Fig. 4)."""

from collections.abc import Hashable, Mapping, MutableMapping
from typing import Any

import SimpleITK as sitk  # noqa: N813
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_s3im.functional import merge_chrominance, plane_colors, rgb_to_ycbcr, ycbcr_to_rgb

from .color_map import colors_of, slabs
from .meta import like, with_meta
from .notes import COLOR_BAR


class SplitChrominanced(MapTransform):
    """Replace each coloured source by its luma, and keep the data to restore the chrominance.

    A source has colour by its three channels (RGB), or by a table (:class:`ColorMapd`). If one source has a table and
    no other has colour, the data are ``uptake`` (1, ...), its values, and ``color_table``; otherwise ``chrominance``
    (2, ...), combined from all sources. A source is ignored at voxels it does not cover (``covered``, one mask for
    each key).
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Split."""
        result = dict(data)
        colored = [key for key in self.keys if _table_of(result[key]) is not None or result[key].shape[0] == 3]
        if len(colored) == 1 and (table := _table_of(result[colored[0]])) is not None:
            image = result[colored[0]]
            result.update({"uptake": image.as_tensor(), "color_table": table})
            luma = _luma_of_uptake(image.as_tensor(), table)
            result[colored[0]] = like(luma, image, without=("color_table",))
            return result
        chrominances = []
        for key in colored:
            image = with_meta(result[key])
            luma, chrominance = _luma_and_chrominance(image.as_tensor(), _table_of(image))
            result[key] = like(luma, image, without=("color_table",))
            covered = result["covered"][self.keys.index(key)] if "covered" in result else None
            chrominances.append(chrominance if covered is None else chrominance.mul_(covered))
        if len(chrominances) == 1:
            result["chrominance"] = chrominances[0]
        elif chrominances:
            result["chrominance"] = merge_chrominance(torch.stack(chrominances))
        return result


def _table_of(image: MetaTensor) -> Tensor | None:
    return image.meta.get("color_table") if isinstance(image, MetaTensor) else None


def _luma_of_uptake(uptake: Tensor, table: Tensor) -> Tensor:
    """The luma of the map, or the uptake itself if the table has an axis of lumas."""
    if table.ndim == 3:
        return uptake
    luma = torch.empty_like(uptake)
    for part, y in slabs(uptake, luma):
        y.copy_(rgb_to_ycbcr(colors_of(part, table))[:1])
    return luma


def _luma_and_chrominance(image: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
    """Y (1, ...) and Cb, Cr (2, ...), each in its own memory."""
    luma, chrominance = (image.new_empty(channels, *image.shape[1:]) for channels in (1, 2))
    for part, y, cbcr in slabs(image, luma, chrominance):
        ycbcr = rgb_to_ycbcr(part if table is None else colors_of(part, table))
        y.copy_(ycbcr[:1])
        cbcr.copy_(ycbcr[1:])
    return luma, chrominance


class JoinSourcesd(MapTransform):
    """Concatenate the sources along the channels as ``image``, with the metadata of the first.

    Where a source does not cover a voxel of a slice (``covered``), ``image`` has the value of the nearest covered voxel
    in the slice. Otherwise the network would treat the end of the field of view as an edge, and draw a bright line
    there.

    Args:
        keys: sources, (1, ...), all of one size.
        keep: keep the sources in the dictionary, where ``Invertd`` needs their traces (``orig_keys``). False: remove
            each from the given dictionary once it is copied, to save memory.
    """

    def __init__(self, keys: KeysCollection, keep: bool = True) -> None:
        super().__init__(keys)
        self.keep = keep

    def __call__(self, data: MutableMapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Join."""
        first = with_meta(data[self.keys[0]])
        image = torch.empty(len(self.keys), *first.shape[1:], dtype=first.dtype, device=first.device)
        joined = like(image, first)  # shares the memory
        del first
        for index, key in enumerate(self.keys):
            image[index] = convert_to_tensor(data[key] if self.keep else data.pop(key))[0]
            if (covered := data.get("covered")) is not None and not covered[index].all():
                _extend(image[index], convert_to_tensor(covered[index], device="cpu"))
        return {**data, "image": joined}


def _extend(slices: Tensor, covered: Tensor) -> None:
    """Give each uncovered voxel the value of the nearest covered one in its slice; both (H, W[, slices])."""
    for index in range(slices.shape[2] if slices.ndim == 3 else 1):
        values, inside = (x[..., index] if x.ndim == 3 else x for x in (slices, covered))
        if not inside.any() or inside.all():
            continue
        distances = sitk.DanielssonDistanceMapImageFilter()
        distances.Execute(sitk.GetImageFromArray(inside.byte().numpy()))
        to_nearest = torch.as_tensor(sitk.GetArrayFromImage(distances.GetVectorDistanceMap()))
        outside = (~inside).nonzero()
        rows, columns = (outside + to_nearest[tuple(outside.T)].flip(-1)).to(values.device).T
        values[tuple(outside.to(values.device).T)] = values[rows, columns]


class FillUncoveredd(MapTransform):
    """Clip the fused luma to [0, 1], and replace it where a source is missing.

    Where not every source covers a voxel (``covered``), the result is the brightest source that does, or 0. The sources
    and ``covered`` are removed from the given dictionary, which is returned; this frees the memory of whole volumes.

    Args:
        keys: fused luma (1, ...).
        image_key: the sources, (N, ...), as given to the network.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image") -> None:
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: MutableMapping[Hashable, Any]) -> MutableMapping[Hashable, Any]:
        """Fill."""
        sources, covered = (data.pop(key, None) for key in (self.image_key, "covered"))
        for key in self.keys:
            given = data.pop(key)
            fused = convert_to_tensor(given).float().clamp(0, 1)
            if covered is not None:
                _take_from_sources(fused, *(convert_to_tensor(x, device=fused.device) for x in (sources, covered)))
            data[key] = like(fused, given) if isinstance(given, MetaTensor) else fused
            del given
        return data


class RestoreChrominanced(MapTransform):
    """Restore the colour: the chrominance, or the hue of uptake.

    ``chrominance``, or ``uptake`` and ``color_table``, are removed from the given dictionary, which is returned.

    Args:
        keys: fused luma (1, ...) in [0, 1].
        gray: omit the colour.
    """

    def __init__(self, keys: KeysCollection, gray: bool = False) -> None:
        super().__init__(keys)
        self.gray = gray

    def __call__(self, data: MutableMapping[Hashable, Any]) -> MutableMapping[Hashable, Any]:
        """Restore."""
        kept, table = data.pop("chrominance", None), data.pop("color_table", None)
        kept = data.pop("uptake", None) if kept is None else kept
        if kept is None or self.gray:
            data.pop(COLOR_BAR, None)
            return data
        for key in self.keys:
            luma = data.pop(key)
            y, color = convert_to_tensor(luma), convert_to_tensor(kept, device=luma.device)
            colored = _colored(y, color, None if table is None else convert_to_tensor(table, device=luma.device))
            data[key] = like(colored, luma) if isinstance(luma, MetaTensor) else colored
        return data


def _take_from_sources(fused: Tensor, sources: Tensor, covered: Tensor) -> None:
    """Where not every source covers a voxel, set it to the brightest source that does, or 0."""
    for part, of_sources, covers in slabs(fused, sources, covered):
        alone = (of_sources * covers).amax(dim=0, keepdim=True)
        part.copy_(torch.where(covers.all(dim=0, keepdim=True), part, alone))


def _colored(luma: Tensor, kept: Tensor, table: Tensor | None) -> Tensor:
    """RGB (3, ...) in [0, 1], by chrominance (2, ...), or by uptake (1, ...) and a table."""
    colored = luma.new_empty(3, *luma.shape[1:])
    for rgb, y, part in slabs(colored, luma, kept):
        if table is not None and table.ndim == 3:
            rgb.copy_(plane_colors(table, part, y))
            continue
        cbcr = part if table is None else rgb_to_ycbcr(colors_of(part, table))[1:]
        rgb.copy_(ycbcr_to_rgb(torch.cat([y, cbcr])).clamp_(0, 1))
    return colored
