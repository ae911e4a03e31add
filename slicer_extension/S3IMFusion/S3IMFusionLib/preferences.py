"""Persistent choices of the user, in Slicer's own settings."""

from pathlib import Path

import qt
from slicer.util import toBool

from .parameters import FusionParameters

_GROUP = "S3IMFusion/"


def remember_device(device: str) -> None:
    """Remember the device."""
    qt.QSettings().setValue(f"{_GROUP}device", device)


def remember_weights(path: str) -> None:
    """Remember the user's own weights, but not an incomplete path while typing."""
    if not path or Path(path).is_file():
        qt.QSettings().setValue(f"{_GROUP}weights", path)


def remember_view(is_wanted: bool) -> None:
    """Remember whether results are shown in the fusion view."""
    qt.QSettings().setValue(f"{_GROUP}fusionView", is_wanted)


def is_view_wanted() -> bool:
    """Whether results are shown in the fusion view; True until the user leaves the view."""
    return bool(toBool(qt.QSettings().value(f"{_GROUP}fusionView", True)))


def apply_preferences(parameters: FusionParameters) -> None:
    """Apply the remembered choices to a new parameter node, without weights that no longer exist."""
    parameters.device = qt.QSettings().value(f"{_GROUP}device", "") or parameters.device
    weights = qt.QSettings().value(f"{_GROUP}weights", "") or ""
    if Path(weights).is_file():
        parameters.weights = weights
