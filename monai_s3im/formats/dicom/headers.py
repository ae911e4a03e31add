"""The headers of the DICOM files below a folder, each read once.

A file is recognised as DICOM by its first bytes, whatever its name. Headers of the last few folders are cached, and
read again when a file's size or time changes. Most values are converted, and so checked, only for the series that is
used: see :func:`convert_values`.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from monai_s3im.errors import InputError
from monai_s3im.formats.damage import damage_as_input_error, damaged, silenced
from monai_s3im.formats.paths import DICOM_SUFFIXES, isfile, suffix_of
from monai_s3im.modalities import DICOM_CODES

from .deflated import opened

logger = logging.getLogger(__name__)

_OTHER_TAGS = ("CR", "DX", "KO", "OT", "PR", "REG", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SR", "XA")
_DIRECTORY = "1.2.840.10008.1.3.10"
_HEADER_TAGS = """
    SOPClassUID SOPInstanceUID ImageType Modality SeriesInstanceUID SeriesNumber SeriesDescription InstanceNumber
    StudyInstanceUID SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored PixelRepresentation
    NumberOfFrames Rows Columns ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness
    SpacingBetweenSlices RescaleSlope RescaleIntercept PixelPaddingValue PixelPaddingRangeLimit
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DetectorInformationSequence
    SliceVector EnergyWindowVector DetectorVector RotationVector PhaseVector RRIntervalVector TimeSlotVector
    TimeSliceVector NumberOfSlices
    DoseUnits DoseSummationType DoseGridScaling GridFrameOffsetVector
    EchoTime EchoNumbers DiffusionBValue DiffusionGradientOrientation InversionTime FlipAngle StackID
    TemporalPositionIdentifier TriggerTime FrameReferenceTime AcquisitionNumber AcquisitionDate AcquisitionTime
    AcquisitionDateTime ConvolutionKernel ImageIndex BodyPartExamined ProtocolName
""".split()  # noqa: SIM905 (as a list it fills a page)
_PRIVATE_B_VALUES = (0x0019100C, 0x20011003)  # Siemens, Philips
_PRIVATE_CREATORS = (0x00190010, 0x20010010)
_TAGS = [*map(Tag, _HEADER_TAGS), *map(Tag, _PRIVATE_CREATORS + _PRIVATE_B_VALUES)]
_IDENTITY = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SeriesNumber")
_COUNTS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored")
_RAW_SUFFIX = ".img"  # slices of GE and Agfa, and voxels of Analyze and NIfTI
_KEPT_FOLDERS = 4
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")  # little endian
_VALUE_REPRESENTATIONS = (b"UL", b"UI", b"OB", b"CS", b"DA", b"TM", b"SH", b"LO", b"LT", b"ST", b"PN", b"SQ", b"US")


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used.

    Attributes:
        file: which.
        reason: the problem and the remedy.
        series: SeriesInstanceUID, if it could still be read.
        is_dicom: False if neither its bytes nor their absence look like a DICOM file.
    """

    file: Path
    reason: str
    series: str | None = None
    is_dicom: bool = True


@dataclass
class Scan:
    """The DICOM files below a folder.

    Attributes:
        images: files with pixels, and their headers.
        others: kinds of the files without pixels.
        bad: files that cannot be used.
        by_series: the images by series, once they were sorted.
    """

    images: list[tuple[Path, Dataset]] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    bad: list[BadFile] = field(default_factory=list)
    by_series: dict[str, list[tuple[Path, Dataset]]] | None = None


_Outcome = Dataset | BadFile | str
_Stamp = tuple[int, int]  # size, and time of the last change
_kept: "OrderedDict[Path, tuple[dict[Path, _Stamp], dict[Path, _Outcome], Scan]]" = OrderedDict()
_lock = Lock()


def may_be_dicom(file: Path) -> bool:
    """Whether the name or the first bytes mark it as DICOM, unless the name is of another format."""
    if file.suffix.lower() in DICOM_SUFFIXES:
        return True
    if suffix_of(file) == _RAW_SUFFIX:  # voxels can start with any bytes
        return _first_bytes(file)[128:] == b"DICM"
    return not suffix_of(file) and looks_like_dicom(file)


def looks_like_dicom(file: Path) -> bool:
    """Whether the first bytes are those of a DICOM file, with or without a preamble."""
    first = _first_bytes(file)
    return first[128:] == b"DICM" or _has_no_preamble(first)


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(132)
    except OSError:
        return b""


def files_below(folder: Path) -> Iterator[Path]:
    """The visible files of a folder and its subfolders, sorted; links to folders are not followed.

    Raises:
        InputError: the folder is unreadable.
    """

    def refuse(error: OSError) -> None:
        if error.filename and Path(error.filename) != folder:
            logger.warning("%s is not readable and is left out", error.filename)
            return
        raise InputError(f"{folder} is not readable: check its permissions") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and isfile(file := Path(place, name)):
                yield file


