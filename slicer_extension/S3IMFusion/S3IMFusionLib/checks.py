"""Checks of a pair and its settings: problems that prevent a fusion, and cautions about its result."""

from pathlib import Path
from typing import Any

import numpy as np

from .appearance import shown_window_of
from .i18n import _
from .run import Pair
from .scene import Source, do_overlap, source_of
from .settings import WINDOW_OF_DISPLAY, FusionSettings, parse_range


def problems_of_pair(source_a: Source, source_b: Source, settings: FusionSettings) -> list[str]:
    """Problems of a pair of individually valid sources, in sentences."""
    problems = []
    if settings.register == "none" and not do_overlap(source_a, source_b):
        problems.append(
            _(
                "'{name_a}' and '{name_b}' do not overlap in space: "
                "check that they show one patient, and register them."
            ).format(name_a=source_a.name, name_b=source_b.name)
        )
    if problem := problem_of_weights(settings.weights):
        problems.append(problem)
    problems += problems_of_ranges(settings)
    if settings.window == WINDOW_OF_DISPLAY and shown_window((source_a, source_b)) is None:
        problems.append(_("The displayed window is selected, but no volume is a CT: choose the modalities."))
    return problems


def remarks_on(pair: Pair, settings: FusionSettings) -> list[str]:
    """Cautions about the result of a pair, as far as they are known before the fusion."""
    told = [
        _("The modality of '{name}' is unknown and will be guessed from its values: choose it if you can.").format(
            name=source.name
        )
        for source in pair
        if source.modality is None
    ]
    tables = [source.colors for source in pair if source.colors is not None]
    if len(tables) == 2 and settings.color_map is None and not np.array_equal(*tables):
        told.append(
            _("Both volumes are shown in colour: the colours of '{name}' are used for both.").format(name=pair[1].name)
        )
    return told


def problems_of_ranges(settings: FusionSettings) -> list[str]:
    """Problems of the ranges of the sources, one sentence each."""
    problems = []
    for letter, text in (("A", settings.range_a), ("B", settings.range_b)):
        try:
            parse_range(text)
        except ValueError:
            problems.append(
                _(
                    "The range of {letter}, '{text}', is not two ascending numbers: "
                    "write it like 0,6 under Advanced, or leave it empty."
                ).format(letter=letter, text=text)
            )
    return problems


def problem_of_weights(file: str | None) -> str | None:
    """The problem with these weights, in a sentence; None for an existing file or the module's own ("")."""
    if not file or Path(file).is_file():
        return None
    return _("The weights {file} do not exist: choose another file under Advanced, or press Clear there.").format(
        file=file
    )


def pair_of(source_a: Any, source_b: Any, settings: FusionSettings) -> Pair:
    """Two volume nodes as sources."""
    return (
        source_of(source_a, settings.modality_a, partner=source_b),
        source_of(source_b, settings.modality_b, partner=source_a),
    )


def reference_of(pair: Pair, settings: FusionSettings) -> int:
    """Index of the source that gives the grid, 0 or 1; for equal voxels, A."""
    if settings.reference != "finer":
        return "ab".index(settings.reference)
    size_a, size_b = (np.prod(np.linalg.norm(source.to_world[:3, :3], axis=0)) for source in pair)
    return 0 if size_a <= size_b * (1 + 1e-6) else 1


def shown_window(pair: Pair) -> tuple[float, float] | None:
    """The displayed window of the CT of a pair, in HU; None without a CT."""
    return next((shown_window_of(source.shown) for source in pair if source.modality == "ct"), None)
