"""From the file's unit to [0, 1], by modality, one range for a whole volume."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple

from monai_s3im.modalities import (
    Modality,
    ct_window,
    guess_modality,
    intensity_range,
    is_hounsfield,
    modality_named,
    modality_of_dicom,
)

logger = logging.getLogger(__name__)


class NormalizeModality(Transform):
    """Scale an image so that its modality's range becomes [0, 1].

    Pictures and RGB are divided by the largest value that their type can hold (``meta["value_range"]``). Volumes are
    scaled by their modality's window or percentiles, one range for the volume. Values are not clipped here: the map is
    linear, so that resampling afterwards is resampling of the file's values.

    Args:
        modality: name of the modality; if None that of ``meta["modality_tag"]`` (DICOM's CT, MR, PT, NM or US), else
            guessed from the values.
        window: range in HU of a CT, see :func:`monai_s3im.modalities.ct_window`.

    Raises:
        InputError: if the modality or the window is unusable.
    """

    def __init__(self, modality: str | None = None, window: str | Sequence[float] = "brain") -> None:
        self.modality = modality_named(modality) if modality else None
        self.window = ct_window(window)

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """Scale.

        Args:
            image: (C, H, W) or (C, X, Y, Z) in the file's unit, not constant.

        Returns:
            The same shape, float32; ``meta`` gains ``modality``, ``modality_given``, ``modality_guessed`` and
            ``intensity_range``.
        """
        modality = self.modality or modality_of_dicom(str(image.meta.get("modality_tag", "")))
        is_guess = modality is None
        if "value_range" in image.meta:
            lower, upper = 0.0, float(image.meta["value_range"])
        else:
            name = image.meta.get("filename_or_obj", "a volume")
            if modality is None:
                modality = guess_modality(image)
                logger.info("%s is taken for %s: name its modality if that is wrong", name, modality.label)
            if modality.window is not None and not is_hounsfield(image):
                logger.warning(
                    "%s is not in HU (no air, nothing below -500): robust percentiles take the place of the CT window",
                    name,
                )
            lower, upper = intensity_range(image, self._windowed(modality))
        scaled = (image.as_tensor().float() - lower).div_(upper - lower)
        described = {
            "modality": modality.name if modality else "generic",
            "modality_given": self.modality is not None,
            "modality_guessed": is_guess,
            "intensity_range": (lower, upper),
        }
        return MetaTensor(scaled, meta={**image.meta, **described})

    def _windowed(self, modality: Modality) -> Modality:
        return modality if modality.window is None else replace(modality, window=self.window)


class NormalizeModalityd(MapTransform):
    """:class:`NormalizeModality` on a dictionary; the modality of ``image_a`` is read from ``modality_a``, and so on.

    Args:
        keys: images.
        modality_keys: where the modality's name of each image is; missing or empty: see :class:`NormalizeModality`.
        window: range in HU of a CT.
    """

    def __init__(
        self, keys: KeysCollection, modality_keys: KeysCollection, window: str | Sequence[float] = "brain"
    ) -> None:
        super().__init__(keys)
        self.window = ct_window(window)
        self.modality_keys = ensure_tuple(modality_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale each image."""
        result = dict(data)
        for key, modality_key in zip(self.keys, self.modality_keys, strict=True):
            result[key] = NormalizeModality(result.get(modality_key) or None, self.window)(result[key])
        return result
