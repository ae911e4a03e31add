"""A fused volume through Slicer's File > Export to DICOM, read back with pydicom: full contrast, derived, no CT."""

import shutil
import subprocess

import dicom_export
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import slicer
from S3IMFusionLib.errors import FusionError
from sample_images import blobs
from scene_tools import LPS_TO_RAS, matrix_of, rotation, voxels_of

GRID = rotation(0, 20, (5, -7, 9)) @ np.diag([1.5, -1.25, 3.0, 1.0])  # oblique, anisotropic, flipped
SHAPE = (20, 18, 6)
PATIENT = {"PatientName": "Ångström^Ida", "PatientID": "P1", "PatientSex": "F", "PatientBirthDate": "19700102"}
STUDY = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyID": "S1",
    "StudyDescription": "Head",
    "StudyDate": "20250304",
    "StudyTime": "101112",
}
FRAME = "1.2.826.0.1.3680043.8.498.7"


def values_of(seed):
    return (1000 * blobs(SHAPE, seed)).astype(np.float32).T


@pytest.fixture
def dialog(scene, application_logic):
    """Slicer's export dialog, with our plugin registered as the module does it; gives the DICOM database."""
    pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")
    import stand_ins

    with stand_ins.in_place(scene, application_logic), dicom_export.in_place() as database:
        from S3IMFusion import registerDICOMExport

        registerDICOMExport()
        yield database


@pytest.fixture
def hierarchy(scene):
    """The subject hierarchy."""
    node = scene.AddNewNodeByClass("vtkMRMLSubjectHierarchyNode")
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene) or node


@pytest.fixture
def study(hierarchy):
    """A patient and a study, as Slicer's DICOM loader makes them; the item of the study."""
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    hierarchy.SetItemLevel(patient, "Patient")
    item = hierarchy.CreateStudyItem(patient, "Study")
    for above, tags in ((patient, PATIENT), (item, STUDY)):
        for name, value in tags.items():
            hierarchy.SetItemAttribute(above, f"DICOM.{name}", value)
    return item


@pytest.fixture
def sources(hierarchy, study, add_volume):
    """An MR and a CT in the study."""
    nodes = add_volume("MR", values_of(1), GRID), add_volume("CT", 1.5 * values_of(2) - 900, GRID)
    for number, (node, modality) in enumerate(zip(nodes, ("MR", "CT"), strict=True), start=4):
        item = hierarchy.CreateItem(study, node)
        for name, value in {"Modality": modality, "SeriesNumber": str(number), "FrameOfReferenceUID": FRAME}.items():
            hierarchy.SetItemAttribute(item, f"DICOM.{name}", value)
    return nodes


def item_of(hierarchy, node):
    return hierarchy.GetItemByDataNode(node)


def exported(hierarchy, node, folder, plugin=None):
    """The slices that the dialog writes, of its first choice or of a plugin."""
    found = [one for one in dicom_export.choices(item_of(hierarchy, node)) if plugin in (None, one.pluginClass)]
    error, files = dicom_export.export(found[0], folder)
    assert error == ""
    return [pydicom.dcmread(file) for file in files]


def check_patient_and_study(slices, frame=FRAME):
    for image in slices:
        assert {name: str(image[name].value) for name in PATIENT} == PATIENT
        assert {name: str(image[name].value) for name in STUDY} == STUDY
        assert image.FrameOfReferenceUID == frame
    assert len({image.SeriesInstanceUID for image in slices}) == 1
    assert len({image.SOPInstanceUID for image in slices}) == len(slices)


def check_place(files, node):
    """ITK's series reader places the voxels where the node has them."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    image, affine = reader.Execute(), np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(LPS_TO_RAS @ affine, matrix_of(node), atol=1e-3)


def test_slicers_scalar_volume_export_keeps_the_contrast_and_says_no_ct(dialog, logic, hierarchy, sources, tmp_path):
    fused = logic.process(*sources)
    slices = exported(hierarchy, fused, tmp_path, "DICOMScalarVolumePlugin")
    pixels = np.stack([image.pixel_array for image in slices])
    np.testing.assert_array_equal(pixels, voxels_of(fused))
    assert pixels.max() > 8000
    assert len(np.unique(pixels)) > 500
    check_patient_and_study(slices)
    for image in slices:
        assert (float(image.WindowWidth), float(image.WindowCenter)) == (10000, 5000)
        assert (float(image.RescaleSlope), float(image.RescaleIntercept)) == (1, 0)
        assert image.Modality == "SC"
        assert image.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert image.SeriesDescription == "S3IMFusion MR + CT fused"
        assert image.SeriesNumber == 1004
        assert image.ManufacturerModelName == "S3IMFusion"


def test_fractions_would_be_black_there(dialog, logic, hierarchy, sources, tmp_path):
    """The reason for whole numbers: Slicer's exporter drops decimals."""
    logic.as_fractions = True
    fused = logic.process(*sources)
    slices = exported(hierarchy, fused, tmp_path, "DICOMScalarVolumePlugin")
    assert voxels_of(fused).max() > 0.8
    stored = np.stack([image.pixel_array for image in slices])
    np.testing.assert_array_equal(stored, np.floor(voxels_of(fused)))
    assert (stored == 0).mean() > 0.9


