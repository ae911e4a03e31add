"""Colour: the luma is fused, the chrominance is put back (Fig. 4)."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from monai_s3im.functional import merge_chrominance, rgb_to_ycbcr, ycbcr_to_rgb


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
                ycbcr = rgb_to_ycbcr(image.as_tensor())
                result[key] = MetaTensor(ycbcr[:1], meta=dict(image.meta))
                chrominances.append(ycbcr[1:] * result["covered"][index] if "covered" in result else ycbcr[1:])
        if len(chrominances) == 1:
            result["chrominance"] = chrominances[0]
        elif chrominances:
            result["chrominance"] = merge_chrominance(torch.stack(chrominances))
        return result


class RestoreChrominanced(MapTransform):
    """Clip the fused luma to [0, 1], and put the chrominance back.

    Where not every source covers a voxel (``covered``), the result is the source that does, the brightest of several,
    and 0 where none does.

    Args:
        keys: fused luma (1, ...).
        image_key: the sources, (N, ...), as the network saw them.
        gray: leave the chrominance out.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", gray: bool = False) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.gray = gray

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore."""
        result = dict(data)
        for key in self.keys:
            fused = convert_to_tensor(result[key]).float().clamp(0, 1)
            if "covered" in result:
                covered = convert_to_tensor(result["covered"], device=fused.device)
                sources = convert_to_tensor(result[self.image_key], device=fused.device)
                alone = (sources * covered).amax(dim=0, keepdim=True)
                fused = torch.where(covered.all(dim=0, keepdim=True), fused, alone)
            if "chrominance" in result and not self.gray:
                fused = ycbcr_to_rgb(torch.cat([fused, result["chrominance"].to(fused.device)])).clamp_(0, 1)
            result[key] = fused
        return result
