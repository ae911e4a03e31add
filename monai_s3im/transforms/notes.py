"""Notes that transforms collect about a pair for the record: sources, movement, warnings, colour bar.

A note is JSON text, because it passes through MONAI's DataLoader and engine as an item of a batch: collation refuses
None (a source without a file) and transposes lists, and decollation loses empty ones. Text is not changed.
"""

import json
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

PROVENANCE, REGISTRATION, WARNINGS, COLOR_BAR = "provenance", "registration", "warnings", "color_bar"
_KINDS = {PROVENANCE: dict, REGISTRATION: list, WARNINGS: list, COLOR_BAR: dict}


def noted(data: Mapping[Hashable, Any], name: str) -> Any:
    """The note of a name: a dictionary for ``PROVENANCE`` and ``COLOR_BAR``, else a list."""
    return json.loads(data[name]) if name in data else _KINDS[name]()


def with_note(data: Mapping[Hashable, Any], name: str, content: Any) -> dict[Hashable, Any]:
    """The data with the note of that name replaced."""
    return {**data, name: json.dumps(content)}


def with_warnings(data: Mapping[Hashable, Any], sentences: Iterable[str]) -> dict[Hashable, Any]:
    """The data with more warnings, each once."""
    return with_note(data, WARNINGS, list(dict.fromkeys([*noted(data, WARNINGS), *sentences])))
