"""The section of the panel that shows and upgrades the installed packages, and the question before a fusion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from .i18n import _
from .install import DependencyError, ensure_packages, upgrade_packages
from .installed import installed_versions, torch_backend, version_of

SHOWN = ("torch", "monai", "einops", "nibabel", "matplotlib")


class PackagesSection:
    """The widgets of the section.

    Args:
        ui: the panel's widgets: ``packagesCollapsibleButton``, ``packagesLabel``, ``upgradeButton``, ``statusLabel``.
        requirements: the requirements file of the module.
        end_worker: ends the computing process, which has the packages' files open; called before they change.
    """

    def __init__(self, ui: Any, requirements: Path, end_worker: Callable[[], None]) -> None:
        self._ui, self._requirements, self._end_worker = ui, requirements, end_worker
        self._is_busy = False
        ui.packagesCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        ui.upgradeButton.connect("clicked(bool)", self.onUpgradeButton)

    def ensure(self) -> bool:
        """Asks for missing packages and installs them; an error is shown in a dialog.

        Returns:
            Whether all packages are there.
        """
        return self._try(ensure_packages)

    def onCollapsed(self, collapsed: bool) -> None:
        """Shows the versions when the section is opened."""
        if not collapsed:
            self.show_versions()

    def onUpgradeButton(self, _checked: bool = False) -> None:
        """Installs the newest allowed versions."""
        if self._try(upgrade_packages):
            self._show(_("The packages are up to date."))

    def show_versions(self) -> None:
        """Shows the installed packages, PyTorch with its build target."""
        self._ui.packagesLabel.text = "\n".join(_version_line(name) for name in SHOWN)

    def _try(self, install: Callable[..., bool]) -> bool:
        if self._is_busy:  # a click during a run of pip
            return False
        self._is_busy = True
        before = installed_versions()
        try:
            is_done = install(self._requirements, self._show_progress)
        except DependencyError as error:
            self._show(_("Not installed: {reason}").format(reason=error))
            title = _("S3IMFusion: install packages")
            slicer.util.errorDisplay(str(error), windowTitle=title, detailedText=error.details)
            return False
        finally:
            self._is_busy = False
            self.show_versions()
        if not is_done:
            is_unchanged = installed_versions() == before
            nothing = _("Nothing was installed, and nothing was changed.")
            self._show(nothing if is_unchanged else _("Not all packages were installed: the rest was declined."))
        return is_done

    def _show_progress(self, text: str) -> None:
        self._end_worker()
        self._show(text)
        slicer.app.processEvents()

    def _show(self, text: str) -> None:
        self._ui.statusLabel.text = text


def _version_line(name: str) -> str:
    version = version_of(name)
    if version is None:
        return _("{name}: not installed").format(name=name)
    backend = torch_backend() if name == "torch" else ""
    return f"{name} {version}" + (_(", built for {backend}").format(backend=backend) if backend else "")
