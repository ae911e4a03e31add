"""Report damage of a file as one sentence; nothing else about it reaches the user's screen."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from PIL import Image

from monai_s3im.errors import InputError

from .paths import suffix_of

_DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, OverflowError, SyntaxError, TypeError, RuntimeError)
_READ_ERRORS = (*_DAMAGE, struct.error, zlib.error, ImageFileError, HeaderDataError, WrapStructError)


@contextmanager
def damage_as_input_error(path: Path, is_dicom: bool = False) -> Iterator[None]:
    """Turn a library's errors, logs and warnings about a damaged file into one InputError.

    Args:
        path: the file.
        is_dicom: whether pydicom reads it. It raises nearly every type of error; their text is dropped, since it may
            quote a tag.
    """
    damage = Exception if is_dicom else _READ_ERRORS
    try:
        with silenced("pydicom" if is_dicom else "nibabel.global"):
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: crop or resample it, or export it again") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} declares an implausible size: crop it, or check that it is a picture") from error
    except damage as error:
        kind = "DICOM" if is_dicom else suffix_of(path)
        raise InputError(damaged(path, kind)) from (None if is_dicom else error)


def damaged(path: Path, kind: str) -> str:
    """The message about a damaged file of an expected kind, such as ``"DICOM"`` or ``".nii"``."""
    return f"{path} is damaged, cut short or not a {kind} file: copy or export it again"


@contextmanager
def silenced(logger: str) -> Iterator[None]:
    """Silence a library's logger and warnings, which may quote the text of a file."""
    log, nothing_passes = logging.getLogger(logger), logging.Filter("no logger")
    log.addFilter(nothing_passes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.removeFilter(nothing_passes)
