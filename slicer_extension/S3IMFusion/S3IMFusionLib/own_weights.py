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
        # Not currentPathChanged: it is silent where the text is empty or not acceptable.
        ui.weights.comboBox().lineEdit().connect("textChanged(QString)", self.onChanged)
        ui.clearWeightsButton.connect("clicked(bool)", self.onClear)

    def show(self, parameters: FusionParameters | None) -> None:
        """Shows the path of the parameter node; writing the same text would move the cursor of who is typing.

        Args:
            parameters: gets what the user chooses from now on; None: nothing does.
        """
        self._parameters = parameters
        if parameters is None:
            return
        if self._ui.weights.currentPath != parameters.weights:
            self._ui.weights.currentPath = parameters.weights
        self._ui.clearWeightsButton.enabled = bool(parameters.weights)

    def onChanged(self, path: str) -> None:
        """Keeps the choice in the parameter node: what is shown is what is used."""
        if self._parameters is not None and path != self._parameters.weights:
            self._parameters.weights = path
            remember_weights(path)

    def onClear(self, _checked: bool = False) -> None:
        """Goes back to the weights of the module."""
        self._ui.weights.currentPath = ""
