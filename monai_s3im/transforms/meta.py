"""What a tensor carries beside its values."""

from typing import Any

from monai.data import MetaTensor


def meta_without_affine(image: MetaTensor) -> dict[str, Any]:
    """The metadata for a tensor of another grid: MONAI would take an affine in it for the tensor's own."""
    return {key: value for key, value in image.meta.items() if key != "affine"}
