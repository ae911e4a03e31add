"""The fusion view: A, the fused volume and B side by side, linked, with a crosshair, and a fade between the three.

It uses separate slice views. Those of the user's layout are not changed, so leaving restores everything in one step.
"""

from typing import Protocol

from slicer import (
    vtkMRMLApplicationLogic,
    vtkMRMLCrosshairNode,
    vtkMRMLLayoutNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLScene,
    vtkMRMLSliceCompositeNode,
    vtkMRMLSliceNode,
)

from .checkerboard import checkerboard_of
from .i18n import _
from .registration import is_copy, registered_copy, remove_copy

LAYOUT_ID = 25986  # Slicer's own are below 1000
VIEW_GROUP = 25986  # linking is limited to one group
VIEWS = ("S3IMFusionA", "S3IMFusionFused", "S3IMFusionB")
ORIENTATIONS = {"axial": "Axial", "coronal": "Coronal", "sagittal": "Sagittal"}

_ITEM = """<item><view class="vtkMRMLSliceNode" singletontag="{name}">
<property name="orientation" action="default">Axial</property>
<property name="viewlabel" action="default">{label}</property>
<property name="viewcolor" action="default">{color}</property>
<property name="viewgroup" action="default">{group}</property>
</view></item>"""


class LayoutManager(Protocol):
    """The required part of Slicer's layout manager; it also ends the maximised state of a view."""

    def setLayout(self, layout: int) -> None:
        """Shows the layout of this number."""


def register_layout(scene: vtkMRMLScene) -> None:
    """Adds the layout to Slicer; a scene saved in the fusion view is then shown in it again."""
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if isinstance(layout, vtkMRMLLayoutNode) and not layout.IsLayoutDescription(LAYOUT_ID):
        layout.AddLayoutDescription(LAYOUT_ID, _layout_description())
        if layout.GetViewArrangement() == LAYOUT_ID:
            layout.SetViewArrangement(LAYOUT_ID)


def show_registered(scene: vtkMRMLScene) -> None:
    """Shows the registered B in a scene saved in the fusion view, since its display copy was not saved."""
    view = FusionView(scene)
    if not view.is_shown:
        return
    _of_a, middle, of_b = (view._composite_node(name) for name in VIEWS)
    shown, fused = (scene.GetNodeByID(node.GetBackgroundVolumeID() or "") for node in (of_b, middle))
    source_b = fused.GetNodeReference("S3IMFusion.SourceB") if fused is not None else None
    if shown is None and source_b is not None and (copy := registered_copy(source_b, fused)) is not None:
        of_b.SetBackgroundVolumeID(copy.GetID())
        if scene.GetNodeByID(middle.GetForegroundVolumeID() or "") is None:
            middle.SetForegroundVolumeID(copy.GetID())


