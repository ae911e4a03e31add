"""Read lists of pairs of images to fuse, from a file or two folders."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.series import is_series
from monai_s3im.formats.paths import IMAGE_SUFFIXES, isdir, isfile, suffix_of
from monai_s3im.formats.reading import stem_of
from monai_s3im.modalities import known_modality, modality_of_name
from monai_s3im.recognition import recognise

from .rows import MAX_QUOTED, TABLE_SUFFIXES, datalist_rows, section_named, table_rows, text_of

_LONGEST_PATH, _LONGEST_NAME = 1024, 255


@dataclass(frozen=True)
class Pair:
    """Two images of one subject, and the name of their fused image.

    Attributes:
        name: unique among the pairs; names the outputs.
        image_a: the file whose grid the fused image gets (the MR or visible one in the known data sets).
        image_b: the other file.
        modality_a: a name of `monai_s3im.modalities.MODALITIES`; None if not given: then it is recognised when the
            image is read.
        modality_b: the same for `image_b`.
    """

    name: str
    image_a: Path
    image_b: Path
    modality_a: str | None = None
    modality_b: str | None = None


def read_pairs(path: str | Path, section: str | None = None) -> list[Pair]:
    """Read a list of pairs; the files it names are not checked (see `pair_checks.check_pairs`).

    Args:
        path: a table (.csv, or .tsv and .txt) with the header `name,image_a,image_b,modality_a,modality_b`, of which
            only `image_a` and `image_b` are required and other columns are ignored; or a MONAI (Decathlon) datalist in
            JSON, whose items have `image_a` and `image_b`, or `image` with a list of the two; or a folder with one of
            them. Relative paths in it are relative to its folder. A list given by name may name files anywhere, a list
            found in a folder only files below it. A pair without a name is named after image_a; for names that are not
            unique, see :func:`uniquely_named`.
        section: 'training', 'validation' or 'test' ('testing') of a datalist; all when None.

    Raises:
        InputError: the file does not exist, the folder has none or several, a column, value or section is missing, the
            file is not a table or JSON text, it has no pairs, or a list found in a folder leads out of it.
    """
    path = Path(path)
    if isdir(path):
        found = _only_list_in(path)
        return inside(path, found, read_pairs(found, section))
    is_table = path.suffix.lower() in TABLE_SUFFIXES
    if not is_table and path.suffix.lower() != ".json":
        raise InputError(
            f"{path} is not a list of pairs: give a .csv file, a .json datalist or a folder with one of them"
        )
    text = text_of(path)
    if is_table and section is not None:
        raise InputError(f"{path} has no section '{section}', because it is a CSV file: write a datalist.json")
    rows = table_rows(text, path) if is_table else datalist_rows(text, path, section_named(section))
    if not rows:
        raise InputError(f"{path} lists no pair: give image_a and image_b of at least one")
    given = {str(row["name"]) for row in rows if row.get("name")}
    return uniquely_named([_pair(row, path) for row in rows], given)


def inside(folder: Path, datalist: Path, pairs: list[Pair]) -> list[Pair]:
    """The pairs, if the names of all their files are below a folder; links may lead anywhere.

    Args:
        folder: the folder that the user named.
        datalist: the list found there.
        pairs: the pairs of the list.

    Raises:
        InputError: if an image is elsewhere.
    """
    root = os.path.abspath(folder)  # noqa: PTH100 (without following links)
    for pair in pairs:
        for image in (pair.image_a, pair.image_b):
            if not Path(os.path.abspath(image)).is_relative_to(root):  # noqa: PTH100
                raise InputError(
                    f"{datalist} leads out of its folder, to {image}: if this is intended, name the list itself, "
                    "not its folder"
                )
    return pairs


def match_folders(
    folder_a: str | Path, folder_b: str | Path, modality_a: str | None = None, modality_b: str | None = None
) -> tuple[list[Pair], list[Path]]:
    """Pair the images of two folders that have the same name up to the suffix.

    Returns:
        The pairs sorted by name, and the images of either folder without a partner.

    Raises:
        InputError: a folder is missing, two images of one folder have the same stem, or there are no pairs.
    """
    files_a, files_b = images_by_stem(Path(folder_a)), images_by_stem(Path(folder_b))
    common = sorted(files_a.keys() & files_b.keys())
    if not common:
        raise InputError(f"{folder_a} and {folder_b} share no file name: give the images of a pair the same name")
    pairs = [Pair(stem, files_a[stem], files_b[stem], modality_a, modality_b) for stem in common]
    unpaired = [file for files in (files_a, files_b) for stem, file in sorted(files.items()) if stem not in common]
    return pairs, unpaired


def uniquely_named(pairs: Sequence[Pair], given: Collection[str] = ()) -> list[Pair]:
    """Make names unique, except those that were `given`.

    The first of these that distinguishes pairs of the same name is appended: the modality of image_b ('28005_ct'),
    folders of image_a ('p1_T1'), the name of image_b ('T1_PET'), or both. If nothing does, the names stay unchanged.
    """
    count = Counter(pair.name.casefold() for pair in pairs)
    groups: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        if count[pair.name.casefold()] > 1 and pair.name not in given:
            groups.setdefault(pair.name.casefold(), []).append(index)
    named = list(pairs)
    for group in groups.values():
        ways = ([way(pairs[index]) for index in group] for way in _WAYS_TO_NAME)
        for names in ways:
            if all(names) and len({name.casefold() for name in names}) == len(names):
                for index, name in zip(group, names, strict=True):
                    named[index] = replace(pairs[index], name=name)
                break
    return named


def _after_modality(pair: Pair) -> str:
    said = None if pair.modality_b else recognise(pair.image_b, pair.image_a)
    modality = pair.modality_b or (said.modality.name if said else None)
    return f"{pair.name}_{modality}" if modality else ""


def _after_folders(pair: Pair, depth: int) -> str:
    folders = [part for part in pair.image_a.parent.parts if part not in {pair.image_a.anchor, "..", "."}]
    return "_".join([*folders[-depth:], pair.name]) if len(folders) >= depth else ""


def _after_image_b(pair: Pair) -> str:
    return f"{pair.name}_{stem_of(pair.image_b)}"


_DEPTHS = range(1, 9)
_WAYS_TO_NAME: tuple[Callable[[Pair], str], ...] = (
    _after_modality,
    *(partial(_after_folders, depth=depth) for depth in _DEPTHS),
    _after_image_b,
    *(lambda pair, depth=depth: f"{_after_folders(pair, depth)}_{stem_of(pair.image_b)}" for depth in _DEPTHS),
)


def datalist_items(pairs: Iterable[Pair]) -> list[dict[str, str | None]]:
    """The pairs as dictionaries for MONAI's datasets, with paths as text."""
    return [
        {
            "name": pair.name,
            "image_a": str(pair.image_a),
            "image_b": str(pair.image_b),
            "modality_a": pair.modality_a,
            "modality_b": pair.modality_b,
        }
        for pair in pairs
    ]


