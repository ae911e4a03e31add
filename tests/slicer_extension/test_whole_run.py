"""A user's whole workflow in the module, step by step, on slicer-core.

With SLICER_BASE_PYTHON the base classes and the parameter node are Slicer's own.
The pictures of the states are written into the test's folder: slices by Slicer's slice logic, the panel by Qt.
"""

# ruff: noqa: E402 - slicer-core may be absent

import json
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from PIL import Image

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

import dicom_export
import stand_ins
from S3IMFusionLib import sample_data
from S3IMFusionLib.layout import LAYOUT_ID, VIEWS
from S3IMFusionLib.sample_data import Grid
from scene_tools import finish, load, new_application, picture_of, state_of, voxels_of

from monai_s3im.bundle_config import bundle_root

COARSE = (Grid((51, 63, 15), (4.0, 4.0, 12.0)), Grid((48, 54, 13), (4.4, 4.4, 13.0)))
SIZE, FIELD_MM, HEIGHT_MM = 160, 204.0, 17.0
PATIENT = {"PatientName": "Phantom^Head", "PatientID": "P1"}
STUDY = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1", "StudyID": "S1", "StudyDate": "20250304"}


@contextmanager
def slicer_session(worker):
    """A Slicer that was just started: the module is known, its panel is not yet open."""
    with new_application() as application_logic:
        scene, layouts = application_logic.GetMRMLScene(), slicer.vtkMRMLLayoutLogic()
        layouts.SetMRMLScene(scene)
        scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
        with stand_ins.in_place(scene, application_logic) as application:
            from S3IMFusion import S3IMFusion, S3IMFusionWidget, registerFusionLayout

            S3IMFusion(stand_ins.qSlicerScriptedLoadableModule())
            registerFusionLayout()  # as at startupCompleted
            module = stand_ins.qSlicerScriptedLoadableModuleWidget()

            def open_panel():
                panel = module.make(S3IMFusionWidget)
                panel.logic.worker, session.own_worker = worker, panel.logic.worker
                module.enter()
                module.resize(420, 640)
                module.show()
                return panel

            session = SimpleNamespace(
                scene=scene,
                application=application,
                application_logic=application_logic,
                layout=layouts.GetLayoutNode(),
                module=module,
                open_panel=open_panel,
            )
            yield session
            panel = slicer.modules.S3IMFusionWidget
            panel.logic.worker = session.own_worker  # which was never started
            panel.cleanup()
            stand_ins.delete(module)
        layouts.SetMRMLScene(None)


def views_of(session, file=None):
    """The three views as Slicer shows them, (rows, columns, RGB) each; written side by side into a file."""
    pictures = [picture_of(session.application_logic, name, SIZE, FIELD_MM, HEIGHT_MM) for name in VIEWS]
    if file is not None:
        Image.fromarray(np.concatenate(pictures, axis=1)).save(file)
    return pictures


def settings_of(fused):
    return json.loads(fused.GetAttribute("S3IMFusion.Settings"))


def save_scene(scene, folder):
    """Saves the volumes and the scene as Slicer does; its dialog omits what is not saved with the scene."""
    scene.SetURL(str(folder / "scene.mrml"))
    scene.SetRootDirectory(str(folder))
    for node in filter(lambda node: node.GetSaveWithScene(), slicer.util.getNodesByClass("vtkMRMLVolumeNode", scene)):
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(folder / f"{node.GetName()}.nrrd"))
        assert node.GetStorageNode().WriteData(node)
    assert scene.Commit()


@pytest.fixture
def pictures(tmp_path):
    """The folder of the pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_a_user_goes_through_a_complete_session(worker, shown_errors, monkeypatch, tmp_path, pictures):
    monkeypatch.setattr(sample_data, "GRIDS", COARSE)
    with slicer_session(worker) as session:
        panel, scene = session.open_panel(), session.scene
        assert session.module.grab().save(str(pictures / "1 opened.png"))
        for file, name in zip(sample_data.write_sample_data(tmp_path / "sample"), sample_data.NODE_NAMES, strict=True):
            load(scene, file, name)
        put_into_a_study(scene)
        panel.initializeParameterNode()  # as on entering
        ct = panel.parameters.source_b.GetDisplayNode()
        ct.SetAutoWindowLevel(False)
        ct.SetWindowLevel(80.0, 40.0)

        fused = apply(panel, session, pictures)
        fade(panel, session, pictures)
        cancel(panel, scene)
        change_and_clear_the_weights(panel, fused, tmp_path)
        faded, voxels = views_of(session, pictures / "5 before saving.png"), voxels_of(fused).copy()
        save_scene(scene, tmp_path)
        scene.Clear(False)
        assert panel.parameters.source_a is None
        assert not panel.view.is_shown
    with slicer_session(worker) as session:
        open_the_scene_before_the_module(session, tmp_path, faded, voxels, pictures)
    assert shown_errors == []


def put_into_a_study(scene):
    """The patient and the study that Slicer's DICOM loader makes above the volumes, or a user in the module Data."""
    scene.AddNewNodeByClass("vtkMRMLSubjectHierarchyNode")
    hierarchy = dicom_export.hierarchy()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    study = hierarchy.CreateStudyItem(patient, "Study")
    for item, tags in ((patient, PATIENT), (study, STUDY)):
        for name, value in tags.items():
            hierarchy.SetItemAttribute(item, f"DICOM.{name}", value)
    for name, modality in zip(sample_data.NODE_NAMES, ("MR", "CT"), strict=True):
        item = hierarchy.CreateItem(study, scene.GetFirstNodeByName(name))
        hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)