@pytest.mark.parametrize("as_fractions", [False, True])
def test_the_first_choice_writes_a_derived_series_of_all_gray_levels(
    dialog, logic, hierarchy, sources, tmp_path, as_fractions
):
    logic.as_fractions = as_fractions
    fused = logic.process(*sources)
    slices = exported(hierarchy, fused, tmp_path)
    expected = np.rint(10000 * voxels_of(fused)) if as_fractions else voxels_of(fused)
    np.testing.assert_array_equal(np.stack([image.pixel_array for image in slices]), expected)
    check_patient_and_study(slices)
    check_place(sorted(tmp_path.glob("*/*.dcm")), fused)
    for image in slices:
        assert list(image.ImageType) == ["DERIVED", "SECONDARY"]
        assert (image.Modality, image.SOPClassUID) == ("OT", "1.2.840.10008.5.1.4.1.1.7")
        assert (float(image.WindowWidth), float(image.WindowCenter)) == (10000, 5000)
        assert image.DerivationDescription.startswith("MR+CT fused by S3IMFusion, monai-s3im ")
        assert image.DerivationDescription.endswith("; 10000 stands for 1")
        assert (image.SeriesNumber, image.SeriesDescription) == (1004, "S3IMFusion MR + CT fused")
        np.testing.assert_allclose(image.PixelSpacing, [1.25, 1.5])


def test_the_first_choice_keeps_colours(dialog, logic, hierarchy, study, add_volume, tmp_path):
    mr, pet = add_volume("MR", values_of(1), GRID), add_volume("PET", values_of(2), GRID)
    for node in (mr, pet):
        hierarchy.CreateItem(study, node)
    fused = logic.process(mr, pet)
    slices = exported(hierarchy, fused, tmp_path)
    pixels = np.stack([image.pixel_array for image in slices])
    np.testing.assert_array_equal(pixels, voxels_of(fused))
    assert (pixels.max(axis=-1) != pixels.min(axis=-1)).any()
    assert {image.PhotometricInterpretation for image in slices} == {"RGB"}
    check_place(sorted(tmp_path.glob("*/*.dcm")), fused)
    check_patient_and_study(slices, frame=slices[0].FrameOfReferenceUID)


def test_other_volumes_are_left_to_slicer(dialog, logic, hierarchy, sources):
    fused = logic.process(*sources)
    names = [[one.pluginClass for one in dicom_export.choices(item_of(hierarchy, node))] for node in (fused, *sources)]
    own, others = "S3IMFusionDICOMPlugin", "DICOMScalarVolumePlugin"
    assert names == [[own, others], [others], [others]]


def test_what_the_user_edits_in_the_dialog_is_written(dialog, logic, hierarchy, sources, tmp_path):
    fused = logic.process(*sources)
    hierarchy.SetItemAttribute(item_of(hierarchy, fused), "DICOM.SeriesDescription", "For the tumour board")
    [image, *_] = exported(hierarchy, fused, tmp_path)
    assert image.SeriesDescription == "For the tumour board"


def test_a_folder_inside_the_study_still_gives_patient_and_study(dialog, logic, hierarchy, sources, study, tmp_path):
    folder = hierarchy.CreateFolderItem(study, "Chosen ones")
    hierarchy.SetItemParent(item_of(hierarchy, sources[0]), folder)
    fused = logic.process(*sources)
    assert hierarchy.GetItemParent(item_of(hierarchy, fused)) == folder
    check_patient_and_study(exported(hierarchy, fused, tmp_path))


def test_where_only_b_has_a_study_the_result_goes_there(logic, hierarchy, study, add_volume):
    a, b = add_volume("MR", values_of(1), GRID), add_volume("CT", 1.5 * values_of(2) - 900, GRID)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), a)
    hierarchy.CreateItem(study, b)
    fused = logic.process(a, b)
    assert hierarchy.GetItemParent(item_of(hierarchy, fused)) == study
    assert hierarchy.GetItemAttribute(item_of(hierarchy, fused), "DICOM.FrameOfReferenceUID") == ""


