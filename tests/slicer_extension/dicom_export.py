"""The steps of Slicer's dialog File > Export to DICOM, without the application.

What each part follows, in Slicer's sources (5.8 to main):

- :class:`Exportable`: Modules/Scripted/DICOMLib/Widgets/qSlicerDICOMExportable.cxx
- :func:`choices`: qSlicerDICOMExportDialog::examineSelectedItem, the highest confidence first
- :func:`fill_tags`: qSlicerDICOMTagEditorWidget::setExportables: the parent item is the study, its parent the patient
- :class:`ScalarVolumePlugin`: DICOMPlugins/DICOMScalarVolumePlugin.py and DICOMLib/DICOMExportScalarVolume.py; the
  genuine files are run in its place where ``SLICER_BASE_PYTHON`` lies in a tree of Slicer's sources
- :func:`create_dicom_series`: Modules/CLI/CreateDICOMSeries, .cxx and .xml, with ITK's GDCMImageIO
"""

# ruff: noqa: N802 - names of Slicer

import importlib.util
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
import slicer
import slicer.util
from scene_tools import LPS_TO_RAS, matrix_of, voxels_of

SOP_CLASSES = {  # modality: SOP class, image type
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "ORIGINAL\\PRIMARY\\MPR"),
    "CR": ("1.2.840.10008.5.1.4.1.1.1", "ORIGINAL\\PRIMARY\\SINGLE PLANE"),
    "NM": ("1.2.840.10008.5.1.4.1.1.20", "ORIGINAL\\PRIMARY\\STATIC"),
    "US": ("1.2.840.10008.5.1.4.1.1.6.1", ""),
    "PT": ("1.2.840.10008.5.1.4.1.1.128", "ORIGINAL\\PRIMARY\\"),
    "SC": ("1.2.840.10008.5.1.4.1.1.7", "ORIGINAL\\PRIMARY\\"),
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "ORIGINAL\\PRIMARY\\AXIAL"),
}
TAGS_OF_CLI = {
    "0010|0010": "patientName",
    "0010|0020": "patientID",
    "0010|0030": "patientBirthDate",
    "0010|0040": "patientSex",
    "0020|0010": "studyID",
    "0008|0020": "studyDate",
    "0008|0030": "studyTime",
    "0008|1030": "studyDescription",
    "0008|0070": "manufacturer",
    "0008|1090": "model",
    "0020|0011": "seriesNumber",
    "0008|103e": "seriesDescription",
    "0028|1050": "windowCenter",
    "0028|1051": "windowWidth",
    "0020|000d": "studyInstanceUID",
    "0020|000e": "seriesInstanceUID",
    "0020|0052": "frameOfReferenceUID",
}


class Exportable:
    def __init__(self):
        self.name, self.tooltip, self.pluginClass, self.directory = "Unknown exporter", "", "", ""
        self.subjectHierarchyItemID, self.confidence = 0, 0.0
        self._tags = {}

    def setTag(self, name, value):
        assert isinstance(name, str)
        assert isinstance(value, str)
        self._tags[name] = value

    def tag(self, name):
        return self._tags.get(name, "")

    def tags(self):
        return dict(self._tags)


class Database:
    """Slicer's DICOM database, of files by instance UID."""

    def __init__(self):
        self.files = {}

    def fileForInstance(self, uid):
        return str(self.files.get(uid, ""))

    def studyForSeries(self, _uid):
        return ""


class DICOMPlugin:
    def __init__(self):
        self.loadType = "Generic DICOM"
        self.tags = {}

    def examineForImport(self, _file_lists):
        return []


