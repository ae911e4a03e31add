"""Nine slice views: A, B and the fused volume in three planes, linked, with a fade from the fused one to A and B."""

import asyncio
from collections.abc import Callable

from slicer import vtkMRMLVolumeNode
from trame.widgets import html
from trame_server import Server
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories
from trame_slicer.views import Layout, LayoutDirection, SliceView, ViewLayoutDefinition

PLANES = ("Axial", "Coronal", "Sagittal")
ROWS = ("A", "B", "Fused")
ALL_PLANES = "All planes"
SAME_SIZE_PIXELS = 2
RESIZE_SECONDS = 0.3


class FusionViews:
    """The views and what they show.

    Args:
        server: the trame server.
        app: the scene and its logics.
    """

    def __init__(self, server: Server, app: SlicerApp) -> None:
        register_rca_factories(app.view_manager, server, slice_view_ui_f=_view_label, rca_encoder="jpeg")
        self.layouts = LayoutManager(app.scene, app.view_manager, server)
        definitions = {
            (row, plane): ViewLayoutDefinition.slice_view(plane, label=f"{row}{plane}")
            for row in ROWS
            for plane in PLANES
        }
        rows = [Layout(LayoutDirection.Horizontal, [definitions[row, plane] for plane in PLANES]) for row in ROWS]
        self.layouts.register_layout(ALL_PLANES, Layout(LayoutDirection.Vertical, rows))
        for plane in PLANES:
            side_by_side = Layout(LayoutDirection.Horizontal, [definitions[row, plane] for row in ROWS])
            self.layouts.register_layout(plane, side_by_side)
        self._views: dict[tuple[str, str], SliceView] = {
            key: app.view_manager.get_view(definition.singleton_tag) for key, definition in definitions.items()
        }
        self._volumes: dict[str, vtkMRMLVolumeNode | None] = dict.fromkeys(ROWS)
        self._sizes: dict[tuple[str, str], tuple[int, int]] = {}
        self._is_linking = self._is_fit_due = False
        for key, view in self._views.items():
            view.modified.connect(self._link(key))
        self.layouts.set_layout(ALL_PLANES)

    def show(self, row: str, volume: vtkMRMLVolumeNode | None) -> None:
        """Show a volume in its row; the first to come sets where all look."""
        is_first = all(shown is None for shown in self._volumes.values())
        self._volumes[row] = volume
        for plane in PLANES:
            self._views[row, plane].set_background_volume_id(volume.GetID() if volume else None)
        if is_first and volume is not None:
            self.fit()

    def set_layout(self, name: str) -> None:
        """Show all planes of all three, or the three side by side in one plane."""
        if name in self.layouts.get_layout_ids():
            self.layouts.set_layout(name)

    def fade(self, amount: float) -> None:
        """Lay a source over the fused volume: -1 is A alone, 0 the fused volume alone, 1 B alone."""
        source = self._volumes["A" if amount < 0 else "B"]
        for plane in PLANES:
            view = self._views["Fused", plane]
            view.set_foreground_volume_id(source.GetID() if source else None)
            view.set_foreground_opacity(abs(amount))

    def fit(self) -> None:
        """Look at the middle of what is shown, whole."""
        for plane in PLANES:
            for view in self._leading(plane):
                view.set_orientation(plane)
                view.fit_view_to_content()

    def _fit_resized(self) -> None:
        """Show the slices whole again in views of another size; the slices stay."""
        self._is_fit_due = False
        for plane in PLANES:
            for view in self._leading(plane):
                offset = view.get_slice_value()
                view.fit_view_to_content()
                view.set_slice_value(offset)

    def _leading(self, plane: str) -> list[SliceView]:
        """The view that the others of a plane follow; none where nothing is shown."""
        return [self._views[row, plane] for row in ("Fused", "A", "B") if self._volumes[row] is not None][:1]

    def _link(self, key: tuple[str, str]) -> Callable[..., None]:
        """Let the other rows of a plane follow a view: slice, centre and zoom."""
        row, plane = key

        def follow(*_: object) -> None:
            if self._is_linking:
                return
            size = self._views[key].get_view_node().GetDimensions()[:2]
            if _differ(size, self._sizes.get(key, size)) and not self._is_fit_due:
                self._is_fit_due = True
                asyncio.get_running_loop().call_later(RESIZE_SECONDS, self._fit_resized)
            self._sizes[key] = size
            self._is_linking = True
            try:
                for other in ROWS:
                    if other != row:
                        _look_as(self._views[other, plane], self._views[key])
            finally:
                self._is_linking = False

        return follow


def _look_as(view: SliceView, model: SliceView) -> None:
    node, model_node = view.get_view_node(), model.get_view_node()
    (width, height, _), (model_width, model_height, _) = node.GetDimensions(), model_node.GetDimensions()
    if _differ((width, height), (model_width, model_height)):
        return  # the layout changes, and each view is about to be resized
    was_modifying = node.StartModify()
    node.GetSliceToRAS().DeepCopy(model_node.GetSliceToRAS())
    field = model_node.GetFieldOfView()
    node.SetFieldOfView(field[0] * width / model_width, field[1] * height / model_height, field[2])
    node.SetXYZOrigin(*model_node.GetXYZOrigin())
    node.UpdateMatrices()
    node.EndModify(was_modifying)
    view.schedule_render()


def _differ(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes are not of one layout, whose views may differ by a pixel."""
    return max(abs(one - another) for one, another in zip(size, other, strict=True)) > SAME_SIZE_PIXELS


def _view_label(_server: Server, view_id: str, _view: SliceView) -> None:
    row = next(row for row in ROWS if view_id.startswith(row))
    html.Div(
        f"{row} · {view_id.removeprefix(row).lower()}",
        classes="s3im-view",
        style="position:absolute;top:4px;left:8px;color:#cfd8dc;font-size:12px;pointer-events:none;",
    )
