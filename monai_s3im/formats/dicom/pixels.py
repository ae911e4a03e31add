"""The pixels of a DICOM file, as stored."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from monai_s3im.formats.damage import damage_as_input_error
from monai_s3im.formats.quiet import quiet_stderr

from .deflated import MOST_OF_A_HEADER, opened

_PIXEL_TAGS = """
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable
    ExtendedOffsetTableLengths
""".split()  # noqa: SIM905 (as a list it fills a page)

_MOST_PIXELS = 2**32  # maximum bytes to unpack from a deflated file


def stored_values(file: Path, header: Dataset) -> NDArray[Any]:
    """The pixels as stored, (rows, columns) or (frames, rows, columns).

    Args:
        file: the file.
        header: its header; no more pixels than it declares are unpacked.

    Raises:
        InputError: the file is damaged or cut short.
    """
    with damage_as_input_error(file, is_dicom=True), opened(file, MOST_OF_A_HEADER + _bytes_of(header)) as stream:
        image = pydicom.dcmread(stream, force=True, specific_tags=[*_PIXEL_TAGS])
        if "TransferSyntaxUID" not in image.file_meta:  # a file without a preamble
            is_implicit = image.original_encoding[0]
            image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
        syntax = image.file_meta.TransferSyntaxUID
        if not syntax.is_encapsulated or syntax == RLELossless:
            return image.pixel_array
        return _decompressed(image)


def _bytes_of(header: Dataset) -> int:
    counts = [int(header.get(name) or 1) for name in ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")]
    return min(math.prod(counts) * (int(header.get("BitsAllocated") or 16) // 8 + 1), _MOST_PIXELS)


def is_padding(stored: NDArray[Any], header: Dataset) -> NDArray[np.bool_] | None:
    """Mask of padding: PixelPaddingValue up to PixelPaddingRangeLimit; None if the file declares none.

    The two tags are compared by their bits: headers may write -2000 as 63536 and vice versa.

    Args:
        stored: as :func:`stored_values` gives them.
        header: of the file.
    """
    if stored.dtype.kind not in "iu":
        return None
    bits = 8 * stored.dtype.itemsize
    ends = []
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = header.get(name)
        if isinstance(value, int):
            ends.append(int(np.array(value % 2**bits, dtype=f"u{stored.dtype.itemsize}").astype(stored.dtype)))
        elif not ends:
            return None
    return np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def fill_padding(planes: list[NDArray[np.float32]], is_hounsfield: bool) -> None:
    """Replace padding (NaN) by the background value, in place.

    Args:
        planes: values of one volume.
        is_hounsfield: whether it is a CT in HU with air, -1000, as background; else background is 0, or the smallest
            other value if negative.
    """
    if not any(np.isnan(plane).any() for plane in planes):
        return
    known = [float(np.nanmin(plane)) for plane in planes if not np.isnan(plane).all()]
    background = -1000.0 if is_hounsfield else min([*known, 0.0])
    for plane in planes:
        plane[np.isnan(plane)] = background


def _decompressed(image: pydicom.FileDataset) -> NDArray[Any]:
    """Decode a copy with only the pixels by GDCM, which would otherwise apply a slope."""
    image.PixelData = _one_fragment_a_frame(image)
    image.SOPClassUID = SecondaryCaptureImageStorage
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
    """Join the fragments of each compressed frame: GDCM takes every fragment as a frame."""
    frames = int(image.get("NumberOfFrames") or 1)
    offsets = None
    if "ExtendedOffsetTable" in image:
        offsets = (image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths)
        del image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths
    whole = pydicom.encaps.generate_frames(image.PixelData, number_of_frames=frames, extended_offsets=offsets)
    return pydicom.encaps.encapsulate([frame for _, frame in zip(range(frames), whole, strict=False)])