def _modality(text: Any) -> str | None:
    """The modality name in a list, or any other value, which is refused later."""
    found = known_modality(str(text or "")) or modality_of_name(str(text or ""))
    return found.name if found else str(text or "").strip().lower() or None


def _only_list_in(folder: Path) -> Path:
    for name in ("pairs.csv", "datalist.json"):
        if isfile(folder / name):
            return folder / name
    found = sorted([*folder.glob("*.csv"), *folder.glob("datalist*.json")])
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{folder} has several lists of pairs: give one of {', '.join(file.name for file in found)}")
    raise InputError(f"{folder} has no list of pairs: put a pairs.csv or a datalist.json there")


def _pair(row: dict[str, Any], path: Path) -> Pair:
    for key in ("image_a", "image_b"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise InputError(f"{path} has a pair without {key} ({str(row)[:MAX_QUOTED]}): give the file")
        if len(row[key]) > _LONGEST_PATH or max(map(len, Path(row[key]).parts), default=0) > _LONGEST_NAME:
            raise InputError(
                f"{path} has a pair whose {key} of {len(row[key])} characters is not a path: give the file"
            )
    return Pair(
        name=str(row.get("name") or stem_of(path.parent / row["image_a"])),
        image_a=path.parent / row["image_a"],
        image_b=path.parent / row["image_b"],
        modality_a=_modality(row.get("modality_a")),
        modality_b=_modality(row.get("modality_b")),
    )


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The pictures, volumes and DICOM series in a folder, by name without suffix.

    Raises:
        InputError: it is not a folder, has none of them, or two of the same name.
    """
    if not isdir(folder):
        raise InputError(f"{folder} is not a folder: give a folder of images")
    by_stem: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not (suffix_of(file) if isfile(file) else is_series(file)):
            continue
        if stem_of(file) in by_stem:
            raise InputError(f"{folder} has both {by_stem[stem_of(file)].name} and {file.name}: keep one of them")
        by_stem[stem_of(file)] = file
    if not by_stem:
        raise InputError(f"{folder} has no image: put files of {' '.join(IMAGE_SUFFIXES)} there")
    return by_stem
