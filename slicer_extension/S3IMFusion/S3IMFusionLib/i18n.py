"""Translation of texts for the user: Slicer's if available, else the original text."""

try:
    from slicer.i18n import tr as _
except ImportError:  # slicer-core, without the application

    def _(text: str) -> str:
        return text


__all__ = ["_"]
