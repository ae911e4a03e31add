"""Scale from the file's unit to [0, 1], by modality, with one range for a whole volume."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple
from torch import Tensor
from torch.nn.functional import avg_pool3d

from monai_s3im.errors import InputError
from monai_s3im.functional import guess_modality, intensity_range, is_hounsfield, is_surely_ct, padding_of
from monai_s3im.modalities import (
    AUTO_WINDOW,
    CT_KNEES,
    CT_WINDOWS,
    MODALITIES,
    Modality,
    ct_window,
    modality_named,
    modality_of_dicom,
)
from monai_s3im.recognition import recognise, region_in_sidecar
from monai_s3im.settings import parse_range

from .ct_window import ct_content
from .meta import like, with_meta

Window = str | Sequence[float]

_LEAST_PART, _LARGEST_PART = 0.005, 100.0  # width of a range relative to that of the values, without a warning

logger = logging.getLogger(__name__)


class NormalizeModality(Transform):
    """Scale an image to map its modality's range to [0, 1].

    Pictures and RGB are divided by the largest value of their type (``meta["value_range"]``). Volumes are scaled by
    their modality's window or percentiles, one range for the volume. Values are not clipped here: the map is linear, so
    later resampling is equivalent to resampling the file's values.

    Padding (:func:`monai_s3im.functional.padding_of`) becomes background, the lowest of the other values. NaN means
    that the voxel is not covered. Such voxels also become background or, next to voxels with a value, their mean;
    ``meta["no_data"]``, a bool mask (1, X, Y, Z), marks them.

    Args:
        modality: name of the modality; if None, the first known of: ``meta["modality_tag"]`` (DICOM's CT, MR, PT, NM or
            US), sidecar, name and folders of the file (:func:`monai_s3im.recognition.recognise`), and the values
            (:func:`monai_s3im.functional.guess_modality`). A name that the values contradict is ignored. The origin
            is logged; a warning says if no modality is known, or the values contradict the given one.
        window: range in HU of a CT, see :func:`monai_s3im.modalities.ct_window`: applied to every CT, with a warning if
            it is not in HU. ``"auto"``, or None: by content, the brain window for a head and the soft-tissue window for
            anything else, see :func:`ct_content`; the choice is logged. If a CT is not in HU, robust percentiles
            replace this window, with a warning.
        limits: the values that become 0 and 1, ``"0,6"`` or two numbers in the unit of the image; for any modality, and
            for pictures, instead of the above.
        option: the option for the modality, for messages.

    Raises:
        InputError: if the modality, the window or the limits are unusable.
    """

    def __init__(
        self,
        modality: str | None = None,
        window: Window | None = None,
        limits: str | Sequence[float] | None = None,
        option: str = "modality",
    ) -> None:
        self.option = option
        self.modality = modality_named(modality) if modality else None
        named = _named_window(window)
        self.window = None if named is None else ct_window(named)
        self.knee = CT_KNEES.get(named) if isinstance(named, str) else None
        self.limits = parse_range(limits)

    def __call__(self, image: NdarrayOrTensor, name: str = "a volume", partner: str | Path | None = None) -> MetaTensor:
        """Scale.

        Args:
            image: (C, H, W) or (C, X, Y, Z) in the file's unit, not constant; NaN where a volume has no value. A plain
                tensor or array has no metadata and is treated as a volume.
            name: name for an image that is not from a file.
            partner: the file of the other image of the pair, if any.

        Returns:
            The same shape, float32; ``meta`` gains ``modality``, ``modality_from`` (``"user"``, ``"dicom"``,
            ``"sidecar"``, ``"name"``, ``"folder"``, ``"values"`` or ``"nothing"``), ``modality_given``,
            ``modality_guessed``, ``intensity_range``, ``ct_window``, the name of the window if it was chosen by
            content, ``unit`` of a CT in HU, unless it has one, ``knee``, the part of the range above which
            :func:`.ct_window.compress_` compresses it, and ``warnings``, sentences, added to existing ones.

        Raises:
            InputError: if no value lies between the limits.
        """
        image = with_meta(image)
        name = Path(str(image.meta.get("filename_or_obj", name))).name
        modality, origin, remarks = self._modality_of(image, name, partner)
        described: dict[str, Any] = {
            "modality": modality.name,
            "modality_from": origin,
            "modality_given": origin == "user",
            "modality_guessed": origin in {"values", "nothing"},
        }
        if "value_range" in image.meta:
            range_ = self.limits or (0.0, float(image.meta["value_range"]))
            described["warnings"] = [*image.meta.get("warnings", ()), *remarks]
            return _scaled(image.as_tensor().float(), range_, image, described)
        if modality.window is not None and is_hounsfield(image):
            described["unit"] = image.meta.get("unit") or "HU"
        if self.limits is not None:
            window: tuple[float, float] | None = self.limits
            ct_window_name, warnings = None, _doubts_of(self.limits, image, name)
        else:
            window, ct_window_name, warnings = self._window_of(image, modality, name)
        if ct_window_name:  # MONAI cannot batch None
            described["ct_window"] = ct_window_name
        if self.knee is not None and window is not None and window == self.window:
            described["knee"] = (self.knee - window[0]) / (window[1] - window[0])
        described["warnings"] = [*image.meta.get("warnings", ()), *remarks, *warnings]
        values, no_data = _filled(image.as_tensor().float(), modality, name)
        if no_data is not None:
            described["no_data"] = no_data
        return _scaled(values, window or intensity_range(image, modality), image, described)

    def _modality_of(self, image: MetaTensor, name: str, partner: str | Path | None) -> tuple[Modality, str, list[str]]:
        """The modality, its origin, and warnings."""
        tagged = modality_of_dicom(str(image.meta.get("modality_tag", "")))
        file = _file_of(image)
        said = recognise(file, partner) if self.modality is None and tagged is None and file else None
        named = self.modality or tagged or (said.modality if said else None)
        origin = "user" if self.modality else "dicom" if tagged else said.by if said else "values"
        is_picture = "value_range" in image.meta
        if named is None:
            return self._by_values(image, name, is_picture)
        contradicts = not is_picture and named.window is None and named.name != "generic" and is_surely_ct(image)
        like_a_ct = "but its values are HU, with air at -1000"
        if contradicts and origin in {"name", "folder"}:
            sentence = f"{name} is named like {named.label}, {like_a_ct}, and it is treated as CT"
            return MODALITIES["ct"], "values", [_warned(f"{sentence}: name its modality ({self._how_to_name})")]
        if said is not None:
            by = {"sidecar": said.text, "name": "its name", "folder": f"its folder {said.text}"}[said.by]
            logger.info("%s is treated as %s because of %s: name its modality if that is wrong", name, named.label, by)
        if contradicts:
            return named, origin, [_warned(f"{name} is named {named.label}, {like_a_ct}: check its modality")]
        return named, origin, []

    def _by_values(self, image: MetaTensor, name: str, is_picture: bool) -> tuple[Modality, str, list[str]]:
        if is_picture:  # only its weights depend on the modality: see ChooseTaskd
            return MODALITIES["generic"], "nothing", []
        found = guess_modality(image)
        if found.name != "generic":
            logger.info(
                "%s is treated as %s because of its values: name its modality if that is wrong", name, found.label
            )
            return found, "values", []
        sentence = f"{name} has an unknown modality (not given by header, name or values) and gets no colour"
        return found, "nothing", [_warned(f"{sentence}: name its modality ({self._how_to_name})")]

    @property
    def _how_to_name(self) -> str:
        return f"--{self.option.replace('_', '-')} or {self.option}"

    def _window_of(
        self, image: MetaTensor, modality: Modality, name: str
    ) -> tuple[tuple[float, float] | None, str | None, list[str]]:
        """The window (None: that of the modality, or percentiles), its name if chosen by content, and warnings."""
        if modality.window is None:
            return None, None, []
        if is_hounsfield(image):
            by_content = _window_by_content(image, name) if self.window is None else None
            return CT_WINDOWS[by_content] if by_content else self.window, by_content, []
        instead = "robust percentiles replace the CT window: name a window to have it applied"
        if self.window is not None:
            instead = f"the window {self.window[0]:g} to {self.window[1]:g} is applied to its values as they are"
        return self.window, None, [_warned(f"{name} is not in HU (no air near -1000): {instead}")]


def _named_window(window: Window | None) -> Window | None:
    """The window; None to choose it by content."""
    return None if isinstance(window, str) and window == AUTO_WINDOW else window


def _file_of(image: MetaTensor) -> str | None:
    """The file of an image, or the file that the user read it from."""
    file = image.meta.get("filename_or_obj") or image.meta.get("read_from")
    return str(file) if file else None


def _warned(sentence: str) -> str:
    """Log the sentence as a warning and return it."""
    logger.warning("%s", sentence)
    return sentence


def _doubts_of(limits: tuple[float, float], image: MetaTensor, name: str) -> list[str]:
    """A warning if limits barely fit the values, as with another unit.

    Raises:
        InputError: if no value lies between them.
    """
    values = image.as_tensor()
    values = values[~values.isnan()]
    lowest, highest = float(values.min()), float(values.max())
    lower, upper = limits
    unit = f" {image.meta['unit']}" if image.meta.get("unit") else ""
    in_suv = ", or choose the unit suv" if "suv_factor" in image.meta and unit != " SUV" else ""
    reported = f"the range {lower:g} to {upper:g} of {name}, whose values are {lowest:g} to {highest:g}{unit}"
    if highest <= lower or lowest >= upper:
        raise InputError(f"{reported}, shows none of them: give it in their unit{in_suv}")
    if _LEAST_PART <= (upper - lower) / (highest - lowest) <= _LARGEST_PART:
        return []
    return [_warned(f"{reported}, is far from them: check that it is in their unit{in_suv}")]


def _scaled(values: Tensor, range_: tuple[float, float], image: MetaTensor, described: dict[str, Any]) -> MetaTensor:
    lower, upper = range_
    return like((values - lower).div_(upper - lower), image, **described, intensity_range=range_)


def _filled(values: Tensor, modality: Modality, name: str) -> tuple[Tensor, Tensor | None]:
    """The values with background for padding and NaN, and the mask of NaN, None if empty."""
    padding = padding_of(values, modality)
    no_data = values.isnan()
    is_missing = bool(no_data.any())
    if not padding and not is_missing:
        return values, None
    is_padding = torch.zeros_like(no_data)
    for value in padding:
        is_padding |= values == value
    background = float(values[~(no_data | is_padding)].min())
    if padding:
        part = 100 * float(is_padding.float().mean())
        listed = " and ".join(f"{value:g}" for value in padding)
        logger.info("%s: %s is treated as padding (%.2g %% of the voxels) and becomes background", name, listed, part)
    values = values.masked_fill(is_padding, background)
    if not is_missing:
        return values, None
    logger.info("%s has no value (NaN) in %d of %d voxels: not covered", name, int(no_data.sum()), no_data.numel())
    has_value = (~no_data).float()
    sums, counts = (avg_pool3d(x, 3, 1, 1) for x in (values.nan_to_num(nan=0.0), has_value))
    beside = torch.where(counts > 0, sums / counts.clamp_min(1e-6), background)
    return torch.where(no_data, beside, values), no_data


def _window_by_content(image: MetaTensor, name: object) -> str:
    file = _file_of(image)
    content = ct_content(image, named=image.meta.get("region") or (region_in_sidecar(file) if file else None))
    lower, upper = CT_WINDOWS[content.window]
    label = content.window.replace("_", " ")
    logger.info("%s: %s window (%g to %g HU), because it shows a %s", name, label, lower, upper, content)
    return content.window


class NormalizeModalityd(MapTransform):
    """:class:`NormalizeModality` on a dictionary; the modality of ``image_a`` is read from ``modality_a``, and so on.

    Args:
        keys: images.
        modality_keys: key of each image's modality name; missing or empty: see :class:`NormalizeModality`.
        window: range in HU of a CT; None: by content, see :class:`NormalizeModality`.
        ranges: for each image, the limits of :class:`NormalizeModality`; None: no limits.
    """

    def __init__(
        self,
        keys: KeysCollection,
        modality_keys: KeysCollection,
        window: Window | None = None,
        ranges: Sequence[str | Sequence[float] | None] | None = None,
    ) -> None:
        super().__init__(keys)
        self.window = _named_window(window)
        NormalizeModality(window=self.window)
        self.ranges = [parse_range(range_) for range_ in ranges or [None] * len(self.keys)]
        self.modality_keys = ensure_tuple(modality_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale each image."""
        result = dict(data)
        files = {key: _file_of(with_meta(result[key])) for key in self.keys}
        for key, modality_key, range_ in zip(self.keys, self.modality_keys, self.ranges, strict=True):
            partner = next((file for other, file in files.items() if other != key and file), None)
            normalize = NormalizeModality(result.get(modality_key) or None, self.window, range_, str(modality_key))
            result[key] = normalize(result[key], str(key), partner)
        return result
