"""Which files may come in: by name, by where they lie, and by what their header says, before anything reads them."""

import contextlib
import math
import os
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import nibabel
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
MAX_LISTED = 2000
MAX_HEADER = 2**20
NRRD_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
              "signed char": 1, "unsigned char": 1, "uchar": 1, "short": 2, "short int": 2, "signed short": 2,
              "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "int": 4, "signed int": 4, "uint": 4,
              "unsigned int": 4, "long long": 8, "longlong": 8, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2,
              "int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8, "float": 4, "double": 8}  # fmt: skip


class FileError(ValueError):
    """A file that is not taken; the message is one sentence for the page, with the remedy."""


def volume_suffix(name: str) -> str:
    """The suffix of a volume's file name.

    Raises:
        FileError: if it is none of :data:`SUFFIXES`.
    """
    for suffix in SUFFIXES:
        if name.casefold().endswith(suffix):
            return suffix
    raise FileError(f"This is no volume that can be read here: choose a file that ends in {', '.join(SUFFIXES)}.")


def plain_name(name: str) -> str:
    """A file's name without folders and suffix, of letters, digits, ``-``, ``_`` and ``.``, 64 at most."""
    base = re.split(r"[\\/]", name)[-1]
    base = base[: -len(volume_suffix(base))]
    return re.sub(r"[^\w.-]+", "_", base).strip("._")[:64] or "volume"


def list_volumes(folder: Path | None) -> list[str]:
    """The volumes inside a folder and its subfolders, as paths relative to it, sorted; hidden ones left out.

    The walk ends at :data:`MAX_LISTED`. What cannot be read is left out, and so is a name that is no UTF-8: the page
    cannot hold it.
    """
    return [] if folder is None else sorted(islice(_volumes(folder), MAX_LISTED))


def _volumes(folder: Path) -> Iterator[str]:
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.casefold().endswith(SUFFIXES):
                continue
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            with contextlib.suppress(OSError, UnicodeEncodeError):
                relative.encode()
                if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                    yield relative


def volume_inside(folder: Path | None, relative: str) -> Path:
    """The file that ``relative`` names inside ``folder``, links followed.

    Raises:
        FileError: if the server was given no folder, or the file is not inside it, or is not there.
    """
    if folder is None:
        raise FileError("This server offers no folder of its own: upload a file.")
    try:
        path = (folder / relative).resolve()
        is_inside = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):
        is_inside = False
    if not is_inside:
        raise FileError("There is no such volume in the server's folder: choose one of the list.")
    volume_suffix(path.name)
    return path


def check_volume(path: Path, max_bytes: int) -> None:
    """Read a volume's header, and refuse what must not be read on a server.

    A header that points to another file would let the reader open any file of this machine; a small compressed file can
    hold a volume larger than the memory.

    Raises:
        FileError: if the file or its header cannot be read, or the header points to another file or tells of more than
            ``max_bytes`` of voxels.
    """
    try:
        path.open("rb").close()
        size = _nrrd_bytes(path) if volume_suffix(path.name) == ".nrrd" else _nifti_bytes(path)
    except OSError as error:
        raise FileError("This file cannot be opened on the server: may the server read it?") from error
    if size > max_bytes:
        raise FileError(
            f"This volume has {size / 2**20:.0f} MB of voxels, and {max_bytes / 2**20:.0f} are allowed here."
        )


def _nifti_bytes(path: Path) -> int:
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError, OSError, ValueError, EOFError, zlib.error, OverflowError) as error:
        raise FileError("This file cannot be read as NIfTI: is it whole?") from error
    if type(image) not in {nibabel.Nifti1Image, nibabel.Nifti2Image}:
        raise FileError("This file cannot be read as NIfTI: is it whole?")
    return math.prod(max(int(length), 0) for length in image.shape) * image.get_data_dtype().itemsize


def _nrrd_bytes(path: Path) -> int:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        if not stream.readline(16).startswith(b"NRRD000"):
            raise FileError("This file cannot be read as NRRD: is it whole?")
        while line := stream.readline(MAX_HEADER).decode("latin-1").strip("\r\n"):
            name, _, value = line.partition(":")
            fields[name.strip().casefold()] = value.strip()
            if stream.tell() > MAX_HEADER:
                raise FileError("This file cannot be read as NRRD: its header does not end.")
    if any(name.replace(" ", "") == "datafile" for name in fields):
        raise FileError("This NRRD keeps its voxels in another file: save it as one .nrrd file.")
    try:
        lengths = [int(length) for length in fields["sizes"].split()]
        return math.prod(lengths) * NRRD_BYTES[fields["type"].casefold()]
    except (KeyError, ValueError) as error:
        raise FileError("This file cannot be read as NRRD: is it whole?") from error
