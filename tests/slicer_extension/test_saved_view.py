"""The fusion view of a registered pair, whose B is a copy for display: saved, opened before the panel, and reloaded."""

import sys

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import slicer
import stand_ins
from S3IMFusionLib.layout import VIEWS, FusionView
from scene_tools import picture_of
from test_registration_shown import MOVED, matrix_of, pair, registered, to_world  # noqa: F401 - fixtures
from test_whole_run import save_scene, slicer_session


def pictures_of(application_logic):
    return [picture_of(application_logic, name, 64, 50.0, 3.0).astype(int) for name in VIEWS]


def volumes_of(scene):
    return scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")


def test_a_saved_view_has_the_registered_b_in_its_pane_before_the_panel_is_opened(
    worker,
    scene,
    application_logic,
    layout_logic,
    registered,  # noqa: F811
    tmp_path,
):
    mr, ct, fused, _transform = registered
    for role, node in (("SourceA", mr), ("SourceB", ct)):
        fused.SetNodeReferenceID(f"S3IMFusion.{role}", node.GetID())
    with stand_ins.in_place(scene, application_logic):
        FusionView(scene).show(mr, ct, fused, fade=60)
        before = pictures_of(application_logic)
        assert all(picture.std() > 10 for picture in (before[0], before[2]))
        save_scene(scene, tmp_path)

    with slicer_session(worker) as session:
        session.scene.SetURL(str(tmp_path / "scene.mrml"))
        session.scene.Import()
        for old, new in zip(before, pictures_of(session.application_logic), strict=True):
            np.testing.assert_allclose(new, old, atol=2)
        shown = session.scene.GetNodeByID(FusionView(session.scene)._composite_node(VIEWS[2]).GetBackgroundVolumeID())
        np.testing.assert_allclose(
            to_world(shown), np.linalg.inv(MOVED) @ matrix_of(ct), atol=1e-5
        )  # the file has 6 digits
        assert volumes_of(session.scene) == 4

        panel = session.open_panel()
        assert panel.view.is_filled
        panel.parameters.fade = 100.0
        _, middle, of_b = pictures_of(session.application_logic)
        is_b = of_b.max(axis=-1) > 0  # around it the fused volume remains
        assert is_b.sum() > 100
        np.testing.assert_array_equal(middle[is_b], of_b[is_b])
        panel.view.leave()
        assert volumes_of(session.scene) == 3


def test_a_reload_takes_the_view_over_and_leaves_nothing_behind(panel, scene, registered):  # noqa: F811
    mr, ct, fused, _transform = registered
    panel.parameters.source_a, panel.parameters.source_b, panel.parameters.fused = mr, ct, fused
    panel.ui.viewButton.click()
    former = {name: module for name, module in sys.modules.items() if name.startswith("S3IMFusionLib")}
    try:
        panel.onReload()
        new = slicer.modules.S3IMFusionWidget
        assert type(new) is not type(panel)
        assert sys.modules["S3IMFusionLib.widget"] is not former["S3IMFusionLib.widget"]
        assert panel.Observations == []
        assert volumes_of(scene) == 4
        shown = scene.GetNodeByID(new.view._composite_node(VIEWS[2]).GetBackgroundVolumeID())
        np.testing.assert_allclose(to_world(shown), np.linalg.inv(MOVED) @ matrix_of(ct), atol=1e-9)
        assert (new.ui.viewButton.text, new.parameters.fused) == ("Previous view", fused)
        new.ui.viewButton.click()
        assert volumes_of(scene) == 3
        new.cleanup()
    finally:
        sys.modules.update(former)
