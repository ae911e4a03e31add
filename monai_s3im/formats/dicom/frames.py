"""Read a header's values for one frame: functional groups, and the vectors of nuclear medicine."""

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset


def groups_of(header: Dataset, frame: int) -> list[Dataset]:
    """The functional groups of a frame: per-frame groups before shared ones."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    return [*per_frame[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or ())[:1]]


def items_of(groups: Sequence[Dataset], sequence: str) -> list[Dataset]:
    """The first item of a sequence in each of the groups."""
    return [item for group in groups for item in (group.get(sequence) or ())[:1]]


def vector_of(header: Dataset, name: str, frame: int) -> int | None:
    """The value of one of the vectors of nuclear medicine for a frame; None if there is none."""
    values = header.get(name)
    values = [values] if isinstance(values, int) else list(values or ())
    return int(values[frame]) if len(values) == int(header.get("NumberOfFrames") or 1) else None


def words_of(value: Any) -> list[str]:
    """The values of a text tag, in capitals."""
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(each).upper() for each in values]
