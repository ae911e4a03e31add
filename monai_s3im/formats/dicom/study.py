"""Patient, study and source references of a fused series, copied from the sources' headers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from monai_s3im.errors import InputError

from .headers import read_header
from .series import series_files
from .valid_tags import make_valid

_NEVER_ABSENT = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName
    Laterality
""".split()  # noqa: SIM905 (as a list it fills a page)
_OF_THE_STUDY = """
    SpecificCharacterSet TimezoneOffsetFromUTC IssuerOfPatientID IssuerOfPatientIDQualifiersSequence TypeOfPatientID
    OtherPatientIDsSequence QualityControlSubject PatientSpeciesDescription PatientSpeciesCodeSequence
    PatientBreedDescription PatientBreedCodeSequence BreedRegistrationSequence PatientSexNeutered ResponsiblePerson
    ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence PatientAge PatientSize PatientWeight StudyInstanceUID StudyDescription
    IssuerOfAccessionNumberSequence BodyPartExamined ClinicalTrialSponsorName ClinicalTrialProtocolID
    ClinicalTrialProtocolName ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID
    ClinicalTrialSubjectReadingID ClinicalTrialTimePointID ClinicalTrialTimePointDescription
""".split()  # noqa: SIM905 (as a list it fills a page)
_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_OF_THE_SERIES = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    *_COMPRESSION,
)


@dataclass(frozen=True)
class SourceSeries:
    """A series that is a source of a volume.

    Attributes:
        path: path as given.
        header: patient, study and series, from its first file.
        images: a reference item for each of its files.
    """

    path: Path
    header: Dataset
    images: tuple[Dataset, ...]


def read_source_series(path: Path) -> SourceSeries:
    """Read the headers of a series.

    Raises:
        InputError: as :func:`.series.series_files`; or a file lacks a UID that a reference needs.
    """
    headers: list[Dataset] = []
    images = []
    for file in series_files(path):
        tags = _OF_THE_SERIES if headers else (*_NEVER_ABSENT, *_OF_THE_STUDY, *_OF_THE_SERIES)
        header = read_header(file, tags)
        for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            if name in tags and not header.get(name):
                raise InputError(f"{file} lacks the tag {name}, which a series made from it refers to: export it again")
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        headers.append(header)
        images.append(item)
    return SourceSeries(path, headers[0], tuple(images))


def study_of(series: Iterable[SourceSeries]) -> Dataset:
    """Patient and study of the first series, references to all series, and whether any had lossy compression.

    All images of all series are sources of each slice, since intensities are scaled over the whole volume.
    """
    series = list(series)
    first = series[0].header
    study = Dataset()
    for name in (*_NEVER_ABSENT, *_OF_THE_STUDY):
        if name in first:
            study[name] = first[name]
        elif name in _NEVER_ABSENT:
            setattr(study, name, None)
    make_valid(study, frozenset(_NEVER_ABSENT))
    study.SourceImageSequence = Sequence([item for source in series for item in source.images])
    by_study: dict[str, list[Dataset]] = {}
    for source in series:
        item = Dataset()
        item.SeriesInstanceUID = source.header.SeriesInstanceUID
        item.ReferencedInstanceSequence = Sequence(source.images)
        by_study.setdefault(source.header.StudyInstanceUID, []).append(item)
        if source.header.get("LossyImageCompression") == "01":
            for name in _COMPRESSION:
                if name in source.header:
                    study[name] = source.header[name]
    study.ReferencedSeriesSequence = Sequence(by_study.pop(first.StudyInstanceUID))
    others = [Dataset() for _ in by_study]
    for other, (uid, items) in zip(others, by_study.items(), strict=True):
        other.StudyInstanceUID, other.ReferencedSeriesSequence = uid, Sequence(items)
    if others:
        study.StudiesContainingOtherReferencedInstancesSequence = Sequence(others)
    return study


def series_remarks(path: Path, other: Path, is_moved: bool) -> list[str]:
    """Reasons against fusing two series, in sentences that quote nothing from their headers.

    Their PatientID differs or, if neither is moved, their FrameOfReferenceUID.

    Raises:
        InputError: as :func:`monai_s3im.formats.dicom.series.series_files`.
    """
    headers = []
    for series in (path, other):
        file = series_files(series)[0]
        header = read_header(file, ["PatientID", "FrameOfReferenceUID"])
        headers.append([str(header.get(name) or "") for name in ("PatientID", "FrameOfReferenceUID")])
    (patient, frame), (other_patient, other_frame) = headers
    remarks = []
    if patient != other_patient:
        remarks.append(
            f"{path.name} and {other.name} have different patient IDs: make sure that they show one "
            "patient before you use the result"
        )
    if not is_moved and frame and other_frame and frame != other_frame:
        remarks.append(
            f"{path.name} and {other.name} have different frames of reference, so they may not be in "
            "register: look at the result before you use it, or register them"
        )
    return remarks
