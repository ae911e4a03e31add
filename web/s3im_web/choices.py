"""The choices of the page, and the check that a browser sends nothing else."""

import math
from collections.abc import Mapping
from typing import Any

from monai_s3im.errors import InputError
from monai_s3im.modalities import MODALITIES as TABLE
from monai_s3im.settings import DEFAULTS, choices_of, help_of, parse_range

MODALITIES = [
    {"title": "guess", "value": None},
    *({"title": name.upper(), "value": name} for name, modality in TABLE.items() if modality.dicom),
    {"title": "other", "value": "generic"},
]
OWN_COLOURS = "of the modality"
CHOICES = {
    "reference": ("Grid of the result", [*choices_of("reference")]),
    "plane": ("Plane of the slices", [*choices_of("plane")]),
    "window": ("Window of a CT", [*choices_of("window")]),
    "unit": ("Unit of a PET", [*choices_of("unit")]),
    "task": ("Weights for", [*choices_of("task")]),
    "color": ("Colour shows", [*choices_of("color")]),
    "color_map": ("Colour of PET and SPECT", [OWN_COLOURS, "magenta-gold", "inferno", "viridis", "turbo"]),
    "color_model": ("Colour model", [*choices_of("color_model")]),
}
RANGES = {"range_a": "Range of A: LOWER,UPPER", "range_b": "Range of B: LOWER,UPPER"}
LONGEST_RANGE = 40  # letters
MOST_MM, MOST_SCALING = 1000.0, 4.0  # of a movement by hand


class ChoiceError(ValueError):
    """The page does not offer this choice; the message is one sentence."""


def offered() -> dict[str, Any]:
    """The page's settings: label, choices, help, default."""
    selects = [
        {"name": name, "label": label, "items": items, "help": help_of(name), "value": default_of(name)}
        for name, (label, items) in CHOICES.items()
    ]
    texts = [{"name": name, "label": label, "help": help_of(name), "value": ""} for name, label in RANGES.items()]
    return {"selects": selects, "texts": texts, "modalities": MODALITIES, "gray": help_of("gray")}


def default_of(name: str) -> Any:
    """The displayed default of a setting."""
    return OWN_COLOURS if name == "color_map" else getattr(DEFAULTS, name)


def chosen_settings(choices: object) -> dict[str, Any]:
    """Check the settings from a browser, which can send anything: each must be offered by the page.

    Raises:
        ChoiceError: if one is not.
    """
    if not isinstance(choices, Mapping):
        raise ChoiceError("The settings are not valid: open the page again")
    values: dict[str, Any] = {}
    for name, (_, items) in CHOICES.items():
        values[name] = choices.get(name, default_of(name))
        if values[name] not in items:
            raise ChoiceError(f"The setting {name} cannot have this value: choose one from the list")
    for name in RANGES:
        text = choices.get(name, "")
        if not isinstance(text, str) or len(text) > LONGEST_RANGE:
            raise ChoiceError(f"The setting {name} cannot have this value: write two numbers, such as 0,6")
        values[name] = text.strip() or None
        try:
            parse_range(values[name])
        except InputError as error:
            raise ChoiceError(str(error)) from error
    values["gray"] = choices.get("gray", False)
    if not isinstance(values["gray"], bool):
        raise ChoiceError("The setting gray cannot have this value: choose yes or no")
    values["color_map"] = None if values["color_map"] == OWN_COLOURS else values["color_map"]
    return values


def chosen_modality(value: object) -> str | None:
    """Check that the page offers a modality.

    Raises:
        ChoiceError: if it is none.
    """
    if value not in [item["value"] for item in MODALITIES]:
        raise ChoiceError("There is no such modality: choose one from the list")
    return value  # type: ignore[return-value]


def chosen_movement(matrix: object) -> list[list[float]]:
    """A movement, 4 x 4 by rows.

    Raises:
        ChoiceError: if it is not such a matrix, or moves by more than a metre or scales more than fourfold.
    """
    refusal = ChoiceError("This is not a movement of B: register again, or move it less")
    try:
        rows = [[float(part) for part in row] for row in matrix]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise refusal from error
    if len(rows) != 4 or any(len(row) != 4 for row in rows) or rows[3] != [0, 0, 0, 1]:
        raise refusal
    if not all(math.isfinite(part) for row in rows for part in row):
        raise refusal
    (a, b, c), (d, e, f), (g, h, i) = (row[:3] for row in rows[:3])
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if any(abs(row[3]) > MOST_MM for row in rows[:3]) or not MOST_SCALING**-3 < determinant < MOST_SCALING**3:
        raise refusal
    return rows
