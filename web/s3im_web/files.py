"""Which files the server accepts, by name, location and header, before any reader opens them."""

import contextlib
import math
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from monai_s3im.errors import InputError
from monai_s3im.formats.nibabel_images import declared_bytes
from monai_s3im.formats.remarks import remarks
from monai_s3im.formats.voxels import read_voxels

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
MAX_LISTED = 2000
MAX_HEADER = 2**20
MAX_NAME = 200
MAX_FILES = 20_000
"""In an upload or an archive."""

_CHUNK = 2**20
_UPLOADED_SERIES = re.compile(r"\b[Ii]n-[0-9a-f]{16}#([\w./#-]*\w)")
_UPLOADED = re.compile(r"\bin-[0-9a-f]{16}\b")
NO_FRAMES = ": this page takes one frame, saved as a volume of its own"
NRRD_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
              "signed char": 1, "unsigned char": 1, "uchar": 1, "short": 2, "short int": 2, "signed short": 2,
              "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "int": 4, "signed int": 4, "uint": 4,
              "unsigned int": 4, "long long": 8, "longlong": 8, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2,
              "int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8, "float": 4, "double": 8}  # fmt: skip


class FileError(ValueError):
    """A file that is refused; the message is one sentence for the page, with the remedy."""


def volume_suffix(name: str) -> str:
    """The suffix of a volume's file name.

    Raises:
        FileError: if it is not in :data:`SUFFIXES`.
    """
    for suffix in SUFFIXES:
        if name.casefold().endswith(suffix):
            return suffix
    raise FileError(f"This is not a volume that the page can read: choose a file that ends in {', '.join(SUFFIXES)}")


def plain_name(name: str) -> str:
    """A file's name without folders and suffix: at most 64 letters, digits, ``-``, ``_`` and ``.``."""
    base = re.split(r"[\\/]", name)[-1]
    base = base[: -len(volume_suffix(base))]
    return re.sub(r"[^\w.-]+", "_", base).strip("._")[:64] or "volume"


def list_volumes(folder: Path | None) -> list[str]:
    """The volumes in a folder and its subfolders, as sorted relative paths, without hidden ones.

    The walk stops at :data:`MAX_LISTED`. Unreadable files are left out, and so are names that are not UTF-8, which the
    page cannot show.
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
    """The file that ``relative`` names inside ``folder``, with links resolved.

    Raises:
        FileError: if the server has no such folder, or the file is outside it or missing.
    """
    if folder is None:
        raise FileError("This server has no folder of volumes: upload a file")
    try:
        path = (folder / relative).resolve()
        is_inside = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):
        is_inside = False
    if not is_inside:
        raise FileError("There is no such volume in the server's folder: choose one from the list")
    volume_suffix(path.name)
    return path


def base_name(name: str) -> str:
    """A file's name as the browser sends it, without folders and with printable characters only."""
    base = re.split(r"[\\/]", name)[-1]
    return "".join(letter if letter.isprintable() else "_" for letter in base)[-MAX_NAME:]


def upload_folder(session: Path) -> Path:
    """A new folder for an upload; its name must not suggest a modality."""
    folder = session / f"in-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    return folder


def without_upload(sentence: str) -> str:
    """A message of the library that names a series by its number instead of the folder of the upload."""
    named = _UPLOADED.sub("the upload", _UPLOADED_SERIES.sub(r"DICOM series \1", sentence))
    return named[:1].upper() + named[1:] if named.startswith("the upload") else named


def inner_path(name: str) -> Path:
    """Where an uploaded file goes in its folder: the relative path from the browser, without ``..``."""
    parts = [base_name(part) for part in re.split(r"[\\/]", name)]
    kept = [part.lstrip(".") for part in parts if part.lstrip(". ")]
    return Path(*kept[-8:]) if kept else Path("file")


def find_volumes(folder: Path) -> list[Path]:
    """The volumes in a folder and its subfolders, sorted, without hidden ones."""
    return [folder / relative for relative in sorted(_volumes(folder)) if "__MACOSX" not in relative]


