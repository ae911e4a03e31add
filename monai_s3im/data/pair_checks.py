"""Check all pairs before anything runs."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_s3im.data.pairs import Pair
from monai_s3im.data.reading import spatial_shape_of
from monai_s3im.errors import InputError
from monai_s3im.modalities import MODALITIES

_MOST_LINES = 20
_NOT_IN_A_FILE_NAME = re.compile(r'[/\\:*?"<>|\x00-\x1f]')


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Look at every header before anything runs, and tell all that is wrong at once.

    Raises:
        InputError: there is no pair; a file is missing or unreadable; the images of a pair are 2D and differ in size,
            or one is 2D and the other 3D; a name is not unique or cannot name a file; a modality is unknown. The
            message lists the first 20 problems and counts the rest.
    """
    if not pairs:
        raise InputError("there is no pair to check: give at least one.")
    problems = _name_problems(pairs)
    shapes: dict[Path, tuple[int, ...] | str] = {}
    for pair in pairs:
        for modality in (pair.modality_a, pair.modality_b):
            if modality is not None and modality not in MODALITIES:
                problems.append(f"{pair.name}: unknown modality '{modality}': use one of {', '.join(MODALITIES)}.")
        for path in (pair.image_a, pair.image_b):
            if path not in shapes:
                shapes[path] = _shape_or_problem(path)
            if isinstance(problem := shapes[path], str):
                problems.append(f"{pair.name}: {problem}")
        problems += _shape_problems(pair, shapes[pair.image_a], shapes[pair.image_b])
    if problems:
        shown = [f"- {problem}" for problem in problems[:_MOST_LINES]]
        if len(problems) > _MOST_LINES:
            shown.append(f"- and {len(problems) - _MOST_LINES} more")
        raise InputError("\n".join([f"{len(problems)} problem(s) in {len(pairs)} pair(s), nothing was run:", *shown]))


def _name_problems(pairs: Sequence[Pair]) -> list[str]:
    count = Counter(pair.name.casefold() for pair in pairs)
    problems = [
        f"{pair.name}: {count[pair.name.casefold()]} pairs have this name: names must differ, they name the outputs."
        for pair in {pair.name.casefold(): pair for pair in pairs}.values()
        if count[pair.name.casefold()] > 1
    ]
    unusable = [p.name for p in pairs if _NOT_IN_A_FILE_NAME.search(p.name) or p.name.strip() in {"", ".", ".."}]
    return problems + [
        f"{name!r} cannot name a file: leave out path separators and special signs." for name in unusable
    ]


def _shape_or_problem(path: Path) -> tuple[int, ...] | str:
    try:
        return spatial_shape_of(path)
    except InputError as error:
        return str(error)


def _shape_problems(pair: Pair, shape_a: tuple[int, ...] | str, shape_b: tuple[int, ...] | str) -> list[str]:
    if isinstance(shape_a, str) or isinstance(shape_b, str):
        return []
    if len(shape_a) != len(shape_b):
        ranks = f"{pair.image_a} is {len(shape_a)}D and {pair.image_b} is {len(shape_b)}D"
        return [f"{pair.name}: {ranks}: pair a picture with a picture, a volume with a volume."]
    if len(shape_a) == 2 and shape_a != shape_b:
        size_a, size_b = (f"{width} x {height}" for height, width in (shape_a, shape_b))
        return [f"{pair.name}: {pair.image_a} is {size_a} and {pair.image_b} {size_b} pixels: bring them to one size."]
    return []
