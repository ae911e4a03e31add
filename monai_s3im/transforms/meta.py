"""The metadata of tensors."""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from torch import Tensor


def with_meta(image: Tensor | np.ndarray[Any, Any]) -> MetaTensor:
    """A MetaTensor unchanged; a plain tensor or array as a MetaTensor with identity affine (1 mm, RAS)."""
    return image if isinstance(image, MetaTensor) else MetaTensor(convert_to_tensor(image))


def like(
    values: Tensor,
    image: MetaTensor,
    affine: torch.Tensor | None = None,
    without: Collection[str] = (),
    **added: Any,
) -> MetaTensor:
    """Values with the metadata and applied operations of an image, which ``Invertd`` can then undo.

    Args:
        values: plain tensor.
        image: source of the metadata.
        affine: of the values; None: that of the image.
        without: metadata keys to leave out.
        **added: metadata to add or replace.
    """
    left_out = {*without, "affine"} if affine is not None else without
    meta = {name: value for name, value in image.meta.items() if name not in left_out}
    return MetaTensor(values, affine=affine, meta={**meta, **added}, applied_operations=list(image.applied_operations))
