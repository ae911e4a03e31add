"""Colour: the luma is fused, the chrominance is put back (Fig. 4)."""

from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_s3im.functional import merge_chrominance, rgb_to_ycbcr, ycbcr_to_rgb

_ROWS_AT_ONCE = 16


class SplitChrominanced(MapTransform):
    """Replace each RGB source by its luma; the chrominance of all sources together goes to ``chrominance``.

    ``chrominance`` (2, ...) is only there if a source has colour. Where a source does not cover a voxel (``covered``,
    one mask for each key), it has no say.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Split."""
        result = dict(data)
        chrominances = []
        for index, key in enumerate(self.keys):
            image: MetaTensor = result[key]
            if image.shape[0] == 3:
                luma, chrominance = _luma_and_chrominance(image.as_tensor())
                result[key] = MetaTensor(luma, meta=dict(image.meta))
                chrominances.append(chrominance.mul_(result["covered"][index]) if "covered" in result else chrominance)
        if len(chrominances) == 1:
            result["chrominance"] = chrominances[0]
        elif chrominances:
            result["chrominance"] = merge_chrominance(torch.stack(chrominances))
        return result


def _luma_and_chrominance(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Y (1, ...) and Cb, Cr (2, ...), each in memory of its own."""
    luma, chrominance = (rgb.new_empty(channels, *rgb.shape[1:]) for channels in (1, 2))
    for part, y, cbcr in _slabs(rgb, luma, chrominance):
        ycbcr = rgb_to_ycbcr(part)
        y.copy_(ycbcr[:1])
        cbcr.copy_(ycbcr[1:])
    return luma, chrominance


class RestoreChrominanced(MapTransform):
    """Clip the fused luma to [0, 1], and put the chrominance back.

    Where not every source covers a voxel (``covered``), the result is the source that does, the brightest of several,
    and 0 where none does. What was needed for that, the sources, ``covered`` and ``chrominance``, is taken out of the
    dictionary that is given, so that the memory of whole volumes is free for what comes after.

    Args:
        keys: fused luma (1, ...).
        image_key: the sources, (N, ...), as the network saw them.
        gray: leave the chrominance out.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", gray: bool = False) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.gray = gray

    def __call__(self, data: MutableMapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore."""
        sources, covered, chrominance = (data.pop(key, None) for key in (self.image_key, "covered", "chrominance"))
        result = dict(data)
        for key in self.keys:
            fused = convert_to_tensor(result[key]).float().clamp(0, 1)
            if covered is not None:
                _take_from_sources(fused, *(convert_to_tensor(x, device=fused.device) for x in (sources, covered)))
            result[key] = fused
        del sources, covered
        if chrominance is not None and not self.gray:
            for key in self.keys:
                result[key] = _colored(result[key], convert_to_tensor(chrominance, device=result[key].device))
        return result


def _take_from_sources(fused: Tensor, sources: Tensor, covered: Tensor) -> None:
    """Where not every source covers a voxel, set it to the brightest source that does, or 0."""
    for part, of_sources, covers in _slabs(fused, sources, covered):
        alone = (of_sources * covers).amax(dim=0, keepdim=True)
        part.copy_(torch.where(covers.all(dim=0, keepdim=True), part, alone))


def _colored(luma: Tensor, chrominance: Tensor) -> Tensor:
    """RGB (3, ...) in [0, 1]."""
    colored = luma.new_empty(3, *luma.shape[1:])
    for rgb, y, cbcr in _slabs(colored, luma, chrominance):
        rgb.copy_(ycbcr_to_rgb(torch.cat([y, cbcr])).clamp_(0, 1))
    return colored


def _slabs(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of images (C, rows, ...), some at a time: what is computed of them takes little memory."""
    return zip(*(image.split(_ROWS_AT_ONCE, dim=1) for image in images), strict=True)