class FusionView:
    """The fusion view of a scene.

    Args:
        scene: with the layout node, the slice views and the crosshair.
        application_logic: gives the slice views on the screen; None without a screen.
        layout_manager: Slicer's; None without a main window.
    """

    def __init__(
        self,
        scene: vtkMRMLScene,
        application_logic: vtkMRMLApplicationLogic | None = None,
        layout_manager: LayoutManager | None = None,
    ) -> None:
        self._scene = scene
        self._application_logic = application_logic
        self._layout_manager = layout_manager
        self._volumes: tuple[vtkMRMLScalarVolumeNode, ...] = ()
        self._registered: vtkMRMLScalarVolumeNode | None = None
        self._board: vtkMRMLScalarVolumeNode | None = None
        self._former_arrangement = vtkMRMLLayoutNode.SlicerLayoutInitialView
        self._former_maximized: list[str] = []  # IDs of the views that were maximised
        self._former_crosshair: tuple[int, int] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the fusion view is the current layout."""
        layout = self._layout_node()
        return layout is not None and layout.GetViewArrangement() == LAYOUT_ID

    @property
    def is_filled(self) -> bool:
        """Whether :meth:`show` has put volumes into the fusion view, which :meth:`leave` removes."""
        return bool(self._volumes)

    def make_known(self) -> None:
        """Registers the layout, and adopts a fusion view in which the scene was saved."""
        register_layout(self._scene)
        if self.is_shown and not self._volumes:
            shown_ids = [self._composite_node(name).GetBackgroundVolumeID() for name in VIEWS]
            shown = [self._scene.GetNodeByID(node_id or "") for node_id in shown_ids]
            volumes = [node for node in shown if isinstance(node, vtkMRMLScalarVolumeNode)]
            self._volumes = tuple(volumes) if len(volumes) == len(VIEWS) else ()
            self._registered = next(filter(is_copy, self._volumes), None)

    def show(
        self,
        source_a: vtkMRMLScalarVolumeNode | None,
        source_b: vtkMRMLScalarVolumeNode | None,
        fused: vtkMRMLScalarVolumeNode | None,
        plane: str = "axial",
        fade: float = 0.0,
    ) -> None:
        """Shows A, the fused volume and B, if all three exist, in slices of a plane (``"axial"``, ...).

        A registered B is shown at its fused position by a display copy; see :func:`registered_copy`.
        """
        layout = self._layout_node()
        if layout is None or None in (source_a, source_b, fused):
            return
        self._remove_registered()
        self._registered = registered_copy(source_b, fused)
        self._volumes = (source_a, fused, self._registered or source_b)
        self.make_known()
        if not self.is_shown:
            self._former_arrangement = layout.GetViewArrangement()
            count = layout.GetNumberOfMaximizedViewNodes()
            self._former_maximized = [layout.GetMaximizedViewNode(index).GetID() for index in range(count)]
            self._set_layout(layout, LAYOUT_ID)
            self._show_crosshair()
        for name, volume in zip(VIEWS, self._volumes, strict=True):
            self._fill(name, volume, plane)
        self.set_fade(fade)

    def set_fade(self, fade: float, checkerboard: bool = False) -> None:
        """Fades the middle view from the fused volume (0) to A (-100) or to B (100), or alternates A and B."""
        if not self.is_shown or not self._volumes:
            return
        source_a, fused, source_b = self._volumes
        composite = self._composite_node(VIEWS[1])
        if checkerboard:
            self._board = self._board or checkerboard_of(source_a, source_b, fused)
            composite.SetForegroundVolumeID(self._board.GetID())
            composite.SetForegroundOpacity(1.0)
            return
        composite.SetForegroundVolumeID((source_a if fade < 0 else source_b).GetID())
        composite.SetForegroundOpacity(min(abs(fade) / 100.0, 1.0))
        self._remove_board()

    def leave(self) -> None:
        """Restores the previous layout, its maximised view and the crosshair."""
        layout = self._layout_node()
        if layout is not None and self.is_shown:
            self._set_layout(layout, self._former_arrangement)
            for view in map(self._scene.GetNodeByID, self._former_maximized):
                if view is not None:
                    layout.AddMaximizedViewNode(view)
        self._volumes = ()
        self._remove_registered()
        if self._former_crosshair is not None:
            crosshair = self._crosshair_node()
            if crosshair is not None:
                mode, behavior = self._former_crosshair
                crosshair.SetCrosshairMode(mode)
                crosshair.SetCrosshairBehavior(behavior)
            self._former_crosshair = None

    def close(self) -> None:
        """Removes the display nodes and keeps the layout, which another panel may show again."""
        self._volumes = ()
        self._remove_registered()

    def _remove_board(self) -> None:
        if self._board is not None:
            remove_copy(self._board)
            self._board = None

    def _remove_registered(self) -> None:
        self._remove_board()
        if self._registered is not None:
            remove_copy(self._registered)
            self._registered = None

    def _fill(self, name: str, volume: vtkMRMLScalarVolumeNode, plane: str) -> None:
        composite = self._composite_node(name)
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        slice_node = self._scene.GetNodeByID(f"vtkMRMLSliceNode{name}")
        if isinstance(slice_node, vtkMRMLSliceNode):
            if plane in ORIENTATIONS:
                slice_node.SetOrientation(ORIENTATIONS[plane])
            else:
                slice_node.RotateToVolumePlane(self._volumes[1])
        logic = self._application_logic and self._application_logic.GetSliceLogicByLayoutName(name)
        if logic:
            logic.FitSliceToBackground()

    def _show_crosshair(self) -> None:
        crosshair = self._crosshair_node()
        if crosshair is not None:
            if self._former_crosshair is None:  # otherwise the user left the view in another way
                self._former_crosshair = (crosshair.GetCrosshairMode(), crosshair.GetCrosshairBehavior())
            crosshair.SetCrosshairMode(vtkMRMLCrosshairNode.ShowBasic)
            crosshair.SetCrosshairBehavior(vtkMRMLCrosshairNode.OffsetJumpSlice)

    def _set_layout(self, layout: vtkMRMLLayoutNode, number: int) -> None:
        if self._layout_manager is not None:
            self._layout_manager.setLayout(number)
        else:
            layout.RemoveAllMaximizedViewNodes()
            layout.SetViewArrangement(number)

    def _layout_node(self) -> vtkMRMLLayoutNode | None:
        return self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")

    def _crosshair_node(self) -> vtkMRMLCrosshairNode | None:
        return self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")

    def _composite_node(self, name: str) -> vtkMRMLSliceCompositeNode:
        for index in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
            node = self._scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
            if node.GetLayoutName() == name:
                return node
        node = self._scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        return self._scene.AddNode(node)


def _layout_description() -> str:
    labels = dict(zip(VIEWS, (_("A"), _("Fused"), _("B")), strict=True))
    colors = dict(zip(VIEWS, ("#d95f02", "#1b9e77", "#7570b3"), strict=True))
    items = [_ITEM.format(name=name, label=labels[name], color=colors[name], group=VIEW_GROUP) for name in VIEWS]
    return f'<layout type="horizontal" split="true">{"".join(items)}</layout>'
