"""A reader's ratings of the cases of a report: ``ratings.json`` next to ``report.html``."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_s3im.errors import InputError
from monai_s3im.formats.writing import write_json

VERDICTS = ("good", "doubtful", "bad")
MOST_LETTERS = 2000
"""Longest note, in characters."""

_VERSION = 1


@dataclass(frozen=True)
class Rating:
    """A reader's rating of a case.

    Attributes:
        rating: one of :data:`VERDICTS`; empty if there is only a note.
        note: text.
        fused_sha256: of the fused image that was rated.
        rated_at: date and time, ISO 8601.
    """

    rating: str = ""
    note: str = ""
    fused_sha256: str | None = None
    rated_at: str = ""


def ratings_path(folder: Path) -> Path:
    """The file of the ratings of a batch's output folder."""
    return folder / "ratings.json"


def parse_ratings(content: Any, names: Iterable[str]) -> dict[str, Rating]:
    """Ratings by case name, from the content of the file; cases not in ``names`` are left out.

    Raises:
        ValueError: the content is not ratings.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("ratings"), Mapping):
        raise ValueError("it has no ratings")
    return {name: _parsed(content["ratings"][name], name) for name in names if name in content["ratings"]}


def _parsed(entry: Any, name: str) -> Rating:
    if not isinstance(entry, Mapping) or entry.get("rating", "") not in ("", *VERDICTS):
        raise ValueError(f"the rating of {name} is not one of {', '.join(VERDICTS)}")
    values = {key: entry[key] for key in ("rating", "note", "fused_sha256", "rated_at") if entry.get(key)}
    if not all(isinstance(value, str) and len(value) <= MOST_LETTERS for value in values.values()):
        raise ValueError(f"the rating of {name} is not text of at most {MOST_LETTERS} characters")
    return Rating(**values)


def read_ratings(folder: Path, names: Iterable[str]) -> dict[str, Rating]:
    """The ratings next to a report, by case name; empty without a file.

    Raises:
        InputError: the file is damaged or has other content.
    """
    path = ratings_path(folder)
    try:
        return parse_ratings(json.loads(path.read_text(encoding="utf-8")), names)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be used ({str(error)[:200]}): correct or remove it") from error


def write_ratings(folder: Path, ratings: Mapping[str, Rating]) -> Path:
    """Write the ratings next to the report, complete or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    path = ratings_path(folder)
    write_json({"schema_version": _VERSION, "ratings": {name: asdict(each) for name, each in ratings.items()}}, path)
    return path
