"""The user's choices for a fusion, as plain values."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .paths import library_module

_LIBRARY = library_module("settings")
_DEFAULTS = _LIBRARY.DEFAULTS

REFERENCES = _LIBRARY.choices_of("reference")
REGISTRATIONS = _LIBRARY.choices_of("register")
TASKS = _LIBRARY.choices_of("task")
parse_range = _LIBRARY.parse_range
WINDOW_BY_CONTENT = _DEFAULTS.window
WINDOW_OF_DISPLAY = "display"


@dataclass(frozen=True)
class FusionSettings:
    """The settings of a fusion; the defaults are those of ``s3im fuse``.

    Args:
        reference: grid of the result: ``"a"``, ``"b"``, or ``"finer"``, that of the smaller voxels.
        plane: plane of the slices: ``"axial"``, ``"coronal"``, ``"sagittal"`` or ``"in-plane"``.
        modality_a: ``"ct"``, ``"mr"``, ``"pet"``, ``"spect"``, ``"us"``, ``"dose"``, ``"generic"``; None: guessed
            from the node.
        modality_b: the same for B.
        register: register B to A first: ``"none"``, ``"rigid"`` or ``"affine"``.
        window: range of a CT in HU: ``"auto"``, brain for a head and soft tissue for a body; ``"brain"``,
            ``"soft_tissue"``, ``"bone"``, ``"full"``, ``"brain+bone"``, ``"LOWER,UPPER"``, or ``"display"``, the window
            displayed in Slicer.
        range_a: the values of A that become 0 and 1, ``"LOWER,UPPER"`` in the volume's unit; None: by its modality.
        range_b: the same for B.
        color: what colour shows: ``"auto"``, the uptake of a PET or SPECT, or ``"b"``, volume B, whatever it is.
        color_map: colour of a PET or SPECT: a colour map of matplotlib, or a text file of R G B rows; None: the colours
            displayed in Slicer, if their hues can show uptake, else the library's.
        color_model: how a PET or SPECT is coloured: ``"lab"``, uptake by hue and anatomy by lightness, or ``"ycbcr"``.
        gray: write a result without colour.
        device: ``"auto"``, ``"cpu"``, ``"cuda:0"``, ``"mps"``.
        slice_batch: slices in one batch of the network; halved if memory is short.
        task: which weights to use: one of :data:`TASKS`; ``"auto"``: by the modalities.
        weights: a weights file instead of the task's; None: those of the extension.

    Raises:
        ValueError: if ``reference``, ``register``, ``task`` or ``slice_batch`` is none of these.
    """

    reference: str = _DEFAULTS.reference
    plane: str = _DEFAULTS.plane
    modality_a: str | None = None
    modality_b: str | None = None
    register: str = _DEFAULTS.register
    window: str = WINDOW_BY_CONTENT
    range_a: str | None = _DEFAULTS.range_a
    range_b: str | None = _DEFAULTS.range_b
    color: str = _DEFAULTS.color
    color_map: str | None = None
    color_model: str = _DEFAULTS.color_model
    gray: bool = _DEFAULTS.gray
    device: str = _DEFAULTS.device
    slice_batch: int = _DEFAULTS.slice_batch
    task: str = _DEFAULTS.task
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.reference not in REFERENCES:
            raise ValueError(f"unknown reference {self.reference!r}: choose one of {', '.join(REFERENCES)}")
        if self.register not in REGISTRATIONS:
            raise ValueError(f"unknown registration {self.register!r}: choose one of {', '.join(REGISTRATIONS)}")
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}: choose one of {', '.join(TASKS)}")
        if self.slice_batch < 1:
            raise ValueError(f"slice_batch must be at least 1, got {self.slice_batch}")

    def as_json(self) -> str:
        """The settings as JSON text, with only the names of files."""
        values: dict[str, Any] = asdict(self)
        for name in ("weights", "color_map"):
            values[name] = Path(values[name]).name if values[name] else None
        return json.dumps(values)
