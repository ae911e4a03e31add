"""A DICOM study of two series, made of volumes of the phantom."""

from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

STORAGE = {"MR": "1.2.840.10008.5.1.4.1.1.4", "CT": "1.2.840.10008.5.1.4.1.1.2"}


def write_study(pair: Path, folder: Path, shift_mm: float) -> Path:
    """Write ``t1.nii.gz`` as MR and ``ct.nii.gz``, moved along all axes by ``shift_mm`` in all, as CT."""
    study = {"study": generate_uid(), "frame": generate_uid()}
    for number, (name, modality, title) in enumerate((("t1", "MR", "BRAIN T1"), ("ct", "CT", "HEAD CT")), start=1):
        image = nibabel.load(pair / f"{name}.nii.gz")
        affine = image.affine.copy()
        if modality == "CT":
            affine[:3, 3] += shift_mm / np.sqrt(3)
        _write_series(image, affine, folder / f"{number}", modality, title, number, study)
    return folder


def _write_series(
    image: nibabel.Nifti1Image,
    affine: np.ndarray,
    folder: Path,
    modality: str,
    title: str,
    number: int,
    study: dict[str, str],
) -> None:
    folder.mkdir(parents=True)
    voxels = np.rint(np.asarray(image.dataobj)).astype(np.int16)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    series = generate_uid()
    for index in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = STORAGE[modality]
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{index + 1:04}.dcm"
        image_file: Dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
        image_file.SOPClassUID, image_file.SOPInstanceUID = STORAGE[modality], meta.MediaStorageSOPInstanceUID
        image_file.StudyInstanceUID, image_file.SeriesInstanceUID = study["study"], series
        image_file.FrameOfReferenceUID = study["frame"]
        image_file.PatientName, image_file.PatientID = "Phantom^Head", "PH1"
        image_file.PatientBirthDate, image_file.PatientSex = "", ""
        image_file.StudyDate, image_file.StudyTime, image_file.StudyID = "20200101", "120000", "1"
        image_file.AccessionNumber, image_file.ReferringPhysicianName = "", ""
        image_file.Modality, image_file.SeriesDescription, image_file.SeriesNumber = modality, title, number
        image_file.InstanceNumber = index + 1
        image_file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image_file.ImageOrientationPatient = [*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1])]
        image_file.ImagePositionPatient = [f"{value:.6g}" for value in lps[:3, 3] + index * lps[:3, 2]]
        image_file.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        image_file.SliceThickness = float(spacing[2])
        image_file.SamplesPerPixel, image_file.PhotometricInterpretation = 1, "MONOCHROME2"
        image_file.Rows, image_file.Columns = voxels.shape[1], voxels.shape[0]
        image_file.BitsAllocated = image_file.BitsStored = 16
        image_file.HighBit, image_file.PixelRepresentation = 15, 1
        image_file.RescaleSlope, image_file.RescaleIntercept = 1, 0
        image_file.PixelData = np.ascontiguousarray(voxels[:, :, index].T).tobytes()
        image_file.save_as(path, enforce_file_format=True)