class ScalarVolumePlugin(DICOMPlugin):
    def examineForExport(self, item):
        node = hierarchy().GetItemDataNode(item)
        if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
            return []
        exportable = slicer.qSlicerDICOMExportable()
        exportable.subjectHierarchyItemID, exportable.confidence = item, 0.5
        exportable.pluginClass = "DICOMScalarVolumePlugin"
        for name, value in {
            "SeriesDescription": "No series description",
            "Modality": "CT",
            "Manufacturer": "Unknown manufacturer",
            "Model": "Unknown model",
            "SeriesNumber": "301",
            "SeriesInstanceUID": "",
            "FrameOfReferenceUID": "",
            "StudyInstanceUID": "",
        }.items():
            exportable.setTag(name, value)
        return [exportable]

    def export(self, exportables):
        import pydicom

        for exportable in exportables:
            node = hierarchy().GetItemDataNode(exportable.subjectHierarchyItemID)
            folder = Path(exportable.directory) / f"ScalarVolume_{exportable.subjectHierarchyItemID}"
            folder.mkdir(parents=True)
            display = node.GetDisplayNode()
            parameters = {
                name: exportable.tag(tag)
                for name, tag in {
                    "patientName": "PatientName",
                    "patientID": "PatientID",
                    "patientBirthDate": "PatientBirthDate",
                    "patientSex": "PatientSex",
                    "studyID": "StudyID",
                    "studyDate": "StudyDate",
                    "studyTime": "StudyTime",
                    "studyDescription": "StudyDescription",
                    "modality": "Modality",
                    "manufacturer": "Manufacturer",
                    "model": "Model",
                    "seriesDescription": "SeriesDescription",
                    "seriesNumber": "SeriesNumber",
                }.items()
            }
            parameters |= {
                f"{name[0].lower()}{name[1:]}": exportable.tag(name) or pydicom.uid.generate_uid()
                for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
            }
            parameters |= {"windowCenter": str(display.GetLevel()), "windowWidth": str(display.GetWindow())}
            parameters |= {"inputVolume": node.GetID(), "dicomDirectory": str(folder), "dicomPrefix": "IMG"}
            node = slicer.cli.run(slicer.modules.createdicomseries, None, parameters, wait_for_completion=True)
            if node.GetStatus() != node.Completed:
                return "Creating DICOM files from scalar volume failed. See the application log for details."
        return ""


class CliNode(slicer.vtkMRMLScriptedModuleNode):
    Completed, CompletedWithErrors = 1, 2
    status = Completed

    def GetStatus(self):
        return self.status


def run_cli(module, _node, parameters, wait_for_completion=False):
    assert wait_for_completion
    done = CliNode()
    slicer.mrmlScene.AddNode(done)
    done.status = CliNode.Completed if module(parameters) else CliNode.CompletedWithErrors
    return done


def create_dicom_series(parameters):
    """Write; False for a modality that the program does not know, which its command line refuses."""
    if parameters["modality"] not in SOP_CLASSES:
        return False
    sop_class, image_type = SOP_CLASSES[parameters["modality"]]
    image = _as_itk(slicer.mrmlScene.GetNodeByID(parameters["inputVolume"]))
    direction, spacing = np.reshape(image.GetDirection(), (3, 3)), image.GetSpacing()
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    for index in range(image.GetSize()[2]):
        plane = image[:, :, index]
        values = {tag: parameters[name] for tag, name in TAGS_OF_CLI.items() if parameters.get(name)}
        values |= {"0008|0005": "ISO_IR 192", "0008|0016": sop_class, "0008|0008": image_type}
        values |= {"0008|0060": parameters["modality"], "0018|5100": "HFS", "0020|0013": str(index + 1)}
        values["0028|1054"] = "HU" if parameters["modality"] == "CT" else ""
        values["0020|0032"] = "\\".join(f"{x:g}" for x in image.TransformIndexToPhysicalPoint((0, 0, index)))
        values["0020|0037"] = "\\".join(f"{x:g}" for x in direction[:, :2].T.ravel())
        values["0018|0050"] = f"{spacing[2]:g}"
        for tag, value in values.items():
            plane.SetMetaData(tag, value)
        writer.SetFileName(f"{parameters['dicomDirectory']}/{parameters['dicomPrefix']}{index + 1:04}.dcm")
        writer.Execute(plane)
    return True