def scan(folder: Path) -> Scan:
    """Read the headers of all DICOM files below a folder, or use the cached ones.

    Raises:
        InputError: the folder is unreadable.
    """
    states = {file: file.stat() for file in files_below(folder)}
    stamps = {file: (state.st_size, state.st_mtime_ns) for file, state in states.items()}
    with _lock:
        if folder in _kept and _kept[folder][0] == stamps:
            _kept.move_to_end(folder)
            return _kept[folder][2]
        before = [(seen, outcomes) for seen, outcomes, _ in _kept.values()]
    found = Scan()
    now: dict[Path, _Outcome] = {}
    for file, stamp in stamps.items():
        outcome = next((outcomes[file] for seen, outcomes in before if seen.get(file) == stamp), None)
        if outcome is None:
            outcome = _outcome(file) if may_be_dicom(file) else ""
        now[file] = outcome
        if isinstance(outcome, Dataset):
            found.images.append((file, outcome))
        elif isinstance(outcome, BadFile):
            found.bad.append(outcome)
        elif outcome:
            found.others.add(outcome)
    with _lock:
        _kept[folder] = (stamps, now, found)
        _kept.move_to_end(folder)
        while len(_kept) > _KEPT_FOLDERS:
            _kept.popitem(last=False)
    return found


def read_header(file: Path, tags: Iterable[Any], force: bool = False) -> Dataset:
    """Some tags of a file, converted at once to detect damage.

    Args:
        file: the file.
        tags: names or numbers.
        force: also read a file without a preamble.

    Raises:
        InputError: the file is damaged.
    """
    with damage_as_input_error(file, is_dicom=True), opened(file) as stream:
        return _converted(pydicom.dcmread(stream, stop_before_pixels=True, force=force, specific_tags=[*tags]))


def _converted(header: Dataset) -> Dataset:
    """The header with converted values; pydicom converts each at first access."""
    for element in header.iterall():
        _ = element.value
    return header


def is_directory_of_media(file: Path) -> bool:
    """Whether a file is the DICOMDIR of a medium."""
    try:
        with damage_as_input_error(file, is_dicom=True):
            meta = pydicom.filereader.read_file_meta_info(file)
            return bool(meta.get("MediaStorageSOPClassUID") == _DIRECTORY)
    except InputError:
        return False


def kind_of(header: Dataset) -> str:
    """The tag Modality, if it is a known one."""
    tag = str(header.get("Modality", ""))
    return tag if tag in DICOM_CODES + _OTHER_TAGS else "other"


def _has_no_preamble(first: bytes) -> bool:
    """Whether a file begins with an element of the group 0002 or 0008, as old exports without a preamble do."""
    if len(first) < 12 or first[:2] not in _FIRST_GROUPS or first[3] != 0:
        return False
    length = int.from_bytes(first[4:8], "little")
    return first[4:6] in _VALUE_REPRESENTATIONS or (length < 256 and length % 2 == 0)


def convert_values(file: Path, header: Dataset) -> None:
    """Convert all values of a header now. Pydicom does so at first access, and may then raise, warn or log.

    Raises:
        InputError: a value cannot be converted, so the file is damaged.
    """
    if not any(isinstance(element, RawDataElement) for element in header.values()):
        return  # already converted
    with damage_as_input_error(file, is_dicom=True):
        _converted(header)
        for name in _COUNTS:
            int(header.get(name) or 0)  # text in a damaged file


def _outcome(file: Path) -> _Outcome:
    header = Dataset()
    try:
        with damage_as_input_error(file, is_dicom=True), opened(file) as stream:
            first = stream.read(132)
            if first[128:] != b"DICM" and not _has_no_preamble(first):
                is_cut_short = len(first) < 132 and not any(first)  # in its preamble
                return BadFile(file, damaged(file, "DICOM"), is_dicom=is_cut_short)
            stream.seek(0)
            header = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            for name in _IDENTITY:
                _ = header.get(name)
            if "Rows" in header:
                header.buffer = None  # free the unpacked bytes of a deflated file
                return header
            stored = pydicom.uid.UID(str(header.file_meta.get("MediaStorageSOPClassUID", "")))
    except InputError as error:
        return BadFile(file, str(error), _series_in(header))
    if stored == "" or "Image Storage" in stored.name:
        return BadFile(file, damaged(file, "DICOM"), _series_in(header))
    return "DICOMDIR" if stored == _DIRECTORY else kind_of(header)


def _series_in(header: Dataset) -> str | None:
    try:
        with silenced("pydicom"):
            return str(header.SeriesInstanceUID) or None
    except Exception:  # noqa: BLE001 (as above)
        return None
