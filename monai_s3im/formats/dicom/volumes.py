"""Sort the planes of a series into volumes: one, or several (echoes, phases, energy windows, acquisitions)."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_s3im.errors import InputError

from .marks import CATEGORIES, RANKS, TIMES, type_of
from .planes import Plane
from .slice_stack import SAME_POSITION_MM

_SAME = 1e-3  # of directions, and of mm between pixels
_OVERLAPPING = 0.75  # of a slice's thickness: closer slices belong to different acquisitions, if their tags agree
_INTERLEAVED = ("image type", "echo time", "b-value", "time", "stack", "acquisition")
_DOSES = frozenset({"PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY", "FRACTION_SESSION"})
_UNITS = {"echo time": " ms", "inversion time": " ms", "trigger time": " ms", "flip angle": " degrees"}


@dataclass(frozen=True)
class Volume:
    """Some of the planes of a series.

    Attributes:
        planes: which.
        label: how it differs from the others, in numbers: 'echo time 90 ms'; '' if it is the only one.
    """

    planes: tuple[Plane, ...]
    label: str = ""


def volumes_of(planes: Iterable[Plane], name: str) -> list[list[Volume]]:
    """Sort the planes of a series by grid, and those of each grid by volume.

    Planes share a grid if they have the same size, direction and pixel spacing. Planes at the same position belong to
    different volumes, as do those of two interleaved acquisitions that are closer than their thickness.

    Args:
        planes: the planes of one series.
        name: name of the series, for messages.

    Returns:
        For each grid, the one with most planes first, its volumes in the order of their labels.

    Raises:
        InputError: planes share a position, and nothing distinguishes them.
    """
    grids: list[list[Plane]] = []
    for plane in planes:
        grid = next((grid for grid in grids if _is_same_grid(grid[0], plane)), None)
        if grid is None:
            grids.append([plane])
        else:
            grid.append(plane)
    main, *beside = sorted(grids, key=len, reverse=True)
    return [_volumes_on(main, name), *(_volumes_beside(grid, name) for grid in beside)]


def _volumes_beside(planes: list[Plane], name: str) -> list[Volume]:
    """The volumes of another grid; one volume if nothing separates the planes, as with localizers."""
    try:
        return _volumes_on(planes, name)
    except InputError:
        return [Volume(tuple(planes))]


def _is_same_grid(one: Plane, other: Plane) -> bool:
    if (one.size, one.samples) != (other.size, other.samples):
        return False
    difference = np.subtract([*one.orientation, *one.spacing], [*other.orientation, *other.spacing])
    return bool(np.abs(difference).max() <= _SAME)


def _volumes_on(planes: list[Plane], name: str) -> list[Volume]:
    heights = _heights(planes)
    places = _places(heights)
    if len(set(places)) == len(planes):
        return _interleaved(planes, heights)
    keys: list[tuple[Any, ...]] = [() for _ in planes]
    used: list[str] = []
    for mark in (*CATEGORIES, *TIMES):
        finer = [(*key, plane.marks.get(mark)) for key, plane in zip(keys, planes, strict=True)]
        if _separates(keys, finer, places) and _are_volumes(finer, places):
            keys, used = finer, [*used, mark]
        if _is_told_apart(keys, places):
            break
    if not _is_told_apart(keys, places):
        rank = _first_rank(planes, keys, places)
        if rank is None:
            raise _refusal(planes, places, name)
        mark, order = rank
        count = max(order) + 1
        keys = [(*key, (place, count)) for key, place in zip(keys, order, strict=True)]
        used = [*used, mark]
    return _grouped(planes, keys, used)


def _heights(planes: list[Plane]) -> NDArray[np.float64]:
    orientation = np.array(planes[0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(np.array([plane.position for plane in planes]) @ normal)


def _places(heights: NDArray[np.float64]) -> list[int]:
    """The index of each plane's position along the normal."""
    order = np.argsort(heights, kind="stable")
    steps = np.concatenate([[0], np.diff(heights[order]) >= SAME_POSITION_MM])
    places = np.empty(len(heights), dtype=int)
    places[order] = np.cumsum(steps)
    return [int(place) for place in places]


def _separates(keys: list[tuple[Any, ...]], finer: list[tuple[Any, ...]], places: list[int]) -> bool:
    """Whether a new mark separates planes that shared a position and a key."""
    return len(set(zip(finer, places, strict=True))) > len(set(zip(keys, places, strict=True)))


def _are_volumes(keys: list[tuple[Any, ...]], places: list[int]) -> bool:
    """Whether the groups are large enough for volumes: on average at least half of the positions."""
    return len(set(keys)) * len(set(places)) <= 2 * len(keys)


def _is_told_apart(keys: list[tuple[Any, ...]], places: list[int]) -> bool:
    return len(set(zip(keys, places, strict=True))) == len(keys)


