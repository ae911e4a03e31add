"""A line of text in the panel that can be edited anywhere.

Slicer's parameter node wrapper writes every field back at each change of the node, also the text that is being typed,
and so moves the cursor to its end.
"""

from typing import Any

from .parameters import FusionParameters


class TypedText:
    """Keeps a line of text and a field of the parameter node the same.

    Args:
        edit: QLineEdit.
        name: of the field, a text.
    """

    def __init__(self, edit: Any, name: str) -> None:
        self._edit, self._name = edit, name
        self._parameters: FusionParameters | None = None
        edit.connect("textChanged(QString)", self.onChanged)

    def show(self, parameters: FusionParameters | None) -> None:
        """Shows the text of the parameter node, where it is another.

        Args:
            parameters: gets what the user types from now on; None: nothing does.
        """
        self._parameters = parameters
        if parameters is not None and self._edit.text != getattr(parameters, self._name):
            self._edit.text = getattr(parameters, self._name)

    def onChanged(self, text: str) -> None:
        """Keeps the text in the parameter node."""
        if self._parameters is not None and text != getattr(self._parameters, self._name):
            setattr(self._parameters, self._name, text)
