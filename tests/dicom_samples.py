"""Synthetic DICOM series, with a patient's name and more planted in the tags."""

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image

PLANTED = ("PLANTED^NAME", "PLANTED-ID", "19010203", "PLANTED-STORY", "PLANTED-PLACE")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# 30 degrees about x: rows to the left, columns to the back and up; by hand.
OBLIQUE = (1.0, 0.0, 0.0, 0.0, 0.8660254037844387, 0.5)


def new_slice(pixels, position=(0, 0, 0), orientation=AXIAL, spacing=(0.7, 0.8), modality="CT", **tags):
    """A slice: pixels (rows, columns); spacing from row to row, and from column to column."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.PatientName, image.PatientID, image.PatientBirthDate, image.SeriesDescription = PLANTED[:4]
    image.InstitutionName = image.ProtocolName = PLANTED[4]
    image.Modality, image.SeriesNumber = modality, 3
    image.Rows, image.Columns = pixels.shape[-2:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.ImagePositionPatient = [float(v) for v in position]
    image.ImageOrientationPatient = list(orientation)
    image.PixelSpacing, image.SliceThickness = list(spacing), 2.0
    image.PixelData = pixels.astype("<i2").tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(image, name)
        else:
            setattr(image, name, value)
    return image


def write_slices(folder, slices, names=None, uid="1.2.3.4"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(slices):
        image.SeriesInstanceUID = uid
        image.InstanceNumber = 7  # says nothing
        name = names[number] if names else f"i{number:03}.dcm"
        image.save_as(folder / name, enforce_file_format=True)
    return folder


def stored_volume(shape=(6, 5, 4), seed=0):
    """Stored values (slices, rows, columns)."""
    return np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)


def normal_of(orientation):
    return np.cross(orientation[:3], orientation[3:])


def series_of(volume, orientation=AXIAL, first=(10.0, -20.0, 30.0), step=2.0, heights=None, **tags):
    """One slice for each plane of `volume`, at `step` mm or at the `heights` along the normal."""
    heights = np.arange(len(volume)) * step if heights is None else heights
    normal = normal_of(orientation)
    return [
        new_slice(pixels, np.array(first) + height * normal, orientation, **tags)
        for pixels, height in zip(volume, heights, strict=True)
    ]


def group(**values):
    """A sequence of one item, as functional groups are made of."""
    item = FileDataset(None, {})
    for name, value in values.items():
        setattr(item, name, value)
    return Sequence([item])


def planes_in(path):
    """The values read from a series, (slices, rows, columns)."""
    return read_image(path)[0].numpy().transpose(2, 1, 0)


def refusal_of(path):
    """The message about an unreadable series."""
    with pytest.raises(InputError) as raised:
        read_image(path)
    return str(raised.value)
