"""Read one image or volume of any supported format as a channel-first tensor."""

import os
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_s3im.formats.dicom.series import is_series, read_series, series_name, series_region, series_shape
from monai_s3im.formats.dicom.suv import uptake_of
from monai_s3im.settings import MAX_GIB

from .checks import check_affine, check_content, check_size, is_usable_affine
from .itk_images import LPS_TO_RAS
from .paths import VOLUME_SUFFIXES, isdir, stem_of_file, suffix_of
from .remarks import remarks
from .tiff_stacks import is_stack
from .voxels import existing, read_voxels, reader_of

__all__ = [
    "LPS_TO_RAS",
    "frames_of",
    "is_image_folder",
    "is_usable_affine",
    "is_volume",
    "read_image",
    "spatial_shape_of",
    "stem_of",
]

_OF_DICOM = "monai_s3im.formats.dicom"  # the logger of its modules


def stem_of(path: str | Path) -> str:
    """The file name without its suffix: 'x' for 'x.nii.gz', 'x_3' for 'x.nii.gz#3'; for a series, its folder's name."""
    return series_name(path) if is_series(path) else stem_of_file(path)


def is_volume(path: str | Path) -> bool:
    """Whether the suffix is one of a volume format (NIfTI, NRRD, MGZ, ...), or it is a TIFF stack or a DICOM series."""
    return suffix_of(path) in VOLUME_SUFFIXES or is_stack(path) or is_series(path)


def is_image_folder(path: str | Path) -> bool:
    """Whether the path is a folder of images; a folder with one DICOM series counts as a volume instead."""
    return isdir(path) and not is_series(path)


def read_image(path: str | Path, max_gib: float = MAX_GIB) -> MetaTensor:
    """Read an image, channel first, with its stored values.

    Args:
        path: PNG, JPEG, TIFF or BMP for a 2D image; NIfTI, Analyze, NRRD, MetaImage, MGZ, MINC or a TIFF of several
            pages for a volume, of one slice too; ``FILE#FRAME`` for one frame of a 4D one or one page of a TIFF as a
            picture, counted from 1; or a DICOM series (see :func:`.dicom.series.read_series`).
        max_gib: maximum memory that the image may take, see `MAX_GIB`.

    Returns:
        float32, (1, H, W) or RGB (3, H, W) for a picture, (1, X, Y, Z) or RGB (3, X, Y, Z) in the file's own array
        order for a volume. NIfTI slope and intercept are applied, palettes are expanded, transparent pixels are blended
        over black, and RGB with three equal channels becomes one channel. NaN in a volume stays: no value. `affine` is
        float64, 4 x 4, voxel index -> RAS mm (identity for a picture). `meta` holds `filename_or_obj`, `spatial_dims`,
        `space` and, for pictures and RGB volumes, `value_range`, the largest value that the bits in use can hold, such
        as 255.0, 4095.0 or 65535.0 (see :func:`.pictures.read`); for a DICOM series `modality_tag` if it determines how
        to treat the volume, for a CT `region`, ``"head"`` or ``"body"``, if the header names one, for a SPECT the
        `unit`, counts, and for a PET the known fields of :class:`.dicom.suv.Uptake`: `unit`, `suv_factor`, or
        `suv_lacks`; and `warnings`, sentences, if any.

    Raises:
        InputError: the file is missing, a folder, of an unknown format, damaged or truncated; it has several frames
            and none is chosen, or not the one that is; it has voxels that are neither a number nor RGB, infinite
            voxels, no content (all voxels equal), more voxels than `max_gib` allows, or an affine that cannot be
            inverted.
    """
    with remarks(_OF_DICOM) as said:
        if is_series(path):
            return _read_dicom(Path(path), max_gib, said)
        array, affine, value_range = read_voxels(path, max_gib)
    meta: dict[str, Any] = {"filename_or_obj": str(path), "spatial_dims": array.ndim - 1, "space": "RAS"}
    if value_range is not None:
        meta["value_range"] = value_range
    if said:
        meta["warnings"] = said
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine), meta=meta)


def spatial_shape_of(path: str | Path, max_gib: float = MAX_GIB) -> tuple[int, ...]:
    """The spatial shape, (H, W) or (X, Y, Z), from the header alone.

    Raises:
        InputError: as `read_image`, as far as the header shows.
    """
    if is_series(path):
        check_size(shape := series_shape(path), Path(path), max_gib)
        return shape
    path = existing(path)
    return reader_of(path).shape_of(path, max_gib)


def frames_of(path: str | Path, max_gib: float = MAX_GIB) -> tuple[int, str]:
    """The number of frames in an image file, from the header alone, and their label, such as ``"2 s apart"``.

    Raises:
        InputError: as `read_image`, as far as the header shows.
    """
    path = existing(path)
    return reader_of(path).frames_of(path, max_gib)


def _read_dicom(path: Path, max_gib: float, said: list[str]) -> MetaTensor:
    check_size(series_shape(path), path, max_gib)
    array, affine, modality_tag, value_range = read_series(path)
    check_affine(affine, path)
    check_content(array, path)
    meta: dict[str, Any] = {"filename_or_obj": str(path), "spatial_dims": 3, "space": "RAS"}
    if modality_tag is not None:
        meta["modality_tag"] = modality_tag
    if value_range is not None:
        meta["value_range"] = value_range
    if modality_tag == "CT" and (region := series_region(path)) is not None:
        meta["region"] = region
    if modality_tag == "RTDOSE":
        meta["unit"] = "Gy"
    if modality_tag == "PT":
        meta |= {name: value for name, value in vars(uptake_of(path)).items() if value}
    if modality_tag == "NM":
        meta["unit"] = "counts"
    if said:
        meta["warnings"] = [sentence.replace(f"{path.parent}{os.sep}", "") for sentence in said]
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(LPS_TO_RAS @ affine), meta=meta)
