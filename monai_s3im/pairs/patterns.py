"""Pair the images of a folder tree by two patterns: by the text their wildcards matched, or by BIDS names."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import isdir
from monai_s3im.formats.reading import stem_of

from .lists import Pair
from .wildcards import Found, find

_OTHER_MEASUREMENTS = ("ses", "trc", "ce")  # BIDS: session, tracer, contrast agent; not rec, which is a version
_SAME_TEXT, _ALIKE, _SAME_SUBJECT, _SAME_FOLDER = 3, 2, 1, 0

Score = tuple[int, int, bool]


@dataclass(frozen=True)
class PatternMatch:
    """The result of two patterns.

    Attributes:
        pairs: images that match each other best.
        ambiguous: case name -> a sentence that names an image and its equally good partners.
        unpaired: images without a partner from the other pattern.
    """

    pairs: list[Pair]
    ambiguous: dict[str, str] = field(default_factory=dict)
    unpaired: list[Path] = field(default_factory=list)


def match_patterns(
    root: str | Path, pattern_a: str, pattern_b: str, modality_a: str | None = None, modality_b: str | None = None
) -> PatternMatch:
    """Pair the images that two patterns match below a folder.

    The first of these decides:
        1. The wildcards matched the same text in both: ``case_1_0000`` with ``case_1_0001`` by ``case_*_0000`` and
           ``case_*_0001``; words that name a modality, such as the folders ``anat`` and ``pet``, may differ.
        2. Subject and session are the same (``sub-XX`` and ``ses-YY``, in the file name or the name of a folder). A
        session that only one of them has, or that is named after the modality (``ses-mri``), is ignored. Of several
           partners, the one with the most common ``key-value`` entities wins, then the one in the same folder.
        3. No subject is named, and the wildcards matched the same folder names.

    Two images are paired if each is the other's only best partner. One image A goes with several images B if they are
    of different sessions, tracers or contrast agents (``trc-A``, ``trc-B``) and A names none. The rest is listed, never
    guessed. A pair is named after its common entities, such as ``sub-01_ses-1``, else after its folder or the text the
    wildcards matched or, if that is not unique, the path of its image A.

    Args:
        root: the folder to search.
        pattern_a: pattern of :meth:`pathlib.Path.glob`, such as ``"**/*_T1w.nii.gz"``; it may match folders of DICOM
            series. Hidden files and non-images are left out.
        pattern_b: the same for the partners.
        modality_a: modality of the first images.
        modality_b: modality of the second images.

    Raises:
        InputError: if the folder is missing, a pattern finds no image, both find the same image, or nothing can be
            paired.
    """
    root = Path(root)
    if not isdir(root):
        raise InputError(f"{root} is not a folder: give the folder to search with --root")
    found_a, found_b = find(root, pattern_a), find(root, pattern_b)
    if both := sorted({image.path for image in found_a} & {image.path for image in found_b}):
        raise InputError(f"both patterns match {both[0]}: make them differ, for example by the suffixes _T1w and _ct")
    are_sessions_given = "ses-" in pattern_a and "ses-" in pattern_b
    best_a, best_b = _best_partners(found_a, found_b, are_sessions_given)
    couples = [(a, best[0]) for a, best in best_a.items() if len(best) == 1 and best_b[best[0]] == [a]]
    couples += _shared(couples, best_a, best_b)
    couples.sort(key=lambda couple: (couple[0].path, couple[1].path))
    done = {image for couple in couples for image in couple}
    rivals = {a: _rivals(a, best, best_b, done) for a, best in best_a.items() if a not in done}
    ambiguous = {str(a.path.relative_to(root)): _fits_alike(a, others, root) for a, others in rivals.items() if others}
    told = {image for a, others in rivals.items() if others for image in (a, *others)}
    if not couples:
        reason = next(iter(ambiguous.values()), f"no two of {len(found_a)} and {len(found_b)} images match")
        raise InputError(f"nothing to pair under {root} ({reason}); see --root in docs/guides/batches.md")
    pairs = [
        Pair(name, a.path, b.path, modality_a, modality_b)
        for name, (a, b) in zip(_names(couples, root), couples, strict=True)
    ]
    unpaired = [image.path for image in [*found_a, *found_b] if image not in done and image not in told]
    return PatternMatch(pairs, ambiguous, unpaired)


def _best_partners(
    found_a: Sequence[Found], found_b: Sequence[Found], are_sessions_given: bool
) -> tuple[dict[Found, list[Found]], dict[Found, list[Found]]]:
    """For each image, the best partners from the other pattern; several if they are equally good."""
    scores: dict[tuple[Found, Found], Score] = {}
    by_name = set()  # folder names for which the wildcards decide
    for level, key in _LEVELS:
        others: dict[object, list[Found]] = {}
        for b in found_b:
            others.setdefault(key(b), []).append(b)
        for a in found_a:
            group = key(a)
            if group is None or (level == _SAME_FOLDER and group in by_name):
                continue
            for b in others.get(group, []):
                if level == _SAME_SUBJECT and not (are_sessions_given or _may_be_one_session(a, b)):
                    continue
                common = len(a.entities.items() & b.entities.items())
                scores.setdefault((a, b), (level, common, a.path.parent == b.path.parent))
                if level >= _ALIKE:
                    by_name.add(a.folders)
    of_a: dict[Found, dict[Found, Score]] = {a: {} for a in found_a}
    of_b: dict[Found, dict[Found, Score]] = {b: {} for b in found_b}
    for (a, b), score in scores.items():
        of_a[a][b] = of_b[b][a] = score
    return {a: _highest(of_a[a]) for a in found_a}, {b: _highest(of_b[b]) for b in found_b}


def _subject(image: Found) -> object:
    return image.entities.get("sub")


def _folders(image: Found) -> object:
    return None if "sub" in image.entities else image.folders or None


_LEVELS: tuple[tuple[int, Callable[[Found], object]], ...] = (
    (_SAME_TEXT, lambda image: image.matched),
    (_ALIKE, lambda image: image.alike),
    (_SAME_SUBJECT, _subject),
    (_SAME_FOLDER, _folders),
)


def _may_be_one_session(a: Found, b: Found) -> bool:
    return "ses" not in a.entities or "ses" not in b.entities or a.entities["ses"] == b.entities["ses"]


def _highest(scores: dict[Found, Score]) -> list[Found]:
    best = max(scores.values(), default=None)
    return [image for image, score in scores.items() if score == best]


def _shared(
    couples: Sequence[tuple[Found, Found]], best_a: dict[Found, list[Found]], best_b: dict[Found, list[Found]]
) -> list[tuple[Found, Found]]:
    """More pairs: one image A with images B that match no other, and are other measurements of the subject."""
    taken, further = dict(couples), []
    paired = {b for _, b in couples}
    takers: dict[Found, list[Found]] = {}
    for b, best in best_b.items():
        if b not in paired and len(best) == 1 and (b in best_a[best[0]] or _measurement(best[0], b)):
            takers.setdefault(best[0], []).append(b)
    for a, images in takers.items():
        known = [*images, taken[a]] if a in taken else images
        count = Counter(_measurement(a, b) for b in known)
        further += [(a, b) for b in images if count[_measurement(a, b)] == 1]
    return further


def _measurement(a: Found, b: Found) -> tuple[tuple[str, str], ...]:
    """The session, tracer and contrast agent that B names but A does not."""
    return tuple((key, b.entities[key]) for key in _OTHER_MEASUREMENTS if key in b.entities and key not in a.entities)


def _rivals(a: Found, best: Sequence[Found], best_b: dict[Found, list[Found]], done: set[Found]) -> list[Found]:
    """The images with equally good partners; none if all partners have better ones."""
    if all(b in done for b in best):
        return []
    return list(best) if len(best) > 1 else [best[0], *(image for image in best_b[best[0]] if image is not a)]


def _fits_alike(a: Found, others: Sequence[Found], root: Path) -> str:
    named = ", ".join(str(image.path.relative_to(root)) for image in others)
    return f"{a.path} matches {named} equally well: narrow the patterns, or list the pair with --pairs"


def _names(couples: Sequence[tuple[Found, Found]], root: Path) -> list[str]:
    """Name each pair by the first scheme that no other pair shares."""
    ways = [[way(a, b, root) for a, b in couples] for way in (_short_name, _longer_name, _path_name)]
    names = [""] * len(couples)
    for candidates in ways:
        count = Counter(name.casefold() for name in [*candidates, *filter(None, names)])
        for index, name in enumerate(candidates):
            if not names[index] and name and count[name.casefold()] == 1:
                names[index] = name
    last = ways[-1]
    return [name or f"{last[index]}_{stem_of(couples[index][1].path)}" for index, name in enumerate(names)]


def _short_name(a: Found, b: Found, root: Path) -> str:
    """``sub-01_ses-1``, subject and session first; without entities the folder, or the text the wildcards matched."""
    if common := [f"{key}-{value}" for key, value in a.entities.items() if b.entities.get(key) == value]:
        return "_".join(common)
    if a.path.parent == b.path.parent != root:
        return "_".join(a.path.relative_to(root).parts[:-1])
    return _matched_name(a, b) or stem_of(a.path)


def _longer_name(a: Found, b: Found, root: Path) -> str:
    """The text the wildcards matched, or ``sub-01_trc-A``: the common entities and those of B only."""
    if matched := _matched_name(a, b):
        return matched
    further = [f"{key}-{value}" for key, value in _measurement(a, b)]
    return "_".join([_short_name(a, b, root), *further]) if further else ""


def _path_name(a: Found, _: Found, root: Path) -> str:
    return "_".join([*a.path.relative_to(root).parts[:-1], stem_of(a.path)])


def _matched_name(a: Found, b: Found) -> str:
    if a.alike is None or a.alike != b.alike:
        return ""
    return "_".join(text.replace("/", "_") for text in a.alike if text).strip("_")
