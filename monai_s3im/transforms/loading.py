"""The first transform of every pipeline: read the sources of a pair."""

import logging
import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.series import is_series
from monai_s3im.formats.dicom.study import series_remarks
from monai_s3im.formats.dicom.suv import SUV
from monai_s3im.formats.reading import is_usable_affine, read_image
from monai_s3im.settings import MAX_GIB, UNITS

from .meta import like, with_meta
from .notes import with_warnings

logger = logging.getLogger(__name__)


class LoadSourcesd(MapTransform):
    """Read each source with :func:`read_image`; use tensors and arrays directly.

    A volume given as a tensor, (1, X, Y, Z), has an affine (RAS mm) and its modality's unit, with NaN for no value. The
    affine of a plain tensor or array is the identity, as in MONAI: voxels of 1 mm. A picture, (1 or 3, H, W), and an
    RGB volume, (3, X, Y, Z), are in [0, 1], or up to the largest value of an integer type, or up to
    ``meta["value_range"]``.

    Args:
        keys: sources, paths or tensors.
        max_gib: maximum memory for one image, by its header; larger images are refused before reading.
        unit: ``"file"``, or ``"suv"``: a PET is multiplied by its ``meta["suv_factor"]``, and ``meta["unit"]`` is
            updated.

    Raises:
        InputError: if the unit is unknown.
    """

    def __init__(self, keys: KeysCollection, max_gib: float = MAX_GIB, unit: str = "file") -> None:
        super().__init__(keys)
        if unit not in UNITS:
            raise InputError(f"unknown unit {unit!r}: choose one of {', '.join(UNITS)}")
        self.max_gib = max_gib
        self.unit = unit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read.

        Raises:
            InputError: as :func:`read_image`, for tensors too; or a source is neither a path nor a tensor; or the unit
                is SUV, but the headers of a PET do not suffice, or no source is a PET with headers.
        """
        result = dict(data)
        for key in self.keys:
            source = result[key]
            if isinstance(source, torch.Tensor | np.ndarray):
                result[key] = _checked(with_meta(source), str(key))
            elif isinstance(source, str | Path):
                result[key] = read_image(source, self.max_gib)
            else:
                raise InputError(f"{key} is a {type(source).__name__}: give a path, a tensor or an array")
        if self.unit == "suv":
            result.update(self._in_suv({key: result[key] for key in self.keys}))
        return result

    @staticmethod
    def _in_suv(images: dict[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """Convert PET to SUV; the others are unchanged."""
        names = {key: image.meta.get("filename_or_obj", key) for key, image in images.items()}
        for key, image in images.items():
            if lacks := image.meta.get("suv_lacks"):
                raise InputError(f"{names[key]} cannot be given in SUV, its header {lacks}: leave the unit out")
        if not any("suv_factor" in image.meta for image in images.values()):
            raise InputError(
                f"{' and '.join(map(str, names.values()))} cannot be given in SUV, which needs the headers of a PET in "
                "DICOM: give the series, or leave the unit out if the values are already SUV"
            )
        return {key: in_suv(image) for key, image in images.items()}


class CompareSeriesd(MapTransform):
    """Warn of DICOM series of different patients or frames of reference; see :func:`series_remarks`.

    The sentences are added to ``warnings``, see :mod:`.notes`.

    Args:
        keys: sources; only those from DICOM files are compared.
        is_moved: whether the second is registered to the first, and may have another frame of reference.
    """

    def __init__(self, keys: KeysCollection, is_moved: bool = False) -> None:
        super().__init__(keys)
        self.is_moved = is_moved

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compare."""
        files = [with_meta(data[key]).meta.get("filename_or_obj") for key in self.keys]
        series = [Path(file) for file in files if file and is_series(file)]
        remarks = [remark for other in series[1:] for remark in series_remarks(series[0], other, self.is_moved)]
        for remark in remarks:
            logger.warning("%s", remark)
        return with_warnings(data, remarks)


def in_suv(image: MetaTensor) -> MetaTensor:
    """An image in standardised uptake by body weight if its ``meta["suv_factor"]`` is known; else unchanged.

    Args:
        image: (1, X, Y, Z), in the unit of its file.
    """
    factor = image.meta.get("suv_factor")
    if factor is None:
        return image
    return like(image.as_tensor() * factor, image, without=("suv_factor",), unit=SUV)


def _checked(image: MetaTensor, key: str) -> MetaTensor:
    """A tensor in the form of :func:`read_image`: float32 on the CPU, checked, with its own metadata."""
    if image.ndim not in {3, 4} or image.shape[0] not in {1, 3}:
        raise InputError(
            f"{key} has shape {tuple(image.shape)}: give a picture (1 or 3, H, W) or a volume (1 or 3, X, Y, Z)"
        )
    values = image.as_tensor().detach().cpu().float()
    is_measured = image.ndim == 4 and image.shape[0] == 1
    if values.isinf().any() or (not is_measured and values.isnan().any()):
        raise InputError(f"{key} has infinite voxels, or NaN in a picture: replace them, for example with 0")
    present = values[~values.isnan()]
    if not present.numel() or present.amin() == present.amax():
        value = float(present[0]) if present.numel() else math.nan
        raise InputError(f"{key} has no content, every voxel is {value:g}: check that it is the right one")
    affine = image.affine.detach().cpu().double()
    if not is_usable_affine(affine.numpy()):
        raise InputError(f"{key} has an affine that cannot be inverted: give it that of its voxels, to RAS mm")
    read_from = image.meta.get("filename_or_obj")  # its name may give the modality; the values may differ from the file
    meta: dict[str, Any] = {"read_from": str(read_from)} if isinstance(read_from, str | Path) and str(read_from) else {}
    if is_measured:
        meta |= {name: image.meta[name] for name in ("unit", "suv_factor", "suv_lacks") if name in image.meta}
        return MetaTensor(values, affine=affine, meta=meta, applied_operations=list(image.applied_operations))
    is_unit = image.dtype.is_floating_point or image.dtype == torch.bool
    largest = 1.0 if is_unit else float(torch.iinfo(image.dtype).max)
    largest = float(image.meta.get("value_range", largest))
    if values.amin() < 0 or values.amax() > largest:
        raise InputError(
            f"{key} has values from {float(values.amin()):g} to {float(values.amax()):g} outside [0, {largest:g}]: "
            'scale it, or give its largest value as meta["value_range"]'
        )
    meta |= {"value_range": largest}
    return MetaTensor(values, affine=affine, meta=meta, applied_operations=list(image.applied_operations))