def unpack(folder: Path, max_bytes: int) -> None:
    """Replace each ZIP archive in a folder with its contents.

    Raises:
        FileError: if an archive is damaged or encrypted, has too many files, or contains a link or a path that
            leads out of its folder; or if all archives together unpack to more than ``max_bytes``.
    """
    left = max_bytes
    for archive in sorted(folder.rglob("*")):
        if archive.suffix.casefold() != ".zip" or not archive.is_file():
            continue
        target = archive.with_suffix("")
        while target.exists():
            target = target.with_name(f"{target.name}_")
        try:
            with zipfile.ZipFile(archive) as packed:
                left = _unpack(packed, target, archive.name, left, max_bytes)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{archive.name} is damaged, encrypted or not a ZIP archive: create it again") from error
        archive.unlink()


def _unpack(packed: zipfile.ZipFile, target: Path, name: str, left: int, max_bytes: int) -> int:
    """Unpack at most ``left`` bytes; returns how many are left for the next archive."""
    entries = [entry for entry in packed.infolist() if not entry.is_dir()]
    if len(entries) > MAX_FILES:
        raise FileError(f"{name} has {len(entries)} files, and {MAX_FILES} are allowed here: send one study")
    unpacks = f"{name} unpacks" if left == max_bytes else "These archives unpack"
    refusal = FileError(
        f"{unpacks} to more than the {max_bytes / 2**20:.0f} MB that are allowed here: send less, or ask the "
        "server's operator for more"
    )
    if sum(entry.file_size for entry in entries) > left:
        raise refusal
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or entry.filename.startswith("/") or stat.S_ISLNK(entry.external_attr >> 16):
            raise FileError(
                f"{name} contains a link or a path that leads out of its folder: create it again without it"
            )
        path = target / inner_path(entry.filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(entry) as source, path.open("wb") as copy:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise refusal
                copy.write(chunk)
    return left


def check_volume(path: Path, max_bytes: int) -> list[str]:
    """Read a volume as ``s3im fuse`` does; refuse what it refuses, and what is unsafe on a server.

    A header that points to another file would let the reader open any file on this machine. A small compressed file can
    unpack to more than fits into memory.

    Returns:
        The remarks of the reader, as sentences.

    Raises:
        FileError: if the command refuses the file, with the same message; if its header points to another file; or if
            its header, extensions and voxels unpack to more than ``max_bytes``.
    """
    try:
        _check_size(path, max_bytes)
        with remarks() as said:
            read_voxels(path)
    except InputError as error:
        sentence = str(error).replace(f"{path.parent}{os.sep}", "")
        raise FileError(sentence + (NO_FRAMES if f"{path.name}#1" in sentence else "")) from error
    return said


def _check_size(path: Path, max_bytes: int) -> None:
    try:
        with path.open("rb") as stream:
            is_empty = not stream.read(1)
        is_nrrd = volume_suffix(path.name) == ".nrrd"
        size = 0 if is_empty else _nrrd_bytes(path) if is_nrrd else declared_bytes(path)
    except OSError as error:
        raise FileError(f"{path.name} cannot be opened on the server: check that the server may read it") from error
    if size > max_bytes:
        raise FileError(
            f"{path.name} unpacks to {size / 2**20:.0f} MB, and {max_bytes / 2**20:.0f} are allowed here: crop or "
            "resample it, or ask the server's operator for more"
        )


def _nrrd_bytes(path: Path) -> int:
    """Bytes of header and voxels; 0 if the header is unreadable, which the reader then reports."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        if not stream.readline(16).startswith(b"NRRD000"):
            return 0
        while line := stream.readline(MAX_HEADER).decode("latin-1").strip("\r\n"):
            name, _, value = line.partition(":")
            fields[name.strip().casefold()] = value.strip()
            if stream.tell() > MAX_HEADER:
                return 0
        header = stream.tell()
    if any(name.replace(" ", "") == "datafile" for name in fields):
        raise FileError(f"{path.name} has its voxels in another file: save it as one .nrrd file")
    try:
        lengths = [int(length) for length in fields["sizes"].split()]
        return header + math.prod(lengths) * NRRD_BYTES[fields["type"].casefold()]
    except (KeyError, ValueError):
        return 0
