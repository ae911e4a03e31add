"""The pixels of a DICOM file, as stored."""

import tempfile
from pathlib import Path
from typing import Any

import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from monai_s3im.formats.quiet import quiet_stderr

from .headers import damage_as_input_error

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PIXEL_TAGS = """
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable
    ExtendedOffsetTableLengths
""".split()  # noqa: SIM905 (as a list it fills a page)


def stored_values(file: Path) -> NDArray[Any]:
    """The pixels as stored, (rows, columns) or (frames, rows, columns).

    Raises:
        InputError: the file is damaged or cut short.
    """
    with damage_as_input_error(file):
        image = pydicom.dcmread(file, force=True, specific_tags=[*_PIXEL_TAGS])
        if "TransferSyntaxUID" not in image.file_meta:  # a file without a preamble
            is_implicit = image.original_encoding[0]
            image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
        syntax = image.file_meta.TransferSyntaxUID
        if not syntax.is_encapsulated or syntax == RLELossless:
            return image.pixel_array
        return _decompressed(image)


def _decompressed(image: pydicom.FileDataset) -> NDArray[Any]:
    """Decode by GDCM a copy that has the pixels only, so that GDCM applies no slope of its own."""
    image.PixelData = _one_fragment_a_frame(image)
    image.SOPClassUID = _SECONDARY_CAPTURE
    image.SOPInstanceUID = pydicom.uid.generate_uid()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = image.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    image.file_meta = meta
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        copy = Path(folder) / "pixels.dcm"
        image.save_as(copy, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(copy), imageIO="GDCMImageIO"))


def _one_fragment_a_frame(image: pydicom.FileDataset) -> bytes:
    """Compressed frames that are cut into several fragments are put together: GDCM takes a fragment for a frame."""
    frames = int(image.get("NumberOfFrames") or 1)
    offsets = None
    if "ExtendedOffsetTable" in image:
        offsets = (image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths)
        del image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths
    whole = pydicom.encaps.generate_frames(image.PixelData, number_of_frames=frames, extended_offsets=offsets)
    return pydicom.encaps.encapsulate([frame for _, frame in zip(range(frames), whole, strict=False)])
