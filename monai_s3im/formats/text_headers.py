"""The text headers of NRRD and MetaImage: checked before ITK reads them, and replaced if ITK would refuse them."""

import bz2
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from monai_s3im.errors import InputError

from .damage import damage_as_input_error

_DATA_FILE = re.compile(r"^\s*(?:data ?file\s*:|ElementDataFile\s*=)\s*(.*)", re.MULTILINE | re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(r"[^%]*%\d{0,2}d[^%]*")  # files of slices, by number
_LONGEST_NAME = 255  # characters
_LARGEST_TEXT_HEADER = 2**16  # bytes
_ORIENTATION = re.compile(
    r"^\s*(?:space\s*:\s*(?:[LR]\w*[APS]|(?:left|right)-(?:anterior|posterior)-superior)|"
    r"(?:TransformMatrix|Rotation|Orientation)\s*=)",
    re.MULTILINE | re.IGNORECASE,
)
_BZIP2 = re.compile(r"^encoding\s*:\s*(?:bz2|bzip2)\s*$", re.MULTILINE | re.IGNORECASE)
_FOUR_AXES = re.compile(r"^dimension\s*:\s*4\s*$", re.MULTILINE)
_DIRECTIONS = re.compile(r"^space directions\s*:(.*)$", re.MULTILINE)
_KINDS = re.compile(r"^kinds\s*:(.*)$", re.MULTILINE)
_PLAIN_KINDS = frozenset({"domain", "space", "time", "none", "unknown", "???", "list"})
_PIECE = 2**20  # bytes


def text_header(file: Path) -> tuple[str, bool]:
    """The header's text, and whether a blank line ends it."""
    with file.open("rb") as stream:
        content = stream.read(_LARGEST_TEXT_HEADER)
    head, *voxels = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    return head.decode("latin-1"), bool(voxels) or len(content) < _LARGEST_TEXT_HEADER


def says_where_it_lies(file: Path) -> bool:
    """Whether the header has an orientation."""
    return bool(_ORIENTATION.search(text_header(file)[0]))


def check_data_files(header: Path) -> None:
    """Refuse a header that takes its voxels from outside its folder, or whose data file's name could crash ITK.

    Otherwise it could read any file or device. ITK copies the name into a short buffer and uses it as a print format.
    """
    head, is_whole = text_header(header)
    found = _DATA_FILE.search(head)
    if found is None and not is_whole:
        raise InputError(f"{header} has a header of more than 64 KiB: save it again")
    names = [name.strip() for name in found[1].splitlines()] if found else []
    for name in names if names and names[0].startswith("LIST") else names[:1]:
        windows, posix = PureWindowsPath(name), PurePosixPath(name)
        if name == "-" or posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
            raise InputError(f"{header} takes its voxels from outside its folder: put the data file beside the header")
        if len(name) > _LONGEST_NAME or ("%" in name and not _NUMBERED.fullmatch(name)):
            raise InputError(f"{header} names a data file that cannot be read: give that file a short name without %")


@contextmanager
def as_itk_reads(file: Path, max_gib: float) -> Iterator[Path]:
    """The file itself, or a temporary header of the same voxels for an NRRD that ITK would refuse.

    ITK lacks bzip2, and reads 4D frames only if their axis, which has no direction, has the kind "list".

    Args:
        file: NRRD or MetaImage.
        max_gib: maximum memory for its voxels.

    Raises:
        InputError: it is damaged, or needs more than that.
    """
    head = text_header(file)[0]
    is_packed = bool(_BZIP2.search(head))
    amended = _with_frames_as_list(head)
    if not head.startswith("NRRD") or (amended == head and not is_packed):
        yield file
        return
    found = _DATA_FILE.search(head)
    name = found[1].splitlines()[0].strip() if found and found[1].strip() else ""
    if name.startswith("LIST") or "%" in name:
        raise InputError(f"{file} has its voxels in several files, in a form that ITK does not read: save it as one")
    data, skipped = (file.parent / name, 0) if name else (file, len(head.splitlines()) + 1)
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for line in amended.splitlines() if not _DATA_FILE.match(line)]
        if is_packed:
            with damage_as_input_error(file):
                _unpack(data, skipped, Path(folder, "voxels.raw"), file, max_gib)
            data, skipped = Path(folder, "voxels.raw"), 0
            lines = [_BZIP2.sub("encoding: raw", line) for line in lines]
        skip = [f"line skip: {skipped}"] if skipped else []
        header = Path(folder, "header.nhdr")
        header.write_text("\n".join([*lines, *skip, f"data file: {data.absolute()}", "", ""]), encoding="latin-1")
        yield header


def _with_frames_as_list(head: str) -> str:
    """The header of an NRRD with the kind list for the one axis of four that has no direction."""
    directions = _DIRECTIONS.search(head)
    if not (_FOUR_AXES.search(head) and directions):
        return head
    has_none = [axis == "none" for axis in re.findall(r"none|\([^)]*\)", directions[1])]
    found = _KINDS.search(head)
    kinds = found[1].split() if found else ["???"] * 4
    if sum(has_none) != 1 or len(has_none) != 4 or len(kinds) != 4 or not _PLAIN_KINDS.issuperset(kinds):
        return head
    line = f"kinds: {' '.join('list' if is_frames else 'domain' for is_frames in has_none)}"
    if found:
        return head if "list" in kinds else head.replace(found[0], line)
    return f"{head}\n{line}" if not _DATA_FILE.search(head) else _DATA_FILE.sub(lambda data: f"{line}\n{data[0]}", head)


def _unpack(data: Path, skipped: int, target: Path, file: Path, max_gib: float) -> None:
    """Unpack the bzip2 data that follows some lines of a file.

    Raises:
        InputError: it exceeds the limit.
    """
    with data.open("rb") as stream, target.open("wb") as unpacked:
        for _ in range(skipped):
            stream.readline()
        with bz2.BZ2File(stream) as content:
            while piece := content.read(_PIECE):
                unpacked.write(piece)
                if unpacked.tell() > max_gib * 2**30:
                    raise InputError(
                        f"{file} holds more than the limit of {max_gib:g} GiB: crop or resample it, or raise the limit "
                        "(max_gib)"
                    )
