"""Warn of probable mistakes in a pair or its options."""

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_s3im.modalities import FUNCTIONAL, MODALITIES
from monai_s3im.settings import DEFAULTS, REFERENCES

from .grid import voxel_sizes
from .meta import with_meta
from .notes import PROVENANCE, noted, with_warnings

logger = logging.getLogger(__name__)

_COARSE = 2.0  # times the other's voxel volume


class CautionSourcesd(MapTransform):
    """Warn of an image fused with itself, two volumes of uptake, a coarse PET grid, and options without effect.

    The sentences are added to ``warnings``, see :mod:`.notes`.

    Args:
        keys: two sources, normalised, each with ``meta["modality"]``.
        reference: grid of the result, as for :class:`monai_s3im.transforms.AlignSourcesd`.
        spacing: the requested voxel size of the result; if given, its grid is intended.
        of_volumes: other settings that only affect volumes, by name; see :class:`monai_s3im.settings.FusionSettings`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference: str = "a",
        spacing: Any = None,
        of_volumes: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(keys)
        self.reference = reference
        self.spacing = spacing
        given = {"reference": reference, "spacing": spacing, **(of_volumes or {})}
        self.changed = {name for name, value in given.items() if _is_chosen(value, getattr(DEFAULTS, name))}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Look."""
        images = {key: with_meta(data[key]) for key in self.keys}
        sums = {source["sha256"] for source in noted(data, PROVENANCE).values()}
        found = [
            *self._one_image(images, len(sums) == 1 and None not in sums),
            *self._two_uptakes(images),
            *self._coarse_grid(images),
            *self._without_effect(images),
        ]
        for warning in found:
            logger.warning("%s", warning)
        return with_warnings(data, found)

    def _one_image(self, data: Mapping[Hashable, MetaTensor], is_one_file: bool) -> list[str]:
        first, second = (data[key] for key in self.keys)
        if not is_one_file and not torch.equal(first.as_tensor(), second.as_tensor()):
            return []
        names = [_name(data, key) for key in self.keys]
        if names[0] == names[1]:
            return [f"{names[0]} is both image A and image B: name two images"]
        return [f"{names[0]} and {names[1]} are the same image: name two images"]

    def _two_uptakes(self, data: Mapping[Hashable, MetaTensor]) -> list[str]:
        modalities = [data[key].meta.get("modality", "generic") for key in self.keys]
        if data[self.keys[0]].ndim != 4 or not set(modalities) <= set(FUNCTIONAL):
            return []
        shown = " and ".join(
            f"{_name(data, key)} ({MODALITIES[name].label})" for key, name in zip(self.keys, modalities, strict=True)
        )
        return [f"{shown} both show uptake, and neither is readable where they mix: fuse each with an MR or CT"]

    def _coarse_grid(self, data: Mapping[Hashable, MetaTensor]) -> list[str]:
        images = [data[key] for key in self.keys]
        if images[0].ndim != 4 or self.spacing or self.reference not in {"a", "b"}:
            return []
        chosen = REFERENCES.index(self.reference)
        modalities = [image.meta.get("modality", "generic") for image in images]
        if modalities[chosen] not in FUNCTIONAL or modalities[1 - chosen] in FUNCTIONAL:
            return []
        size, finer = (voxel_sizes(images[index].affine) for index in (chosen, 1 - chosen))
        if np.prod(size) < _COARSE * np.prod(finer):
            return []
        label, other = (MODALITIES[modalities[index]].label for index in (chosen, 1 - chosen))
        name = _name(data, self.keys[chosen])
        lost = f"on that of the {label} the detail of the {other}, {_in_mm(finer)}, is lost"
        return [f"{name} gives the grid, {_in_mm(size)}: {lost}; choose the finer grid (--reference finer)"]

    def _without_effect(self, data: Mapping[Hashable, MetaTensor]) -> list[str]:
        """Chosen options without effect on these images."""
        if all(image.ndim == 3 for image in data.values()):
            idle, reason = self.changed, "they are pictures"
        else:
            measured = [image for image in data.values() if image.ndim == 4 and "value_range" not in image.meta]
            of_modality = [MODALITIES[image.meta.get("modality", "generic")] for image in measured]
            window = set() if any(modality.window for modality in of_modality) else {"window"}
            color = set() if any(modality.color_map for modality in of_modality) else {"color_map", "color_model"}
            idle, reason = self.changed & (window | color), "there is no volume of such a modality"
        if not idle:
            return []
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(idle))
        names = " and ".join(_name(data, key) for key in self.keys)
        return [f"{options} has no effect on {names}: {reason}"]


def _is_chosen(value: Any, default: Any) -> bool:
    return value is not None and (default is None or value != default)


def _name(data: Mapping[Hashable, MetaTensor], key: Hashable) -> str:
    return Path(str(data[key].meta.get("filename_or_obj") or key)).name


def _in_mm(sizes: Any) -> str:
    return f"{' x '.join(f'{size:.2g}' for size in sizes)} mm"
