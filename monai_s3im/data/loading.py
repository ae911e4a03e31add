"""The first transform of every pipeline: read the sources of a pair."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import MapTransform

from .reading import read_image


class LoadSourcesd(MapTransform):
    """Read each source with :func:`read_image`; a tensor is taken as it is.

    A volume that comes as a tensor, (C, X, Y, Z), has an affine (RAS mm) and its modality's unit; a picture, (C, H, W),
    is in [0, 1] unless its ``meta["value_range"]`` tells another largest value.

    Args:
        keys: sources, paths or tensors.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read."""
        result = dict(data)
        for key in self.keys:
            if not isinstance(result[key], MetaTensor):
                result[key] = read_image(result[key])
            elif result[key].ndim == 3:
                result[key].meta.setdefault("value_range", 1.0)
        return result
