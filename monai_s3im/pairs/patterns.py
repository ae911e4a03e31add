"""Pair the images of one tree of folders by two patterns, by subject and session as BIDS names them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import isdir
from monai_s3im.formats.reading import stem_of

from .lists import Pair

_ENTITY = re.compile(r"([A-Za-z]+)-([A-Za-z0-9]+)")
_OF_FOLDERS = ("sub", "ses")


@dataclass(frozen=True)
class PatternMatch:
    """What two patterns found.

    Attributes:
        pairs: images that are each other's only best partner.
        ambiguous: by name of the case, one sentence that names an image and the partners between which nothing decides.
        unpaired: images for which the other pattern has no partner.
    """

    pairs: list[Pair]
    ambiguous: dict[str, str] = field(default_factory=dict)
    unpaired: list[Path] = field(default_factory=list)


def match_patterns(
    root: str | Path, pattern_a: str, pattern_b: str, modality_a: str | None = None, modality_b: str | None = None
) -> PatternMatch:
    """Pair the files that two patterns find under a folder.

    Partners are of the same subject and session (``sub-XX`` and ``ses-YY``, in the file name or the name of a folder);
    images that name neither are partners if they lie in one folder. Among several partners, the one with the most
    ``key-value`` entities in common with the image is taken, then the one in the same folder. A pair is made where each
    is the other's only best partner; what remains is listed, never guessed. A pair is named after its common entities,
    such as ``sub-01_ses-1``, or where that is not unique after the path of its image A.

    Args:
        root: the folder to look in.
        pattern_a: pattern of :meth:`pathlib.Path.glob`, such as ``"**/*_T1w.nii.gz"``; hidden files are left out.
        pattern_b: the same for the partners.
        modality_a: modality of the first images.
        modality_b: modality of the second ones.

    Raises:
        InputError: if the folder is missing, a pattern finds nothing, both find one file, or nothing can be paired.
    """
    root = Path(root)
    if not isdir(root):
        raise InputError(f"{root} is no folder: give the folder to look in with --root")
    files_a, files_b = _found(root, pattern_a), _found(root, pattern_b)
    if both := sorted(set(files_a) & set(files_b)):
        raise InputError(f"both patterns find {both[0]}: make them differ, for example by the suffix _T1w and _ct")
    best_a, best_b = _best_partners(files_a, files_b, root), _best_partners(files_b, files_a, root)
    couples = [(a, best[0]) for a, best in best_a.items() if len(best) == 1 and best_b[best[0]] == [a]]
    pairs = [Pair(_name(a, b, root), a, b, modality_a, modality_b) for a, b in couples]
    done = {file for couple in couples for file in couple}
    open_ones = {file: best for file, best in {**best_a, **best_b}.items() if file not in done}
    unpaired = [file for file, best in open_ones.items() if not best]
    ambiguous: dict[str, str] = {}
    for file, best in best_a.items():
        if file in open_ones and best:
            rivals = best if len(best) > 1 else [best[0], *best_b[best[0]]]
            others = ", ".join(str(path.relative_to(root)) for path in rivals if path != file)
            text = f"{file} fits {others} alike: narrow the patterns, or list the pair with --pairs"
            ambiguous[str(file.relative_to(root))] = text
    if not pairs:
        reason = next(iter(ambiguous.values()), f"no two of {len(files_a)} and {len(files_b)} images fit together")
        raise InputError(f"nothing to pair under {root} ({reason}); see --root in docs/batches.md")
    return PatternMatch(_uniquely_named(pairs, root), ambiguous, unpaired)


def _found(root: Path, pattern: str) -> list[Path]:
    try:
        files = sorted(
            path
            for path in root.glob(pattern)
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
        )
    except (ValueError, NotImplementedError, IndexError) as error:
        raise InputError(f"{pattern!r} is no pattern ({error}): give one such as '**/*_T1w.nii.gz'") from error
    if not files:
        raise InputError(f"{pattern!r} finds nothing under {root}: check the pattern, in quotes, and the folder")
    return files


def _entities(file: Path, root: Path) -> dict[str, str]:
    """The ``key-value`` entities of a file name, and those of its folders that name subject and session."""
    found = {}
    for folder in file.relative_to(root).parts[:-1]:
        match = _ENTITY.fullmatch(folder)
        if match and match[1] in _OF_FOLDERS:
            found[match[1]] = match[2]
    matches = [_ENTITY.fullmatch(part) for part in stem_of(file).split("_")]
    return {**found, **{match[1]: match[2] for match in matches if match}}


def _best_partners(files: Sequence[Path], others: Sequence[Path], root: Path) -> dict[Path, list[Path]]:
    """For each file, those of the others that fit it best; several where they fit alike."""
    groups: dict[tuple[object, ...], list[tuple[Path, dict[str, str]]]] = {}
    for other in others:
        entities = _entities(other, root)
        groups.setdefault(_group(other, entities), []).append((other, entities))
    best = {}
    for file in files:
        own = _entities(file, root)
        scores = {
            other: (len(own.items() & entities.items()), file.parent == other.parent)
            for other, entities in groups.get(_group(file, own), [])
        }
        highest = max(scores.values(), default=None)
        best[file] = [other for other, score in scores.items() if score == highest]
    return best


def _group(file: Path, entities: dict[str, str]) -> tuple[object, ...]:
    """Subject and session, and where no subject is named the folder: partners are of one group."""
    return entities.get("sub"), entities.get("ses"), None if "sub" in entities else file.parent


def _name(file_a: Path, file_b: Path, root: Path) -> str:
    """``sub-01_ses-1``, subject and session first; without entities the folder, and in the root itself image A."""
    own, other = _entities(file_a, root), _entities(file_b, root)
    common = [f"{key}-{value}" for key, value in own.items() if other.get(key) == value]
    return "_".join(common or file_a.relative_to(root).parts[:-1]) or stem_of(file_a)


def _uniquely_named(pairs: Sequence[Pair], root: Path) -> list[Pair]:
    """Where a name is not unique, name the pair by the whole path of image A."""
    count = Counter(pair.name for pair in pairs)
    return [
        pair
        if count[pair.name] == 1
        else replace(pair, name="_".join([*pair.image_a.relative_to(root).parts[:-1], stem_of(pair.image_a)]))
        for pair in pairs
    ]
