"""Check all pairs before the run."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image, spatial_shape_of
from monai_s3im.modalities import modality_named
from monai_s3im.settings import MAX_GIB

from .lists import Pair

_MOST_LINES = 20
_LONGEST_NAME = 200  # without the suffix
_NOT_IN_A_FILE_NAME = re.compile(r'[/\\:*?"<>|\x00-\x1f]')


def check_pairs(pairs: Sequence[Pair], max_gib: float = MAX_GIB) -> None:
    """Refuse the pairs if any cannot be used, and report all problems together.

    Raises:
        InputError: there are no pairs, or :func:`problems_of` finds something. The message lists the first 20 problems
            and counts the rest.
    """
    if not pairs:
        raise InputError("there is no pair to check: give at least one")
    problems = [problem for of_pair in problems_of(pairs, max_gib).values() for problem in of_pair]
    if problems:
        shown = [f"- {problem}" for problem in problems[:_MOST_LINES]]
        if len(problems) > _MOST_LINES:
            shown.append(f"- and {len(problems) - _MOST_LINES} more")
        raise InputError("\n".join([f"{len(problems)} problem(s) in {len(pairs)} pair(s), nothing was run:", *shown]))


def problems_of(
    pairs: Sequence[Pair],
    max_gib: float = MAX_GIB,
    deep: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, list[str]]:
    """Check every header, and report the problems of each pair.

    Args:
        pairs: pairs to fuse.
        max_gib: maximum memory that one image may take.
        deep: also read the voxels; slower, but finds files that are truncated or empty.
        progress: called after each pair with the number of pairs checked.

    Returns:
        By the name of the pair, one sentence for each problem: a file is missing, unreadable or larger than `max_gib`
        allows (see :data:`monai_s3im.settings.MAX_GIB`); the images are 2D and
        differ in size, or one is 2D and the other 3D; the name is not unique or cannot name a file; a modality is
        unknown. Pairs without a problem are left out.
    """
    problems: dict[str, list[str]] = {}
    for name, problem in _name_problems(pairs):
        problems.setdefault(name, []).append(problem)
    shapes: dict[Path, tuple[int, ...] | str] = {}
    for number, pair in enumerate(pairs, 1):
        found = [
            f"{pair.name}: {fault}."
            for modality in (pair.modality_a, pair.modality_b)
            if modality is not None and (fault := _modality_problem(modality))
        ]
        for path in (pair.image_a, pair.image_b):
            if path not in shapes:
                shapes[path] = _shape_or_problem(path, max_gib, deep)
            if isinstance(shape := shapes[path], str):
                found.append(f"{pair.name}: {shape}")
        found += _shape_problems(pair, shapes[pair.image_a], shapes[pair.image_b])
        if found:
            problems.setdefault(pair.name, []).extend(found)
        if progress is not None:
            progress(number)
    return {name: list(dict.fromkeys(lines)) for name, lines in problems.items()}


def _name_problems(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    count = Counter(pair.name.casefold() for pair in pairs)
    problems = []
    for name in dict.fromkeys(pair.name for pair in pairs):
        if count[name.casefold()] > 1:
            number = count[name.casefold()]
            text = f"{name}: {number} pairs have this name: make names unique, they name the outputs"
            problems.append((name, text))
        if _NOT_IN_A_FILE_NAME.search(name) or name.strip() in {"", ".", ".."}:
            problems.append((name, f"{name!r} cannot name a file: leave out path separators and special characters"))
        if len(name.encode(errors="replace")) > _LONGEST_NAME:
            problems.append(
                (name, f"{name[:40]}... is too long to name a file: give at most {_LONGEST_NAME} characters")
            )
    return problems


def _modality_problem(name: str) -> str | None:
    try:
        modality_named(name)
    except InputError as error:
        return str(error)
    return None


def _shape_or_problem(path: Path, max_gib: float, deep: bool) -> tuple[int, ...] | str:
    try:
        shape = spatial_shape_of(path, max_gib)
        if deep:
            read_image(path, max_gib)
        return shape
    except InputError as error:
        return str(error)


def _shape_problems(pair: Pair, shape_a: tuple[int, ...] | str, shape_b: tuple[int, ...] | str) -> list[str]:
    if isinstance(shape_a, str) or isinstance(shape_b, str):
        return []
    if len(shape_a) != len(shape_b):
        ranks = f"{pair.image_a} is {len(shape_a)}D and {pair.image_b} is {len(shape_b)}D"
        return [f"{pair.name}: {ranks}: pair a picture with a picture, a volume with a volume"]
    if len(shape_a) == 2 and shape_a != shape_b:
        size_a, size_b = (f"{width} x {height}" for height, width in (shape_a, shape_b))
        sizes = f"{pair.image_a} is {size_a} and {pair.image_b} {size_b} pixels"
        return [f"{pair.name}: {sizes}: bring them to one size, as docs/faq.md shows"]
    return []
