"""Parse the path of an image: its format, its frame or series, and whether it exists.

``FILE#FRAME`` is one frame of a 4D volume, counted from 1; ``FOLDER#SERIES`` one of several DICOM series in a folder,
by number, UID or description; ``FOLDER#SERIES#VOLUME`` one volume of it. An existing file of such a name is taken as a
file.

The whole package uses :func:`exists`, :func:`isfile` and :func:`isdir` of ``os.path``: they return False where pathlib
raises an error, for a name that is too long or a folder without search permission.
"""

import re
from os.path import exists, isdir, isfile
from pathlib import Path

__all__ = [
    "DICOM_SUFFIXES",
    "IMAGE_SUFFIXES",
    "ITK_SUFFIXES",
    "MINC_SUFFIXES",
    "NIBABEL_SUFFIXES",
    "NIFTI_SUFFIXES",
    "PICTURE_SUFFIXES",
    "TIFF_SUFFIXES",
    "VOLUME_SUFFIXES",
    "beside",
    "exists",
    "frame_of",
    "isdir",
    "isfile",
    "series_of",
    "stem_of_file",
    "suffix_of",
]

TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", *TIFF_SUFFIXES, ".bmp")
NIFTI_SUFFIXES = (".nii.gz", ".nii")
NIBABEL_SUFFIXES = (*NIFTI_SUFFIXES, ".hdr", ".img", ".mgz", ".mgh")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
MINC_SUFFIXES = (".mnc",)
VOLUME_SUFFIXES = NIBABEL_SUFFIXES + ITK_SUFFIXES + MINC_SUFFIXES
IMAGE_SUFFIXES = PICTURE_SUFFIXES + VOLUME_SUFFIXES
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")

_FRAME = re.compile(r"[1-9][0-9]{0,8}")
_SERIES = re.compile(r"[0-9][0-9.]*(#[0-9]+)?")


def frame_of(path: str | Path) -> tuple[Path, int | None]:
    """The file of ``FILE#FRAME`` and the frame; None if none is named."""
    whole, part = _split(path, _FRAME)
    return whole, int(part) if part else None


def series_of(path: str | Path) -> tuple[Path, str | None]:
    """The folder of ``FOLDER#SERIES`` or ``FOLDER#SERIES#VOLUME`` and the part after it; None if none is named."""
    text = str(path)
    if exists(text):
        return Path(path), None
    for place in (place for place, sign in reversed([*enumerate(text)]) if sign == "#" and place):
        whole, name = text[:place], text[place + 1 :]
        if name and (isdir(whole) or (isfile(whole) and _SERIES.fullmatch(name))):
            return Path(whole), name
    named = re.fullmatch(rf"([^#].*?)#({_SERIES.pattern})", text)
    return (Path(named[1]), named[2]) if named else (Path(path), None)


def suffix_of(path: str | Path) -> str:
    """The suffix in lower case, with '.nii.gz' as one; '' if it is not that of a known image format."""
    name = frame_of(path)[0].name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), "")


def beside(image: Path, suffix: str) -> Path:
    """The file with another suffix next to an image file or the folder of a series; it need not exist."""
    return image.with_name(f"{stem_of_file(image) if suffix_of(image) else image.name}{suffix}")


def stem_of_file(path: str | Path) -> str:
    """The file name without its suffix: 'x' for 'x.nii.gz', 'x_3' for 'x.nii.gz#3'."""
    file, frame = frame_of(path)
    stem = file.name[: -len(suffix_of(file))] if suffix_of(file) else file.stem
    return f"{stem}_{frame}" if frame else stem


def _split(path: str | Path, part: re.Pattern[str]) -> tuple[Path, str | None]:
    whole, sign, name = str(path).rpartition("#")
    if not (sign and whole and part.fullmatch(name)) or exists(path):
        return Path(path), None
    return Path(whole), name
