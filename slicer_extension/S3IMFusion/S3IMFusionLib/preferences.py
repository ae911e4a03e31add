"""Choices of the user that last from session to session, in Slicer's own settings."""

from pathlib import Path

import qt
from slicer.util import toBool

from .parameters import FusionParameters

_GROUP = "S3IMFusion/"


def remember_device(device: str) -> None:
    """Keep the device to compute on."""
    qt.QSettings().setValue(f"{_GROUP}device", device)


def remember_weights(path: str) -> None:
    """Keep the user's own weights; a path that is being typed is not a file yet, and is not kept."""
    if not path or Path(path).is_file():
        qt.QSettings().setValue(f"{_GROUP}weights", path)


def remember_view(is_wanted: bool) -> None:
    """Keep whether a result is shown in the fusion view."""
    qt.QSettings().setValue(f"{_GROUP}fusionView", is_wanted)


def is_view_wanted() -> bool:
    """Whether a result is shown in the fusion view; it is until the user leaves the view."""
    return bool(toBool(qt.QSettings().value(f"{_GROUP}fusionView", True)))


def apply_preferences(parameters: FusionParameters) -> None:
    """Set what is remembered in a new parameter node; weights that are not there any more are left out."""
    parameters.device = qt.QSettings().value(f"{_GROUP}device", "") or parameters.device
    weights = qt.QSettings().value(f"{_GROUP}weights", "") or ""
    if Path(weights).is_file():
        parameters.weights = weights