def _as_itk(node):
    """The volume as ITK's reader gives it to a program of short voxels: cut off behind the point, colours made gray."""
    voxels = voxels_of(node)
    voxels = voxels @ [0.2125, 0.7154, 0.0721] if voxels.ndim == 4 else voxels
    image, to_lps = sitk.GetImageFromArray(voxels.astype(np.int16)), LPS_TO_RAS @ matrix_of(node)
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((to_lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(to_lps[:3, 3].tolist())
    return image


def hierarchy():
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def choices(item):
    """What the dialog lists, the highest confidence first."""
    found = [one for plugin in slicer.modules.dicomPlugins.values() for one in plugin().examineForExport(item)]
    return sorted(found, key=lambda one: -one.confidence)


def fill_tags(exportable):
    """What the table of tags shows, which the user may edit."""
    items, item = hierarchy(), exportable.subjectHierarchyItemID
    study = items.GetItemParent(item)
    patient = items.GetItemParent(study)
    if not patient:
        return "No patient found"
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    names = constants.GetDICOMPatientTagNames(), constants.GetDICOMStudyTagNames()
    for above, known in zip((patient, study), names, strict=True):
        own = [name[6:] for name in items.GetItemAttributeNames(above) if name.startswith("DICOM.")]
        for name in {*known, *own}:
            exportable.setTag(name, items.GetItemAttribute(above, f"DICOM.{name}"))
    for name in exportable.tags():
        if name not in (*names[0], *names[1]) and items.HasItemAttribute(item, f"DICOM.{name}"):
            exportable.setTag(name, items.GetItemAttribute(item, f"DICOM.{name}"))
    return ""


def export(exportable, folder):
    """The error message, and the files."""
    error = fill_tags(exportable)
    if error:
        return error, []
    exportable.directory = str(folder)
    error = slicer.modules.dicomPlugins[exportable.pluginClass]().export([exportable])
    return error, sorted(Path(folder).glob("*/*.dcm"))


@contextmanager
def in_place():
    """Puts DICOMLib, the plugin of scalar volumes and what they need where Slicer has them; within the stand-ins."""
    from PySide6 import QtCore
    from stand_ins import BASE_PYTHON

    slicer.qSlicerDICOMExportable, slicer.dicomDatabase = Exportable, Database()
    slicer.cli = types.SimpleNamespace(run=run_cli)
    slicer.modules.createdicomseries = create_dicom_series
    library = types.ModuleType("DICOMLib")
    library.DICOMPlugin, plugin_class = DICOMPlugin, ScalarVolumePlugin
    modules = {"DICOMLib": library}
    sys.modules["DICOMLib"] = library
    sources = Path(BASE_PYTHON).parents[1] / "Modules" / "Scripted" if BASE_PYTHON else None
    if sources is not None and sources.is_dir():
        sys.modules["qt"].QDir = QtCore.QDir
        modules["vtkITK"] = sys.modules["vtkITK"] = types.ModuleType("vtkITK")
        slicer.util.LazyImport = getattr(slicer.util, "LazyImport", importlib.import_module)
        for name in ("DICOMPlugin", "DICOMExportScalarVolume"):
            library.__dict__.update(_load(sources / "DICOMLib" / f"{name}.py").__dict__)
        library.DICOMUtils = types.ModuleType("DICOMUtils")
        genuine = _load(sources / "DICOMPlugins" / "DICOMScalarVolumePlugin.py")
        plugin_class = genuine.DICOMScalarVolumePluginClass
    slicer.modules.dicomPlugins = {"DICOMScalarVolumePlugin": plugin_class}
    try:
        yield slicer.dicomDatabase
    finally:
        for name in (*modules, "DICOMScalarVolumePlugin", "S3IMFusionLib.dicom_plugin"):
            sys.modules.pop(name, None)
        del slicer.qSlicerDICOMExportable, slicer.dicomDatabase, slicer.cli


def _load(file):
    specification = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(specification)
    sys.modules[file.stem] = module
    specification.loader.exec_module(module)
    return module
