"""The viewer of the report and the web page: NiiVue, its controls, and volumes small enough for it."""

from pathlib import Path

from .volumes import ViewerVolume, viewer_volume

__all__ = ["LIBRARY", "LICENCE", "SCRIPT", "STYLE", "ViewerVolume", "viewer_volume"]

_HERE = Path(__file__).parent
LIBRARY = _HERE / "niivue" / "niivue.umd.js"
"""NiiVue, unchanged from npm."""

LICENCE = _HERE / "niivue" / "LICENSE"
SCRIPT = _HERE / "viewer.js"
STYLE = _HERE / "viewer.css"
