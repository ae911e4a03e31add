"""Write a fused volume as a DICOM series in the patient's study.

Each slice is a Secondary Capture with the Image Plane module (PS3.3 A.8.1, C.7.6.2); docs/guides/dicom.md says why.
Patient and study come from a source, and never appear in a name, log or message. The same volume from the same sources
gives the same bytes: UIDs derive from the content, and dates from the study.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from monai.data import MetaTensor
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from monai_s3im import __version__
from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.atomic import write_folder
from monai_s3im.formats.checks import has_right_angles
from monai_s3im.formats.damage import silenced
from monai_s3im.formats.paths import exists, isdir, isfile, suffix_of
from monai_s3im.formats.reading import LPS_TO_RAS
from monai_s3im.formats.writing import unit_range

from .headers import read_header
from .series import is_series, series_folder
from .study import SourceSeries, read_source_series, study_of

_PRODUCT = "S3IMFusion"
_FILE_NAME = re.compile(r"[0-9]{4,}\.dcm")
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}")
_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # against and along the x, y and z axis of LPS
_UPRIGHT = ("PFR", "LFP", "LPH")  # directions of rows, columns and slices, for slices across x, y and z
_LARGEST_NUMBER = 2**31 - 1
_LONGEST_TEXT = 1024


def check_series_output(folder: Path, sources: Iterable[str | Path]) -> None:
    """Refuse, before any computation, a series that could not be written or would replace other files.

    Args:
        folder: folder for the series.
        sources: files and series to fuse.

    Raises:
        InputError: no source is a DICOM series, one lacks a UID that the new series needs, or the folder is a source or
            has a file's name.
        OutputError: a file of that name exists, or the folder has files other than an earlier fused series.
    """
    paths = [Path(source) for source in sources]
    if suffix_of(folder):
        raise InputError(f"{folder} is a file name, but a DICOM series is a folder: name a folder")
    folders = [series_folder(path) for path in paths if is_series(path)]
    if any(exists(folder) and folder.samefile(other) for other in folders if exists(other)):
        raise InputError(f"{folder} is one of the inputs and would be overwritten: choose another output")
    if isfile(folder):
        raise OutputError(f"{folder} is a file, but a DICOM series is a folder: name a folder")
    if isdir(folder) and not all(_is_ours(file) for file in folder.iterdir()):
        raise OutputError(f"{folder} has files that are not of an earlier fused series: choose another folder")
    series = [path for path in paths if is_series(path)]
    if not series:
        named = " and ".join(map(str, paths)) or "tensors"
        raise InputError(
            f"{named} are not DICOM series, and a fused series belongs to the study of one: give at least one of the "
            "sources as DICOM, or leave DICOM output out"
        )
    for each in series:
        read_source_series(each)


def write_series(
    image: MetaTensor,
    folder: Path,
    sources: Mapping[str, Path],
    frame_of: str | None,
    modalities: Iterable[str],
    settings: Mapping[str, Any],
) -> None:
    """Write a volume as Secondary Captures ``0001.dcm``, ``0002.dcm``, ..., one for each plane of the third array axis.

    Gray is stored as round(65535 x), RGB as round(255 x). Planes are oriented for viewing: the patient's right on the
    left of axial and coronal planes, the front on the left of sagittal ones, the head up.

    Args:
        image: (1 or 3, X, Y, Z) in [0, 1] with affine, RAS mm.
        folder: folder to write or replace; see :func:`check_series_output`.
        sources: the source DICOM series by name; the first gives patient and study.
        frame_of: name of the series whose frame of reference the volume has; None: of none.
        modalities: modalities fused, for the description.
        settings: settings used, for the description.

    Raises:
        InputError: a source cannot be read or lacks a UID, or the axes of the volume are not at right angles.
        OutputError: the folder cannot be written; nothing is left behind, and existing content is unchanged.
    """
    with silenced("pydicom"):  # it logs text of the sources, such as an unknown character set
        series = {name: read_source_series(path) for name, path in sources.items()}
        pixels, affine = _upright_slices(image, folder)
        title = "+".join(modality.upper() for modality in modalities)
        common = _common(series, frame_of, pixels, affine, _derivation(title, settings))
        common.SeriesDescription = f"{_PRODUCT} {title}"
        write_folder(folder, lambda temporary: _write_slices(common, pixels, affine, temporary))


def _common(
    series: Mapping[str, SourceSeries],
    frame_of: str | None,
    pixels: NDArray[Any],
    affine: NDArray[np.float64],
    derivation: str,
) -> Dataset:
    """The tags that all slices share."""
    common = study_of(series.values())
    common.update(_equipment())
    common.update(_image_plane(affine))
    common.update(_pixel_format(pixels))
    common.SeriesNumber = _series_number(next(iter(series.values())))
    common.ImageType = ["DERIVED", "SECONDARY"]
    common.DerivationDescription = derivation
    common.ImageComments = "Research use only: not for diagnosis or treatment"
    content = _digest(series.values(), derivation, pixels, affine)
    common.SeriesInstanceUID = generate_uid(entropy_srcs=["series", content])
    frame = series[frame_of].header if frame_of else Dataset()
    new_frame = generate_uid(entropy_srcs=["frame of reference", content])
    common.FrameOfReferenceUID = frame.get("FrameOfReferenceUID") or new_frame
    common.PositionReferenceIndicator = frame.get("PositionReferenceIndicator")
    return common


def _is_ours(file: Path) -> bool:
    if not _FILE_NAME.fullmatch(file.name) or not isfile(file):
        return False
    name = "SecondaryCaptureDeviceManufacturerModelName"
    try:
        return bool(read_header(file, [name]).get(name) == _PRODUCT)
    except InputError:
        return False


def _equipment() -> Dataset:
    found, purpose, item = Dataset(), Dataset(), Dataset()
    found.Modality, found.ConversionType = "OT", "WSD"  # a fused value is not HU, SUV or MR signal
    item.Manufacturer, item.ManufacturerModelName = f"The {_PRODUCT} developers", _PRODUCT
    item.SoftwareVersions = f"monai-s3im {__version__}"
    found.update(item)
    found.SecondaryCaptureDeviceManufacturer = item.Manufacturer
    found.SecondaryCaptureDeviceManufacturerModelName = _PRODUCT
    found.SecondaryCaptureDeviceSoftwareVersions = item.SoftwareVersions
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109102", "DCM", "Processing Equipment"
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    item.ContributionDescription = "Fusion of volumes by a neural network (doi 10.1038/s41598-025-93662-6)"
    found.ContributingEquipmentSequence = Sequence([item])
    return found


def _series_number(study: SourceSeries) -> int:
    """The first source's series number plus 1000, to sort after the study's own series; text counts as 0."""
    text = str(study.header.get("SeriesNumber") or "").strip()
    number = int(text) if _NUMBER.fullmatch(text) else 0
    return 1000 + (number if 0 <= number <= _LARGEST_NUMBER - 1000 else 0)


def _derivation(title: str, settings: Mapping[str, Any]) -> str:
    reported = [f"{name} {value}" for name, value in settings.items() if not isinstance(value, Mapping | None | bool)]
    text = f"{title} fused by {_PRODUCT}, monai-s3im {__version__}: {', '.join(reported)}"
    return text.encode("ascii", "replace").decode()[:_LONGEST_TEXT]


def _digest(series: Iterable[SourceSeries], derivation: str, pixels: NDArray[Any], affine: NDArray[np.float64]) -> str:
    digest = hashlib.sha256(derivation.encode())
    for source in series:
        digest.update("".join(item.ReferencedSOPInstanceUID for item in source.images).encode())
    digest.update(pixels.data)
    digest.update(affine.tobytes())
    return digest.hexdigest()


def _upright_slices(image: MetaTensor, folder: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Pixels (slices, rows, columns) or (slices, rows, columns, 3), and column, row, slice -> LPS mm."""
    affine = LPS_TO_RAS @ np.asarray(image.affine.cpu(), dtype=np.float64)
    if not has_right_angles(affine):
        raise InputError(
            f"{folder} cannot be DICOM, as the axes of the grid are not at right angles: choose a spacing, which makes "
            "them straight, or leave DICOM output out"
        )
    values = np.moveaxis(unit_range(image), 0, -1)
    voxels = np.rint(255 * values).astype("u1") if values.shape[-1] == 3 else np.rint(65535 * values).astype("<u2")
    found = nib.orientations.io_orientation(affine)
    wanted = nib.orientations.axcodes2ornt(_UPRIGHT[int(found[2, 0])], _LETTERS)
    turn = nib.orientations.ornt_transform(found, wanted)
    pixels = np.ascontiguousarray(nib.orientations.apply_orientation(voxels, turn).transpose(2, 1, 0, 3))
    upright = affine @ nib.orientations.inv_ornt_aff(turn, values.shape[:3])
    return pixels if pixels.shape[-1] == 3 else pixels[..., 0], upright


