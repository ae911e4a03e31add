"""A line edit of the panel that keeps the cursor position.

Slicer's parameter node wrapper writes every field back on each change of the node, including text being typed, which
moves the cursor to the end.
"""

from typing import Any

from .parameters import FusionParameters


class TypedText:
    """Synchronises a line edit with a field of the parameter node.

    Args:
        edit: QLineEdit.
        name: of the text field.
    """

    def __init__(self, edit: Any, name: str) -> None:
        self._edit, self._name = edit, name
        self._parameters: FusionParameters | None = None
        edit.connect("textChanged(QString)", self.onChanged)

    def show(self, parameters: FusionParameters | None) -> None:
        """Shows the text of the parameter node if it differs.

        Args:
            parameters: receives the typed text from now on; None: nothing does.
        """
        self._parameters = parameters
        if parameters is not None and self._edit.text != getattr(parameters, self._name):
            self._edit.text = getattr(parameters, self._name)

    def onChanged(self, text: str) -> None:
        """Stores the text in the parameter node."""
        if self._parameters is not None and text != getattr(self._parameters, self._name):
            setattr(self._parameters, self._name, text)
