"""Translation of what the user reads: Slicer's where there is one, else the text as it is written."""

try:
    from slicer.i18n import tr as _
except ImportError:  # slicer-core, without the application

    def _(text: str) -> str:
        return text


__all__ = ["_"]
