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
    AUTO_WINDOW,
    CT_WINDOWS,
    Modality,
    ct_window,
    guess_modality,
    intensity_range,
    is_hounsfield,
    modality_named,
    modality_of_dicom,
)

from .ct_window import ct_content

Window = str | Sequence[float]

logger = logging.getLogger(__name__)


class NormalizeModality(Transform):
    """Scale an image so that its modality's range becomes [0, 1].

    Pictures and RGB are divided by the largest value that their type can hold (``meta["value_range"]``). Volumes are
    scaled by their modality's window or percentiles, one range for the volume. Values are not clipped here: the map is
    linear, so that resampling afterwards is resampling of the file's values.

    Args:
        modality: name of the modality; if None that of ``meta["modality_tag"]`` (DICOM's CT, MR, PT, NM or US), else
            guessed from the values.
        window: range in HU of a CT, see :func:`monai_s3im.modalities.ct_window`, or ``"auto"``: the brain window for a
            head and the soft-tissue window for anything else, see :func:`ct_content`; which one is logged.

    Raises:
        InputError: if the modality or the window is unusable.
    """

    def __init__(self, modality: str | None = None, window: Window = "brain") -> None:
        self.modality = modality_named(modality) if modality else None
        self.window = _checked(window)

    def __call__(self, image: MetaTensor, name: str = "a volume") -> MetaTensor:
        """Scale.

        Args:
            image: (C, H, W) or (C, X, Y, Z) in the file's unit, not constant.
            name: what to call an image that comes from no file.

        Returns:
            The same shape, float32; ``meta`` gains ``modality``, ``modality_given``, ``modality_guessed``,
            ``intensity_range``, and ``ct_window``, the name of the window that was chosen by content, else None.
        """
        modality = self.modality or modality_of_dicom(str(image.meta.get("modality_tag", "")))
        is_guess, ct_window_name = modality is None, None
        if "value_range" in image.meta:
            lower, upper = 0.0, float(image.meta["value_range"])
        else:
            name = image.meta.get("filename_or_obj", name)
            if modality is None:
                modality = guess_modality(image)
                logger.info("%s is taken for %s: name its modality if that is wrong", name, modality.label)
            if modality.window is not None and not is_hounsfield(image):
                logger.warning(
                    "%s is not in HU (no air, nothing below -500): robust percentiles take the place of the CT window",
                    name,
                )
            elif modality.window is not None and self.window is None:
                ct_window_name = _window_by_content(image, name)
            lower, upper = intensity_range(image, self._windowed(modality, ct_window_name))
        scaled = (image.as_tensor().float() - lower).div_(upper - lower)
        described = {
            "modality": modality.name if modality else "generic",
            "modality_given": self.modality is not None,
            "modality_guessed": is_guess,
            "intensity_range": (lower, upper),
            "ct_window": ct_window_name,
        }
        return MetaTensor(scaled, meta={**image.meta, **described})

    def _windowed(self, modality: Modality, by_content: str | None) -> Modality:
        window = CT_WINDOWS[by_content] if by_content else self.window
        return modality if modality.window is None or window is None else replace(modality, window=window)


def _checked(window: Window) -> tuple[float, float] | None:
    """The window; None: to be chosen by content."""
    return None if isinstance(window, str) and window == AUTO_WINDOW else ct_window(window)


def _window_by_content(image: MetaTensor, name: object) -> str:
    content = ct_content(image)
    lower, upper = CT_WINDOWS[content.window]
    label = content.window.replace("_", " ")
    logger.info("%s: %s window (%g to %g HU), because it shows a %s", name, label, lower, upper, content)
    return content.window


class NormalizeModalityd(MapTransform):
    """:class:`NormalizeModality` on a dictionary; the modality of ``image_a`` is read from ``modality_a``, and so on.

    Args:
        keys: images.
        modality_keys: where the modality's name of each image is; missing or empty: see :class:`NormalizeModality`.
        window: range in HU of a CT, or ``"auto"``.
    """

    def __init__(self, keys: KeysCollection, modality_keys: KeysCollection, window: Window = "brain") -> None:
        super().__init__(keys)
        _checked(window)
        self.window = window
        self.modality_keys = ensure_tuple(modality_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale each image."""
        result = dict(data)
        for key, modality_key in zip(self.keys, self.modality_keys, strict=True):
            normalize = NormalizeModality(result.get(modality_key) or None, self.window)
            result[key] = normalize(result[key], str(key))
        return result
