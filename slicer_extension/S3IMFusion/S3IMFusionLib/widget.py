"""The module's panel. It handles display and input; the logic computes."""

from pathlib import Path
from typing import Any

import ctk  # noqa: F401 - widgets of the .ui file
import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .checks import problem_of_weights
from .devices import DeviceChooser
from .i18n import _
from .install import missing_packages
from .layout import FusionView
from .logic import FusionLogic
from .own_weights import OwnWeights
from .packages_section import PackagesSection
from .parameters import FusionParameters, set_back_unknown_choices
from .preferences import apply_preferences, is_view_wanted, remember_device, remember_view
from .run import FusionRun
from .run_display import RunDisplay
from .sequences import proxy_of
from .start import is_image, memory_text, problems_of_chosen, sequence_of, start_chosen
from .typed_text import TypedText

POLL_MS = 100


class FusionWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel; the module's own class creates its logic."""

    def __init__(self, parent: Any = None) -> None:
        self.logic: Any = None
        self.view: FusionView | None = None
        self.parameters: FusionParameters | None = None
        self._gui_tag: int | None = None
        self._run: FusionRun | None = None
        self._run_parameters: FusionParameters | None = None
        self.devices: DeviceChooser | None = None
        super().__init__(parent)  # Slicer's base classes call each other; without a parent this calls setup()

    def make_logic(self) -> FusionLogic:
        """The logic of this scene, with ``getParameterNode()``."""
        raise NotImplementedError

    def setup(self) -> None:
        """Builds the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/S3IMFusion.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.make_logic()
        self.packages = PackagesSection(self.ui, self._requirements(), self.logic.close)
        self.devices = DeviceChooser(self.ui.device, self.logic)
        self.weights = OwnWeights(self.ui)
        self.ranges = [TypedText(self.ui.range_a, "range_a"), TypedText(self.ui.range_b, "range_b")]
        self.run_display = RunDisplay(self.ui)
        self.view = FusionView(slicer.mrmlScene, slicer.app.applicationLogic(), slicer.app.layoutManager())
        self.view.make_known()

        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MS)
        self.timer.connect("timeout()", self.onTimer)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancelButton)
        self.ui.viewButton.connect("clicked(bool)", self.onViewButton)
        self.ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self.onAdvancedCollapsed)
        self.ui.device.connect("currentIndexChanged(int)", self.onDeviceChanged)

        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.updatePanel)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Ends a run when Slicer closes or the module is reloaded."""
        self.timer.stop()
        if self._run is not None:
            self._run.cancel()
        self._set_parameter_node(None)
        self.removeObservers()
        self.view.close()
        self.logic.close()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module."""
        self._set_parameter_node(None)

    def onSceneStartClose(self, _caller: Any = None, _event: Any = None) -> None:
        """The volumes are removed, and with them the run."""
        if self._run is not None:
            self._run.cancel()
            self._finish()
        self._run_parameters = None
        self.logic.forget()
        self.view.leave()
        self._set_parameter_node(None)

    def onSceneEndClose(self, _caller: Any = None, _event: Any = None) -> None:
        """A new parameter node, if the module is open."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, _caller: Any = None, _event: Any = None) -> None:
        """The parameter node is being replaced by one that may have choices of a newer version."""
        self._set_parameter_node(None)

    def onSceneEndImport(self, _caller: Any = None, _event: Any = None) -> None:
        """The scene may have been saved in the fusion view, and with weights that are not on this computer."""
        self.view.make_known()
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.updatePanel()

    def initializeParameterNode(self) -> None:
        """Shows the choices saved in the scene; selects the first two volumes if nothing was chosen yet."""
        node = self.logic.getParameterNode()
        is_new = not node.GetParameter("device")
        unknown = set_back_unknown_choices(node)
        parameters = FusionParameters(node)
        if is_new:
            apply_preferences(parameters)
        self._set_parameter_node(parameters)
        if self.parameters.source_a is None and self.parameters.source_b is None:
            volumes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if is_image(node)]
            if len(volumes) >= 2:
                self.parameters.source_a, self.parameters.source_b = volumes[:2]
        self._refill_view()
        self._report_missing_weights()
        self._report_unknown_choices(unknown)

    def _report_missing_weights(self) -> None:
        """Shows visibly why Apply is disabled, since the choice of weights may be collapsed."""
        if self.parameters is not None and (problem := problem_of_weights(self.parameters.weights)):
            self.ui.statusLabel.text = problem

    def _report_unknown_choices(self, names: list[str]) -> None:
        if names:
            labels = ", ".join(getattr(self.ui, f"{name}Label").text.rstrip(":") for name in names)
            text = _(
                "A newer S3IMFusion saved this scene, with choices that this version does not know; reset: {names}"
            )
            self.ui.statusLabel.text = text.format(names=labels)

    def _refill_view(self) -> None:
        """Restores the registered B in the fusion view, which is not saved with the scene."""
        if self.parameters is not None and self.view.is_shown and not self.view.is_filled:
            self._show_view(self.parameters)

    def _set_parameter_node(self, parameters: FusionParameters | None) -> None:
        if self.parameters is not None:
            self.parameters.disconnectGui(self._gui_tag)
            self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.updatePanel)
        self.parameters = parameters
        for field in (self.weights, *self.ranges):
            field.show(parameters)
        if parameters is not None:
            self._gui_tag = parameters.connectGui(self.ui)
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.updatePanel)
        self.updatePanel()

    def onApplyButton(self, _checked: bool = False) -> None:
        """Asks for packages if some are missing, and starts."""
        with slicer.util.tryWithErrorDisplay(_("The volumes could not be fused.")):
            if not self.packages.ensure():
                return
            self.run_display.clear()
            self._run = start_chosen(self.logic, self.parameters)
            self.devices.forget_question()
            self._run_parameters = self.parameters
            self.run_display.begin()
            self.timer.start()
        self.updatePanel()

    def onCancelButton(self, _checked: bool = False) -> None:
        """Cancels the run."""
        if self._run is not None:
            self._run.cancel()
            self._finish()

    def onTimer(self) -> None:
        """Polls the run."""
        if self._run is None:
            self._look_for_devices()
            return
        self._run.poll()
        self.run_display.update(self._run)
        if self._run.state != "running":
            self._finish()

    def _finish(self) -> None:
        run, self._run = self._run, None
        self.timer.stop()
        self.run_display.end(run)
        if run.state == "done":
            self._show_result(run.output_node)
        self.onAdvancedCollapsed(self.ui.advancedCollapsibleButton.collapsed)
        self.updatePanel()
        self.run_display.warn(run)

    def _show_result(self, node: Any) -> None:
        chosen = self._run_parameters
        chosen.fused = proxy_of(slicer.mrmlScene, node) if node.IsA("vtkMRMLSequenceNode") else node
        chosen.fade = 0.0
        if is_view_wanted():
            self._show_view(chosen)

    def onViewButton(self, _checked: bool = False) -> None:
        """Switches to the fusion view, or back."""
        if self.view.is_shown:
            self.view.leave()
        else:
            self._show_view(self.parameters)
        remember_view(self.view.is_shown)
        self.updatePanel()

    def _show_view(self, chosen: FusionParameters) -> None:
        self.view.show(chosen.source_a, chosen.source_b, chosen.fused, chosen.plane.value, chosen.fade)

    def onAdvancedCollapsed(self, collapsed: bool) -> None:
        """Requests the devices once, without waiting for the answer, which comes when torch is loaded."""
        if collapsed or self._run is not None:
            return
        with slicer.util.tryWithErrorDisplay(_("The devices could not be listed.")):
            if not missing_packages(self._requirements()) and self.devices.ask():
                self.timer.start()

    def _look_for_devices(self) -> None:
        is_awaited = False
        with slicer.util.tryWithErrorDisplay(_("The devices could not be listed.")):
            is_awaited = self.devices.poll(self.parameters.device if self.parameters is not None else "auto")
        if not is_awaited:
            self.timer.stop()

    def onDeviceChanged(self, index: int) -> None:
        """Stores the choice in the parameter node."""
        device = self.devices.name_at(index)
        if self.parameters is not None and device not in (None, self.parameters.device):
            self.parameters.device = device
            remember_device(device)

    def updatePanel(self, _caller: Any = None, _event: Any = None) -> None:
        """Updates the enabled state of the controls, with the reasons if Apply is disabled."""
        if slicer.mrmlScene.IsBatchProcessing():
            return
        chosen, is_running = self.parameters, self._run is not None
        problems = problems_of_chosen(self.logic, chosen) if chosen is not None and not is_running else []
        self.ui.applyButton.enabled = chosen is not None and not problems and not is_running
        self.ui.applyButton.toolTip = "\n".join(problems) or _("Fuses the two volumes into one.")
        self.ui.inputsCollapsibleButton.enabled = not is_running
        self.ui.advancedCollapsibleButton.enabled = not is_running
        self.ui.packagesCollapsibleButton.enabled = not is_running
        self.ui.progressFrame.visible = is_running
        if chosen is None:
            return
        self.devices.show(chosen.device)
        for field in (self.weights, *self.ranges):
            field.show(chosen)
        self.ui.all_frames.visible = sequence_of(chosen.source_a) is not None
        self.ui.memoryLabel.text = memory_text(self.logic, chosen)
        is_shown = self.view.is_shown
        self.ui.viewButton.enabled = is_shown or None not in (chosen.source_a, chosen.source_b, chosen.fused)
        self.ui.viewButton.checked = is_shown
        self.ui.viewButton.text = _("Previous view") if is_shown else _("Fusion view")
        self.ui.fade.enabled = is_shown and not chosen.checkerboard
        self.ui.checkerboard.enabled = is_shown
        self.view.set_fade(chosen.fade, chosen.checkerboard)

    def _requirements(self) -> Path:
        return Path(self.resourcePath("requirements.txt"))
