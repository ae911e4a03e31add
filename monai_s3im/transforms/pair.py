"""Complete an item of a data list: the names of its sources, and its own name."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, MapTransform

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import stem_of

_WANTED = "give image_a and image_b, or image with a list of the two or as a tensor with a channel for each"


class PairItemd(MapTransform):
    """Give an item its two sources and a name.

    ``image`` with a list of the two becomes the sources, and ``modality`` with a list their modalities. An array or
    tensor ``image`` (2, ...), or (..., 2) by its ``original_channel_dim``, as from programs that load images
    themselves, is split as well. An item without ``name`` gets that of its first source's file, without suffix, or
    ``fused``.

    Args:
        keys: sources, such as ``image_a`` and ``image_b``.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Complete the item.

        Raises:
            InputError: if it lacks a source.
        """
        result = dict(data)
        for name in ("image", "modality"):
            found = self._parts_of(result.get(name))
            if isinstance(found, list | tuple) and len(found) == len(self.keys):
                del result[name]
                result |= {str(key).replace("image", name): part for key, part in zip(self.keys, found, strict=True)}
        if missing := [key for key in self.keys if key not in result]:
            image = result.get("image")
            reported = f", and image is {image}" if isinstance(image, str | Path) else ""
            raise InputError(f"an item of the data has no {missing[0]}{reported}: {_WANTED}")
        if not result.get("name"):
            result["name"] = _name_of(result[self.keys[0]])
        return result

    def _parts_of(self, image: Any) -> Any:
        """The sources of an image with one channel for each; anything else unchanged."""
        if not isinstance(image, torch.Tensor | np.ndarray) or image.ndim < 3:
            return image
        count = len(self.keys)
        if image.shape[0] != count and image.shape[-1] == count and isinstance(image, MetaTensor):
            image = EnsureChannelFirst()(image)
        return [image[index : index + 1] for index in range(count)] if image.shape[0] == count else image


def _name_of(source: Any) -> str:
    if isinstance(source, MetaTensor):
        source = source.meta.get("filename_or_obj") or "fused"
    return stem_of(Path(source)) if isinstance(source, str | Path) else "fused"
