"""What a tensor carries beside its values."""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from torch import Tensor


def with_meta(image: Tensor | np.ndarray[Any, Any]) -> MetaTensor:
    """A MetaTensor as it is; a plain tensor or array as one whose affine is the identity: 1 mm, RAS."""
    return image if isinstance(image, MetaTensor) else MetaTensor(convert_to_tensor(image))


def like(
    values: Tensor,
    image: MetaTensor,
    affine: torch.Tensor | None = None,
    without: Collection[str] = (),
    **added: Any,
) -> MetaTensor:
    """Values with the metadata and the applied operations of an image, so that ``Invertd`` can go back from them.

    Args:
        values: plain tensor.
        image: whose metadata they get.
        affine: their own; None: that of the image.
        without: names in the metadata that are left out.
        **added: names in the metadata that are new or replaced.
    """
    left_out = {*without, "affine"} if affine is not None else without
    meta = {name: value for name, value in image.meta.items() if name not in left_out}
    return MetaTensor(values, affine=affine, meta={**meta, **added}, applied_operations=list(image.applied_operations))