def _first_rank(planes: list[Plane], keys: list[tuple[Any, ...]], places: list[int]) -> tuple[str, list[int]] | None:
    """A mark whose order distinguishes the planes at each position, and each plane's place in that order."""
    together: dict[tuple[tuple[Any, ...], int], list[int]] = defaultdict(list)
    for index, group in enumerate(zip(keys, places, strict=True)):
        together[group].append(index)
    by_key: dict[Hashable, set[int]] = defaultdict(set)
    for (key, _), members in together.items():
        by_key[key].add(len(members))
    if any(len(counts) > 1 for counts in by_key.values()):
        return None  # some are missing, and the order does not show which
    for mark in RANKS:
        values = [plane.marks.get(mark) for plane in planes]
        if any(len({values[index] for index in members} - {None}) < len(members) for members in together.values()):
            continue
        order = [0] * len(planes)
        for members in together.values():
            for place, index in enumerate(sorted(members, key=_value_at(values))):
                order[index] = place
        return mark, order
    return None


def _value_at(values: list[Any]) -> Callable[[int], Any]:
    return lambda index: values[index]


def _refusal(planes: list[Plane], places: list[int], name: str) -> InputError:
    count, different = len(planes), len(set(places))
    is_even = count % different == 0
    many = f"is 4D and has {count // different} frames" if is_even else "has several slices at one position"
    return InputError(
        f"{name} {many} ({count} slices at {different} positions), and no tag distinguishes them: export the echo, "
        "phase or time frame to use as a series of its own"
    )


def _interleaved(planes: list[Plane], heights: NDArray[np.float64]) -> list[Volume]:
    """The volumes of slices at distinct positions: one, unless several acquisitions interleave."""
    extents = [plane.extent for plane in planes if plane.extent > 0]
    if len(planes) < 4 or not extents:
        return [Volume(tuple(planes))]
    if float(np.median(np.diff(np.sort(heights)))) >= _OVERLAPPING * float(np.median(extents)):
        return [Volume(tuple(planes))]
    for mark in _INTERLEAVED:
        keys = [(plane.marks.get(mark),) for plane in planes]
        if _overlap(keys, heights):
            return _grouped(planes, keys, [mark])
    runs = _runs(planes, heights)
    if runs is not None and _overlap(runs, heights):
        count = len(set(runs))
        return _grouped(planes, [((run, count),) for (run,) in runs], ["instance number"])
    return [Volume(tuple(planes))]


def _overlap(keys: list[tuple[Any, ...]], heights: NDArray[np.float64]) -> bool:
    """Whether groups of two or more slices all fall within the range of another group."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for key, height in zip(keys, heights, strict=True):
        groups[key].append(float(height))
    if len(groups) < 2 or min(map(len, groups.values())) < 2:
        return False
    ranges = sorted((min(group), max(group)) for group in groups.values())
    return all(
        min(one[1], other[1]) - max(one[0], other[0]) > min(one[1] - one[0], other[1] - other[0]) / 2
        for one, other in pairwise(ranges)
    )


def _runs(planes: list[Plane], heights: NDArray[np.float64]) -> list[tuple[int]] | None:
    """For each plane, how often the instance numbers had returned to the start of the stack before it."""
    numbers = [plane.marks.get("instance number") for plane in planes]
    if None in numbers or len(set(numbers)) < len(planes):
        return None
    order = sorted(range(len(planes)), key=_value_at(numbers))
    steps = np.diff(heights[order])
    usual = np.sign(np.median(steps))
    run, runs = 0, [(0,)] * len(planes)
    for index, step in zip(order[1:], steps, strict=True):
        run += int(np.sign(step) != usual)
        runs[index] = (run,)
    return runs


def _grouped(planes: list[Plane], keys: list[tuple[Any, ...]], marks: list[str]) -> list[Volume]:
    groups: dict[tuple[Any, ...], list[Plane]] = defaultdict(list)
    for key, plane in zip(keys, planes, strict=True):
        groups[key].append(plane)
    return [Volume(tuple(groups[key]), _label(marks, key)) for key in sorted(groups, key=_sortable)]


def _sortable(key: tuple[Any, ...]) -> list[tuple[bool, str, Any]]:
    return [(value is not None, type(value).__name__, value if value is not None else 0) for value in key]


def _label(marks: list[str], key: tuple[Any, ...]) -> str:
    return ", ".join(_words_for(mark, value) for mark, value in zip(marks, key, strict=True))


def _words_for(mark: str, value: Any) -> str:
    if mark == "dose of" and value in _DOSES:
        return f"dose of {str(value).lower().replace('_', ' ')}"
    if mark == "image type":
        return f"image type {type_of(str(value))}"
    if mark == "direction":
        return f"direction {' '.join(f'{each:g}' for each in value)}" if value else "no direction"
    if isinstance(value, tuple):  # place in an order, and how many there are
        return f"{mark} {value[0] + 1} of {value[1]}"
    if isinstance(value, int | float):
        return f"{mark} {value:g}{_UNITS.get(mark, '')}"
    return f"without {mark}" if value is None else f"other {mark}"
