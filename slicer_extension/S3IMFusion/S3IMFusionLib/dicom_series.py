"""Write voxels as a DICOM series of Secondary Captures, marked as derived from other images.

Slicer's own exporter writes every series as original and primary. It needs only numpy and pydicom, which come with
Slicer (pydicom 2.4 in Slicer 5.8 and 5.10, 3 in later ones).
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FusionError
from .i18n import _

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_OF_PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_OPTIONAL = ("PatientComments", "StudyDescription", "SeriesDescription", "SeriesDate", "SeriesTime")
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_RIGHT_ANGLE = 1e-4  # cosine
_PRODUCT = "S3IMFusion"


def write_series(
    folder: Path,
    voxels: np.ndarray,
    ijk_to_ras: np.ndarray,
    window: tuple[float, float],
    tags: Mapping[str, str],
    derivation: str,
    sources: Sequence[tuple[str, str]] = (),
) -> list[Path]:
    """Write one file for each plane K, ``0001.dcm`` and so on.

    Args:
        folder: to create; it must not exist.
        voxels: (K, J, I) of whole numbers in [0, 65535], or (K, J, I, 3) uint8, RGB.
        ijk_to_ras: (4, 4), RAS mm, with axes at right angles.
        window: width and level of gray voxels, in their unit.
        tags: values by keyword, for patient, study and series. Missing or empty UIDs are generated.
        derivation: text that describes how the voxels were made.
        sources: SOP class and instance UID of each source image.

    Returns:
        The files.

    Raises:
        FusionError: if the axes are not at right angles, the folder exists, or a file cannot be written; partial output
            is removed.
    """
    import pydicom

    to_lps = _RAS_TO_LPS @ ijk_to_ras
    steps = np.linalg.norm(to_lps[:3, :3], axis=0)
    axes = to_lps[:3, :3] / steps
    if np.abs(axes.T @ axes - np.eye(3)).max() > _RIGHT_ANGLE:
        raise FusionError(
            _("the volume's axes are not at right angles, which DICOM cannot represent: resample it first")
        )
    common = _series_of(tags, derivation, sources)
    _add_plane(common, axes, steps)
    _add_format(common, voxels, window)
    files = []
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise _cannot_be_written(folder, error) from error
    try:
        for index, plane in enumerate(voxels):
            common.InstanceNumber = index + 1
            common.SOPInstanceUID = common.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
            common.ImagePositionPatient = _decimals(to_lps[:3, 3] + index * to_lps[:3, 2])
            values = np.ascontiguousarray(plane, dtype="u1" if voxels.ndim == 4 else "<u2").tobytes()
            common.PixelData = values + b"\0" * (len(values) % 2)
            common["PixelData"].VR = "OB" if voxels.ndim == 4 else "OW"
            files.append(folder / f"{index + 1:04}.dcm")
            _save(common, files[-1])
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _cannot_be_written(folder, error) from error
    return files


def _cannot_be_written(folder: Path, error: OSError) -> FusionError:
    reason = error.strerror or str(error)
    text = _("{folder} cannot be written ({reason}): choose another folder")
    return FusionError(text.format(folder=folder, reason=reason))


def _series_of(tags: Mapping[str, str], derivation: str, sources: Sequence[tuple[str, str]]) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE_ENDIAN)
    found.SpecificCharacterSet = "ISO_IR 192"
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    for name in _OF_PATIENT_AND_STUDY:
        setattr(found, name, tags.get(name, ""))
    for name in _OPTIONAL:
        if tags.get(name):
            setattr(found, name, tags[name])
    if found.PatientSex not in ("M", "F", "O"):
        found.PatientSex = ""
    found.StudyInstanceUID = tags.get("StudyInstanceUID") or generate_uid()
    found.SeriesInstanceUID = tags.get("SeriesInstanceUID") or generate_uid()
    found.FrameOfReferenceUID = tags.get("FrameOfReferenceUID") or generate_uid()
    number = tags.get("SeriesNumber", "").strip()
    found.SeriesNumber = number if number.isdigit() else None
    found.PositionReferenceIndicator = found.Laterality = ""
    found.Modality, found.ConversionType = "OT", "WSD"  # a fused value is not HU, SUV or an MR signal
    found.Manufacturer = found.SecondaryCaptureDeviceManufacturer = f"The {_PRODUCT} developers"
    found.ManufacturerModelName = found.SecondaryCaptureDeviceManufacturerModelName = _PRODUCT
    found.ImageType = ["DERIVED", "SECONDARY"]
    found.DerivationDescription = derivation[:1024]
    found.ImageComments = "Research use only: not for diagnosis or treatment"
    found.BurnedInAnnotation = "NO"
    if sources:
        found.SourceImageSequence = [_reference(*source) for source in sources]
    return found


def _reference(class_uid: str, instance_uid: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
    return item


def _add_plane(found: Any, axes: np.ndarray, steps: np.ndarray) -> None:
    found.ImageOrientationPatient = _decimals(axes[:, :2].T.ravel())
    found.PixelSpacing = _decimals(steps[[1, 0]])  # from row to row, from column to column
    found.SliceThickness, found.SpacingBetweenSlices = _decimals(steps[[2, 2]])
    letters = (("R", "L"), ("A", "P"), ("F", "H"))  # against and along x, y and z of LPS
    largest = [int(np.abs(axis).argmax()) for axis in axes.T[:2]]
    found.PatientOrientation = [letters[at][int(axes[at, index] > 0)] for index, at in enumerate(largest)]


def _add_format(found: Any, voxels: np.ndarray, window: tuple[float, float]) -> None:
    bits = 8 if voxels.ndim == 4 else 16
    if voxels.ndim == 4:
        found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, "RGB", 0
    else:
        found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
        found.WindowWidth, found.WindowCenter = _decimals(np.array(window))
    found.Rows, found.Columns = voxels.shape[1:3]
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = bits, bits, bits - 1, 0


def _decimals(values: np.ndarray) -> list[str]:
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in np.round(values, 12) + 0.0]


def _save(image: Any, file: Path) -> None:
    import pydicom

    if int(pydicom.__version__.partition(".")[0]) >= 3:
        image.save_as(file, enforce_file_format=True)
    else:
        image.is_little_endian, image.is_implicit_VR = True, False
        image.save_as(file, write_like_original=False)
