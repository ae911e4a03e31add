"""DICOM studies with two series of the phantom."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

STORAGE = {
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
SUV_FACTOR = 0.0004
"""Factor of the PET: 80 kg, and 200 MBq at the time to which the activity is corrected."""


def write_study(pair: Path, folder: Path, shift_mm: float) -> Path:
    """Write ``t1.nii.gz`` as MR, and ``ct.nii.gz`` as CT, shifted diagonally by a total of ``shift_mm``."""
    study = _new_study()
    mr, ct = (nibabel.load(pair / f"{name}.nii.gz") for name in ("t1", "ct"))
    moved = ct.affine.copy()
    moved[:3, 3] += shift_mm / np.sqrt(3)
    _write_series(mr, mr.affine, folder / "1", {**study, "Modality": "MR", "SeriesDescription": "BRAIN T1"})
    _write_series(ct, moved, folder / "2", {**study, "Modality": "CT", "SeriesDescription": "HEAD CT"})
    return folder


def write_pet_study(mr: nibabel.Nifti1Image, pet: nibabel.Nifti1Image, folder: Path) -> Path:
    """Write an MR, and a PET in Bq/ml with :data:`SUV_FACTOR` and another frame of reference."""
    study = _new_study()
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = 200e6, 6586.2
    drug.RadiopharmaceuticalStartTime = "110000"
    uptake = {"Units": "BQML", "DecayCorrection": "ADMIN", "PatientWeight": 80.0, "CorrectedImage": ["DECY", "ATTN"]}
    uptake |= {"RadiopharmaceuticalInformationSequence": [drug]}
    _write_series(mr, mr.affine, folder / "1", {**study, "Modality": "MR", "SeriesDescription": "BRAIN T1"})
    tags = {**study, **uptake, "Modality": "PT", "SeriesDescription": "BRAIN FDG"}
    tags["FrameOfReferenceUID"] = generate_uid()
    _write_series(pet, pet.affine, folder / "2", tags)
    return folder


def _new_study() -> dict[str, Any]:
    return {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}


def _write_series(image: nibabel.Nifti1Image, affine: np.ndarray, folder: Path, tags: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    voxels = np.rint(np.asarray(image.dataobj)).astype(np.int16)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    series = generate_uid()
    for index in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = STORAGE[tags["Modality"]]
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{index + 1:04}.dcm"
        image_file: Dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
        image_file.SOPClassUID, image_file.SOPInstanceUID = STORAGE[tags["Modality"]], meta.MediaStorageSOPInstanceUID
        image_file.SeriesInstanceUID = series
        for name, value in tags.items():
            setattr(image_file, name, value)
        image_file.PatientName, image_file.PatientID = "Phantom^Head", "PH1"
        image_file.PatientBirthDate, image_file.PatientSex = "", ""
        image_file.StudyDate, image_file.StudyTime, image_file.StudyID = "20200101", "120000", "1"
        image_file.AccessionNumber, image_file.ReferringPhysicianName = "", ""
        image_file.SeriesNumber, image_file.InstanceNumber = int(folder.name), index + 1
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
