"""The rows of a list of pairs: a table written by a spreadsheet, or a MONAI datalist."""

import codecs
import csv
import json
import logging
import re
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai_s3im.errors import InputError

SECTIONS = ("training", "validation", "test")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
MAX_QUOTED = 200  # characters

_OTHER_NAMES = {"train": "training", "val": "validation", "testing": "test"}  # of sections
_NEEDED = ("image_a", "image_b")
_COLUMNS = (*_NEEDED, "modality_a", "modality_b", "name")
_OF_A_THIRD_IMAGE = re.compile(r"(image|modality)_[c-z]")
_SEPARATORS = ",;\t"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\s,;]*$', re.IGNORECASE)  # Excel's first line, which names the separator

logger = logging.getLogger(__name__)


def text_of(path: Path) -> str:
    """The text of a list, in UTF-8 or UTF-16 (Excel's "Unicode text"), without its byte order mark.

    Raises:
        InputError: the file does not exist, is not readable, or has another encoding.
    """
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
        if is_utf16 and "image" not in text.lower():
            raise UnicodeError("not the text of a list")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the path") from error
    except PermissionError as error:
        raise InputError(f"{path} is not readable: check its permissions") from error
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read as text: save it as UTF-8") from error
    return text


def table_rows(text: str, path: Path) -> list[dict[str, Any]]:
    """The rows of a table by column name; columns without a name and trailing empty cells are left out.

    Raises:
        InputError: the columns image_a or image_b are missing, a column seems misspelt or occurs twice, or a row has a
            value without a column, or lacks an image.
    """
    lines = [line for line in text.splitlines() if line.strip(f" {_SEPARATORS}")]
    separator = max(_SEPARATORS, key=lines[0].count) if lines else ","
    if lines and (said := _SEPARATOR_LINE.match(lines[0])):
        separator, lines = said[1], lines[1:]
    try:
        cells = [
            [cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator, skipinitialspace=True)
        ]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file ({error}): export it again") from error
    header = [name.lower() for name in cells[0]] if cells else []
    _check_header(header, path)
    return [_row(header, row, path) for row in cells[1:] if any(row)]


def _check_header(header: list[str], path: Path) -> None:
    if not {*_NEEDED} <= set(header):
        raise InputError(f"{path} lacks the columns image_a and image_b: start it with name,image_a,image_b")
    if twice := [name for name, count in Counter(header).items() if count > 1 and name in _COLUMNS]:
        raise InputError(f"{path} has the column {twice[0]} twice: keep one of them")
    further = [name for name in header if name and name not in _COLUMNS]
    doubtful = [name for name in further if not _OF_A_THIRD_IMAGE.fullmatch(name)]
    if unclear := [name for name in doubtful if get_close_matches(name, _COLUMNS, cutoff=0.85)]:
        meant = get_close_matches(unclear[0], _COLUMNS, n=1)[0]
        raise InputError(
            f"{path} has unknown columns {', '.join(unclear)[:MAX_QUOTED]}: rename {unclear[0][:MAX_QUOTED]} to "
            f"{meant}, or to a clearly different name"
        )
    if further:
        logger.info("%s: ignored columns: %s", path, ", ".join(further)[:MAX_QUOTED])


def _row(header: list[str], cells: list[str], path: Path) -> dict[str, Any]:
    named = [*header, *[""] * (len(cells) - len(header))]
    lost = [cell for name, cell in zip(named, cells, strict=False) if cell and not name]
    if lost or {*_NEEDED} & {*header[len(cells) :]}:
        raise InputError(
            f"{path} has a row of {len(cells)} cells under {sum(map(bool, header))} columns "
            f"({str(cells)[:MAX_QUOTED]}): quote cells that contain a separator"
        )
    return {name: cell for name, cell in zip(named, cells, strict=False) if name in _COLUMNS}


def section_named(section: str | None) -> str | None:
    """The section for a name, such as 'test' for MONAI's 'testing'."""
    return section if section is None else _OTHER_NAMES.get(section, section)


def datalist_rows(text: str, path: Path, section: str | None) -> list[dict[str, Any]]:
    """The items of a datalist, or of one of its sections, with ``image_a`` and ``image_b``.

    Raises:
        InputError: it is not JSON, lacks sections or this one, or an item is not an object or has more than two images.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({str(error)[:MAX_QUOTED]}): fix it") from error
    sections: dict[str, list[Any]] = {}
    for name, items in content.items() if isinstance(content, dict) else []:
        if (known := section_named(name)) in SECTIONS and isinstance(items, list):
            sections.setdefault(str(known), []).extend(items)
    present = [name for name in SECTIONS if name in sections]
    if not present:
        raise InputError(f"{path} has none of the sections {', '.join(SECTIONS)}: write it as a MONAI datalist")
    if section is not None and section not in present:
        raise InputError(f"{path} has no section '{section}': use one of {', '.join(present)}")
    items = [item for name in present if section in {None, name} for item in sections[name]]
    if not all(isinstance(item, dict) for item in items):
        raise InputError(f'{path} has items without keys: write them as {{"image_a": ..., "image_b": ...}}')
    modality = content.get("modality") or content.get("channel_names")
    modality = modality if isinstance(modality, dict) else {}
    defaults = {
        f"modality_{key}": modality.get(f"image_{key}") or modality.get(n) for n, key in (("0", "a"), ("1", "b"))
    }
    return [{**defaults, **_named_images(item, path)} for item in items]


def _named_images(item: dict[str, Any], path: Path) -> dict[str, Any]:
    """Name the two images of an item that has them in one list, as MONAI does."""
    images = item.get("image")
    if not isinstance(images, list) or {*_NEEDED} & item.keys():
        return item
    if len(images) != len(_NEEDED):
        raise InputError(
            f"{path} has an item of {len(images)} images ({str(item)[:MAX_QUOTED]}): name the two to fuse image_a and "
            "image_b"
        )
    return {**item, **dict(zip(_NEEDED, images, strict=True))}
