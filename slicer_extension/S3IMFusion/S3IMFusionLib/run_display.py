"""The panel's view of a run: progress, log, outcome and warnings."""

from typing import Any

import slicer

from .i18n import _
from .result import ct_range_shown
from .run import FusionRun


class RunDisplay:
    """The widgets that show a run.

    Args:
        ui: the panel's widgets: ``logText``, ``progressBar``, ``statusLabel``.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._logged = 0

    def clear(self) -> None:
        """Clears the log of the previous run."""
        self._logged = 0
        self._ui.logText.clear()

    def begin(self) -> None:
        """Shows that a run has started."""
        self._ui.statusLabel.text = _("Starting ...")

    def update(self, run: FusionRun) -> None:
        """Shows new log lines and the number of slices done."""
        for line in run.log[self._logged :]:
            self._ui.logText.appendPlainText(line)
        self._logged = len(run.log)
        done, total = run.progress
        self._ui.progressBar.maximum = total  # 0 of 0: busy
        self._ui.progressBar.value = done
        if total:
            self._ui.statusLabel.text = _("Slice {done} of {total}").format(done=done, total=total)

    def end(self, run: FusionRun) -> None:
        """Shows the outcome of a run; an error also in a dialog."""
        if run.state == "done":
            ct_range = ct_range_shown(run.output_node)
            text = _("Fused: {name}, CT from {range}") if ct_range else _("Fused: {name}")
            self._ui.statusLabel.text = text.format(name=run.output_node.GetName(), range=ct_range)
        elif run.state == "cancelled":
            self._ui.statusLabel.text = _("Cancelled: the scene is unchanged.")
        else:
            self._ui.statusLabel.text = _("Not fused: {reason}").format(reason=run.error)
            slicer.util.errorDisplay(run.error, windowTitle=_("S3IMFusion"), detailedText="\n".join(run.log))

    def warn(self, run: FusionRun) -> None:
        """Shows cautions about the result in the status line and, once per run, in a dialog."""
        if run.state == "done" and run.warnings:
            text = _("{status}. Warning: {warnings}")
            self._ui.statusLabel.text = text.format(status=self._ui.statusLabel.text, warnings="; ".join(run.warnings))
            slicer.util.warningDisplay("\n\n".join(run.warnings), windowTitle=_("S3IMFusion"))
