"""Find the images that match a pattern below a folder, each with the text that its wildcards matched."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.series import is_series
from monai_s3im.formats.paths import DICOM_SUFFIXES, isdir, isfile, stem_of_file, suffix_of
from monai_s3im.formats.reading import stem_of
from monai_s3im.modalities import known_modality

_ENTITY = re.compile(r"([A-Za-z]+)-([A-Za-z0-9]+)")
_OF_FOLDERS = ("sub", "ses")
_NUMBERED = ("run", "echo", "flip", "inv", "split", "chunk")  # BIDS: indices, which may have leading zeros
_KINDS_OF_DATA = ("anat", "func", "dwi", "fmap", "perf")  # folders of BIDS; its pet is a modality already
_TIMES = ("t1", "t2")  # often points in time, not weightings
_WILDCARD = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]")
_BETWEEN_WORDS = re.compile(r"[_\-. ]+")


@dataclass(frozen=True, eq=False)
class Found:
    """An image that a pattern found.

    Attributes:
        path: a file, or the folder of a DICOM series.
        matched: the text of each wildcard, without a suffix; None if ambiguous.
        alike: the same without words that name a modality and without empty parts: equal for ``p1/CT/CT_1`` and
            ``p1/PET/PET_1``.
        folders: the non-empty parts of ``alike`` in folder names.
        entities: ``key-value`` pairs of the file name, and subject and session of its folders; a session named after a
            modality (``ses-mri``) is ignored.
    """

    path: Path
    matched: tuple[str, ...] | None
    alike: tuple[str, ...] | None
    folders: tuple[str, ...]
    entities: dict[str, str]


def find(root: Path, pattern: str) -> list[Found]:
    """The images that a pattern finds; hidden files and non-images (such as sidecars) are left out.

    Args:
        root: the folder to search.
        pattern: of :meth:`pathlib.Path.glob`. It may match folders of DICOM series, or the slices in them, which stand
            for their folder.

    Raises:
        InputError: if the pattern cannot be used, or finds no image.
    """
    try:
        paths = sorted(
            path
            for path in root.glob(pattern)
            if not any(part.startswith(".") for part in path.relative_to(root).parts)
        )
    except (ValueError, NotImplementedError, IndexError) as error:
        raise InputError(f"{pattern!r} is not a pattern ({error}): give one such as '**/*_T1w.nii.gz'") from error
    if not paths:
        raise InputError(f"{pattern!r} matches nothing under {root}: check the pattern, in quotes, and the folder")
    matches, counts = _expression(pattern), Counter(path.parent for path in paths if _is_dicom_file(path))
    whole = {folder for folder, count in counts.items() if count > 1 and count == _dicom_files_in(folder)}
    found = {}
    for path in paths:
        is_slice = _is_dicom_file(path) and path.parent in whole
        image = path.parent if is_slice else path
        if image not in found and (is_slice or _is_image(path)):
            found[image] = _described(image, root, matches, path, is_slice)
    if not found:
        raise InputError(
            f"{pattern!r} matches no image under {root}, only other files such as {paths[0].name}: "
            "end it with the suffix of the images, or name the folders of DICOM series"
        )
    return list(found.values())


def _is_image(path: Path) -> bool:
    return is_series(path) if isdir(path) or _is_dicom_file(path) else bool(suffix_of(path))


def _is_dicom_file(path: Path) -> bool:
    return path.suffix.lower() in DICOM_SUFFIXES and isfile(path)


def _dicom_files_in(folder: Path) -> int:
    return sum(_is_dicom_file(file) and not file.name.startswith(".") for file in folder.iterdir())


def _described(image: Path, root: Path, matches: re.Pattern[str], path: Path, is_slice: bool) -> Found:
    match = matches.fullmatch(path.relative_to(root).as_posix())
    matched: tuple[str, ...] | None = None
    alike: tuple[str, ...] | None = None
    folders: tuple[str, ...] = ()
    if match is not None:
        last = path.relative_to(root).as_posix().rfind("/") + 1
        spans = [match.span(index + 1) for index in range(matches.groups)]
        inside = [index for index, (start, _) in enumerate(spans) if start >= last]
        texts = [text.strip("/") for text in match.groups()]
        if is_slice:  # the name of a slice does not identify its series
            texts = [text for index, text in enumerate(texts) if index not in inside]
            inside = []
        matched = tuple(
            stem_of_file(text) if index in inside and suffix_of(text) else text for index, text in enumerate(texts)
        )
        plain = [_without_modality(text) for text in matched]
        alike = tuple(text for text in plain if text)
        folders = tuple(text for index, text in enumerate(plain) if index not in inside and text)
    return Found(image, matched, alike, folders, _entities(image, root))


def _without_modality(text: str) -> str:
    parts = [[word for word in _BETWEEN_WORDS.split(part) if word and not _is_kind(word)] for part in text.split("/")]
    return "/".join("_".join(words) for words in parts if words)


def _is_kind(word: str) -> bool:
    return word.lower() not in _TIMES and (known_modality(word) is not None or word.lower() in _KINDS_OF_DATA)


def _expression(pattern: str) -> re.Pattern[str]:
    """A regular expression for the path below the root, with a group for each wildcard."""
    parts = Path(pattern).parts
    text = ""
    for index, part in enumerate(parts):
        if part == "**" and index < len(parts) - 1:
            text += "((?:[^/]+/)*)"
        else:
            text += _of_one_name(part) + ("/" if index < len(parts) - 1 else "")
    try:
        return re.compile(text, re.IGNORECASE | re.DOTALL)
    except re.error:  # such as a range [z-a], which matches nothing
        return re.compile(r"(?!)")


def _of_one_name(part: str) -> str:
    if part == "**":
        return "(.*)"
    text, end = "", 0
    for wildcard in _WILDCARD.finditer(part):
        text += re.escape(part[end : wildcard.start()])
        sign = wildcard[0]
        if sign[0] == "*":
            text += "([^/]*)"
        elif sign == "?":
            text += "([^/])"
        else:
            chosen = sign[1:-1].replace("\\", r"\\").replace("[", r"\[")
            text += f"([{'^' + chosen[1:] if chosen.startswith('!') else chosen.replace('^', chr(92) + '^', 1)}])"
        end = wildcard.end()
    return text + re.escape(part[end:])


def _entities(file: Path, root: Path) -> dict[str, str]:
    """The ``key-value`` entities of a file name, plus subject and session from its folders."""
    found = {}
    for folder in file.relative_to(root).parts[:-1]:
        match = _ENTITY.fullmatch(folder)
        if match and match[1] in _OF_FOLDERS:
            found[match[1]] = match[2]
    matches = [_ENTITY.fullmatch(part) for part in stem_of(file).split("_")]
    found |= {match[1]: match[2] for match in matches if match}
    for key in {*found} & {*_NUMBERED}:
        found[key] = found[key].lstrip("0") or "0"
    if "ses" in found:
        found["ses"] = _session(found["ses"])
    return {key: value for key, value in found.items() if value}


def _session(label: str) -> str:
    """The session without the modality in its name: nothing for ``mri``, ``01`` for ``pet01``."""
    words: Sequence[str] = re.findall(r"[A-Za-z]+|[0-9]+", label)
    return "".join(words[1:]) if words and words[0].isalpha() and _is_kind(words[0]) else label
