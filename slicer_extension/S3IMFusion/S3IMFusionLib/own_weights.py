"""The choice of the user's own weights: a path, and a button that clears it."""

from typing import Any

from .parameters import FusionParameters
from .preferences import remember_weights


class OwnWeights:
    """The widgets of the choice.

    Args:
        ui: the panel's widgets: ``weights``, ``clearWeightsButton``.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._parameters: FusionParameters | None = None
        # Not currentPathChanged, which is not emitted for empty or invalid text.
        ui.weights.comboBox().lineEdit().connect("textChanged(QString)", self.onChanged)
        ui.clearWeightsButton.connect("clicked(bool)", self.onClear)

    def show(self, parameters: FusionParameters | None) -> None:
        """Shows the path of the parameter node; rewriting the same text would move the cursor while typing.

        Args:
            parameters: receives the user's choices from now on; None: nothing does.
        """
        self._parameters = parameters
        if parameters is None:
            return
        if self._ui.weights.currentPath != parameters.weights:
            self._ui.weights.currentPath = parameters.weights
        self._ui.clearWeightsButton.enabled = bool(parameters.weights)

    def onChanged(self, path: str) -> None:
        """Stores the choice in the parameter node, so the path shown is the one used."""
        if self._parameters is not None and path != self._parameters.weights:
            self._parameters.weights = path
            remember_weights(path)

    def onClear(self, _checked: bool = False) -> None:
        """Returns to the weights of the module."""
        self._ui.weights.currentPath = ""