def apply(panel, session, pictures):
    """Fuses the pair, and shows it."""
    assert [panel.ui.source_a.currentNode().GetName(), panel.ui.source_b.currentNode().GetName()] == list(
        sample_data.NODE_NAMES
    )
    session.layout.AddMaximizedViewNode(session.scene.GetNodeByID("vtkMRMLSliceNodeRed"))
    panel.ui.applyButton.click()
    finish(panel)
    fused = panel.ui.fused.currentNode()
    assert fused.GetImageData().GetDimensions() == COARSE[0].shape
    assert (session.layout.GetViewArrangement(), session.layout.GetNumberOfMaximizedViewNodes()) == (LAYOUT_ID, 0)
    assert session.module.grab().save(str(pictures / "2 fused, panel.png"))
    mr, middle, ct = views_of(session, pictures / "2 fused.png")
    assert all(picture.std() > 10 for picture in (mr, middle, ct))
    assert np.abs(middle.astype(int) - mr).mean() > 3
    return fused


def fade(panel, session, pictures):
    """The middle view is A at one end and B at the other."""
    mr, _middle, ct = views_of(session)
    panel.ui.fade.value = -100
    np.testing.assert_array_equal(views_of(session, pictures / "3 faded to A.png")[1], mr)
    panel.ui.fade.value = 100
    np.testing.assert_array_equal(views_of(session, pictures / "3 faded to B.png")[1], ct)
    panel.ui.fade.value = 40


def cancel(panel, scene):
    """A second run that is cancelled leaves the scene unchanged."""
    before = state_of(scene)
    panel.ui.applyButton.click()
    panel.ui.cancelButton.click()
    assert panel.ui.statusLabel.text == "Cancelled: the scene is unchanged."
    assert state_of(scene) == before


def change_and_clear_the_weights(panel, fused, folder):
    """Other weights give another volume, and without them the first comes back."""
    first = voxels_of(fused).copy()
    own = folder / "own.pt"
    shutil.copyfile(bundle_root() / "models" / "model_infrared.pt", own)
    panel.ui.weights.comboBox().lineEdit().setText(str(own))
    panel.ui.applyButton.click()
    finish(panel)
    assert settings_of(fused)["weights"] == own.name
    assert np.abs(voxels_of(fused) - first).max() > 100  # of 10000
    own.unlink()
    panel.parameters.slice_batch = 4  # anything that makes the panel look again
    assert not panel.ui.applyButton.enabled
    panel.ui.clearWeightsButton.click()
    panel.parameters.slice_batch = 8
    assert panel.ui.applyButton.enabled
    panel.ui.applyButton.click()
    finish(panel)
    assert settings_of(fused)["weights"] is None
    np.testing.assert_array_equal(voxels_of(fused), first)
    panel.ui.fade.value = 40


def open_the_scene_before_the_module(session, folder, faded, voxels, pictures):
    """The next session: the scene is in the fusion view before the panel is there, and the panel takes it over."""
    session.scene.SetURL(str(folder / "scene.mrml"))
    session.scene.SetRootDirectory(str(folder))
    session.scene.Import()
    assert session.layout.GetViewArrangement() == LAYOUT_ID
    assert all(name in session.layout.GetCurrentLayoutDescription() for name in VIEWS)
    for before, after in zip(faded, views_of(session, pictures / "6 opened before the module.png"), strict=True):
        np.testing.assert_allclose(after.astype(int), before, atol=2)

    panel = session.open_panel()
    assert session.module.grab().save(str(pictures / "7 opened after the scene, panel.png"))
    np.testing.assert_array_equal(voxels_of(panel.parameters.fused), voxels)
    assert (panel.view.is_shown, panel.ui.viewButton.text, panel.ui.fade.value) == (True, "Previous view", 40)
    panel.ui.fade.value = -100
    mr, middle, _ct = views_of(session, pictures / "8 faded to A in the next session.png")
    np.testing.assert_array_equal(middle, mr)
    panel.ui.viewButton.click()
    assert not panel.view.is_shown
    assert session.layout.GetCurrentLayoutDescription()
    export_to_dicom(panel.parameters.fused, folder / "sent", pictures)


def export_to_dicom(fused, folder, pictures):
    """By each choice of Slicer's dialog: full contrast, not a CT, in the patient and study of the sources."""
    with dicom_export.in_place():
        from S3IMFusion import registerDICOMExport

        registerDICOMExport()
        choices = dicom_export.choices(dicom_export.hierarchy().GetItemByDataNode(fused))
        assert [choice.pluginClass for choice in choices] == ["S3IMFusionDICOMPlugin", "DICOMScalarVolumePlugin"]
        for choice, modality in zip(choices, ("OT", "SC"), strict=True):
            error, files = dicom_export.export(choice, folder / modality)
            assert error == ""
            images = [pydicom.dcmread(file) for file in files]
            pixels = np.stack([image.pixel_array for image in images])
            np.testing.assert_array_equal(pixels, voxels_of(fused))
            assert np.ptp(pixels) > 8000  # of 10000
            for image in images:
                assert image.Modality == modality
                assert (float(image.WindowWidth), float(image.WindowCenter)) == (10000, 5000)
                assert {name: str(image[name].value) for name in (*PATIENT, *STUDY)} == {**PATIENT, **STUDY}
            if modality == "OT":
                assert list(images[0].ImageType) == ["DERIVED", "SECONDARY"]
            middle = (pixels[len(pixels) // 2].clip(0, 10000) * (255 / 10000)).astype(np.uint8)
            Image.fromarray(middle).resize((SIZE, SIZE)).save(pictures / f"9 exported to DICOM, {modality}.png")