def written_source(folder, number, study_uid):
    """A file as a scanner writes it, as far as it matters here."""
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = pydicom.uid.MRImageStorage, f"1.2.3.{number}"
    image.StudyInstanceUID, image.AccessionNumber = study_uid, "A77"
    image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder / f"{number}.dcm"


@pytest.mark.parametrize("is_same_study", [True, False])
def test_source_images_and_order_number_are_named_in_their_own_study_only(
    dialog, logic, hierarchy, sources, tmp_path, is_same_study
):
    """A user who changes the study in the dialog, to send it under a pseudonym, sends nothing that leads back."""
    uid = STUDY["StudyInstanceUID"] if is_same_study else "1.2.3"
    dialog.files = {f"1.2.3.{number}": written_source(tmp_path, number, uid) for number in (1, 2)}
    sources[0].SetAttribute("DICOM.instanceUIDs", "1.2.3.1 1.2.3.2 1.2.3.99")  # the last is not in the database
    [image, *_] = exported(hierarchy, logic.process(*sources), tmp_path / "out")
    assert image.AccessionNumber == ("A77" if is_same_study else "")
    named = [item.ReferencedSOPInstanceUID for item in image.get("SourceImageSequence", [])]
    assert named == (["1.2.3.1", "1.2.3.2"] if is_same_study else [])


def test_axes_that_are_not_at_right_angles_are_refused(dialog, logic, hierarchy, sources, tmp_path):
    fused, sheared = logic.process(*sources), GRID.copy()
    sheared[:3, 1] += 0.2 * sheared[:3, 0]
    matrix = slicer.vtkMRMLSliceNode().GetSliceToRAS()
    matrix.DeepCopy(sheared.ravel().tolist())
    fused.SetIJKToRASMatrix(matrix)
    error, files = dicom_export.export(dicom_export.choices(item_of(hierarchy, fused))[0], tmp_path)
    assert error == "the volume's axes are not at right angles, which DICOM cannot represent: resample it first"
    assert files == []


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 3, 3)], ids=["gray", "colour"])
def test_a_validator_finds_no_error_without_any_tags(tmp_path, shape):
    from S3IMFusionLib.dicom_series import write_series

    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy here: apt-get install dicom3tools")
    voxels = np.arange(np.prod(shape)).reshape(shape)
    source = ("1.2.840.10008.5.1.4.1.1.4", "1.2.3.4")
    for file in write_series(tmp_path / "out", voxels, GRID, (10000, 5000), {}, "a test", [source]):
        result = subprocess.run(["dciodvfy", file], capture_output=True, text=True, encoding="utf-8", check=False)
        assert "SCImage" in result.stderr
        assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == []
        np.testing.assert_array_equal(pydicom.dcmread(file).pixel_array, voxels[int(file.stem) - 1])


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    from S3IMFusionLib.dicom_series import write_series

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FusionError, match=r"file.series cannot be written \(Not a directory\): choose another folder"):
        write_series(tmp_path / "file" / "series", np.zeros((1, 2, 2), np.int16), np.eye(4), (1, 1), {}, "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_second_export_into_the_same_folder_leaves_the_first_as_it_is(dialog, logic, hierarchy, sources, tmp_path):
    """Items have the same numbers in every session, so an existing one may belong to another patient."""
    fused = logic.process(*sources)
    exported(hierarchy, fused, tmp_path)
    first = {file: file.read_bytes() for file in tmp_path.glob("*/*.dcm")}
    error, files = dicom_export.export(dicom_export.choices(item_of(hierarchy, fused))[0], tmp_path)
    assert error == ""
    assert len(files) == 2 * len(first) > 0
    assert {file: file.read_bytes() for file in first} == first
    assert len({pydicom.dcmread(file).SeriesInstanceUID for file in files}) == 2


def test_a_folder_that_was_there_is_not_removed(tmp_path):
    from S3IMFusionLib.dicom_series import write_series

    (tmp_path / "0001.dcm").write_text("of another series")
    with pytest.raises(FusionError, match=r"cannot be written \(File exists\): choose another folder"):
        write_series(tmp_path, np.zeros((1, 2, 2), np.int16), np.eye(4), (1, 1), {}, "")
    assert (tmp_path / "0001.dcm").read_text() == "of another series"


def test_a_slicer_without_its_dicom_module_opens_the_module(scene, application_logic):
    pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")
    import stand_ins

    with stand_ins.in_place(scene, application_logic):
        from S3IMFusion import registerDICOMExport

        registerDICOMExport()
        assert not hasattr(slicer.modules, "dicomPlugins")