def _image_plane(affine: NDArray[np.float64]) -> Dataset:
    plane = Dataset()
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    plane.ImageOrientationPatient = _decimals((affine[:3, :2] / steps[:2]).T.ravel())
    plane.PixelSpacing = _decimals(steps[[1, 0]])  # from row to row, from column to column
    plane.SliceThickness, plane.SpacingBetweenSlices = _decimals(steps[[2, 2]])
    plane.PatientOrientation = [*nib.aff2axcodes(affine, _LETTERS)[:2]]
    return plane


def _decimals(values: NDArray[np.float64]) -> list[str]:
    """Text of at most 16 characters; a cosine of 1e-200, which GDCM reads as NaN, becomes 0."""
    return [format_number_as_ds(value) for value in (values.round(12) + 0.0).tolist()]


def _pixel_format(pixels: NDArray[Any]) -> Dataset:
    found, bits = Dataset(), 8 * pixels.itemsize
    if pixels.ndim == 4:
        found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, "RGB", 0
    else:
        found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
        found.WindowCenter, found.WindowWidth = 2 ** (bits - 1), 2**bits
    found.Rows, found.Columns = pixels.shape[1:3]
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = bits, bits, bits - 1, 0
    return found


def _write_slices(common: Dataset, pixels: NDArray[Any], affine: NDArray[np.float64], folder: Path) -> None:
    common.file_meta = FileMetaDataset()
    common.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    common.SOPClassUID, common.SOPInstanceUID = SecondaryCaptureImageStorage, common.SeriesInstanceUID
    plane = pydicom.dcmread(io.BytesIO(_encoded(common)))  # the long sequences stay bytes and are written unchanged
    for index, values in enumerate(pixels):
        plane.InstanceNumber = index + 1
        plane.SOPInstanceUID = generate_uid(entropy_srcs=[common.SeriesInstanceUID, str(index + 1)])
        plane.file_meta.MediaStorageSOPInstanceUID = plane.SOPInstanceUID
        plane.ImagePositionPatient = _decimals(affine[:3, 3] + index * affine[:3, 2])
        plane.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
        plane["PixelData"].VR = "OW" if values.itemsize == 2 else "OB"
        (folder / f"{index + 1:04}.dcm").write_bytes(_encoded(plane))


def _encoded(image: Dataset) -> bytes:
    """The bytes of a file, in memory; pydicom would hide the cause of an OSError, such as a full disk."""
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
