"""The choice of the device: the process lists the devices, and the window does not wait for it."""

from typing import Any

from .i18n import _
from .logic import DeviceChoice, FusionLogic


class DeviceChooser:
    """Fills a combo box with the devices.

    Args:
        box: QComboBox; filled here.
        logic: queries the process.
    """

    def __init__(self, box: Any, logic: FusionLogic) -> None:
        self._box = box
        self._logic = logic
        self._names: list[str] = []
        self._is_asked = False
        self.are_known = False
        self._fill([("auto", _("Automatic")), ("cpu", _("CPU"))], "auto")

    def ask(self) -> bool:
        """Request the devices once, which starts the process.

        Returns:
            Whether an answer is pending and :meth:`poll` should be called.

        Raises:
            FusionError: if the process cannot be started.
        """
        if not self.are_known and not self._is_asked:
            self._logic.ask_for_devices()
            self._is_asked = True
        return self._is_asked

    def poll(self, chosen: str) -> bool:
        """Show the devices once the answer has arrived.

        Args:
            chosen: the chosen device.

        Returns:
            Whether the answer is still pending.

        Raises:
            FusionError: if the process has ended or cannot answer.
        """
        if self._is_asked:
            self._is_asked = False  # also after an error
            found = self._logic.devices_found()
            if found is None:
                self._is_asked = True
            else:
                self.are_known = True
                self._fill([(choice.name, _label_of(choice)) for choice in found], chosen)
        return self._is_asked

    def forget_question(self) -> None:
        """Stop waiting: a fusion takes over the replies of the process, or has ended it."""
        self._is_asked = False

    def name_at(self, index: int) -> str | None:
        """The device of an entry."""
        return self._names[index] if 0 <= index < len(self._names) else None

    def show(self, chosen: str) -> None:
        """Show the choice; a device of another computer gets an extra entry."""
        if chosen not in self._names:
            self._names.append(chosen)
            label = _("{device}, not found here") if self.are_known else "{device}"
            self._box.addItem(label.format(device=chosen))
        self._box.currentIndex = self._names.index(chosen)

    def _fill(self, devices: list[tuple[str, str]], chosen: str) -> None:
        self._names = [name for name, _label in devices]
        self._box.blockSignals(True)
        self._box.clear()
        for _name, label in devices:
            self._box.addItem(label)
        self.show(chosen)
        self._box.blockSignals(False)


def _label_of(choice: DeviceChoice) -> str:
    if choice.free is None:
        return choice.label
    return _("{device}, {size} GB free").format(device=choice.label, size=f"{choice.free / 1e9:.1f}")
