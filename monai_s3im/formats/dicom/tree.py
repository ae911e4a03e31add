"""Find the DICOM series below a folder, and select the one meant."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import exists, isdir, isfile, series_of

from .headers import (
    BadFile,
    Scan,
    convert_values,
    files_below,
    is_directory_of_media,
    kind_of,
    may_be_dicom,
    read_header,
    scan,
)

_SAME_IMAGE = ("InstanceNumber", "ImagePositionPatient", "EchoTime", "TemporalPositionIdentifier", "NumberOfFrames")

Files = list[tuple[Path, Dataset]]


@dataclass
class Series:
    """The files of one series.

    Attributes:
        folder: the folder searched.
        files: with their headers, sorted by name.
        volume: the requested volume, from 1; None: the only one.
        is_guess: whether that number may have meant the series.
        remarks: remarks about files that were left out.
    """

    folder: Path
    files: Files
    volume: int | None = None
    is_guess: bool = False
    remarks: list[str] = field(default_factory=list)


def series_below(folder: Path) -> dict[str, Files]:
    """The series below a folder, by UID.

    Raises:
        InputError: the folder is unreadable.
    """
    return _by_uid(scan(folder))


def find_series(path: Path) -> Series:
    """The one series that a path means; see :func:`.series.read_series`.

    Raises:
        InputError: there is none, there are several and none is chosen, or a file of it is damaged.
    """
    folder, chosen = series_of(path)
    if not exists(folder):
        raise InputError(f"{folder} does not exist or is not readable: check the path")
    only = folder if isfile(folder) and not is_directory_of_media(folder) else None
    folder = folder.parent if isfile(folder) else folder
    found = scan(folder)
    series = _by_uid(found)
    if only is not None:
        result = _series_of_file(path, only, chosen, folder, found, series)
    elif chosen is not None:
        result = _named(path, folder, chosen, found, series)
    else:
        result = Series(folder, _only(path, folder, found, series))
    for file, header in result.files:
        convert_values(file, header)
    uid = _uid_of(result.files[0][1])
    for bad in found.bad:
        is_cut = bad.series is not None and bad.series not in series and uid.startswith(bad.series)  # within its UID
        is_of_it = bad.series == uid or is_cut
        if is_of_it or (bad.is_dicom and bad.series is None and only is None and chosen is None):
            raise InputError(bad.reason)
    left_out = [bad for bad in found.bad if bad.series is None or (chosen is None and only is None)]
    result.remarks = [f"{path}: {bad.file.relative_to(folder)} {_what(bad)}, and is left out" for bad in left_out]
    return result


def is_spread(folder: Path) -> bool:
    """Whether the files below a folder are one series, spread over subfolders by an export."""
    firsts = []
    for place in sorted(place for place in folder.iterdir() if isdir(place) and not place.name.startswith(".")):
        first = next((file for file in files_below(place) if may_be_dicom(file)), None)
        if first is not None:
            firsts.append(first)
        if len(firsts) == 2:  # two series: a folder of cases, no need to read on
            break
    try:
        uids = {read_header(file, ["SeriesInstanceUID"], force=True).get("SeriesInstanceUID") for file in firsts}
    except InputError:
        return False
    return len(firsts) == 2 and len(uids) == 1 and len(series_below(folder)) == 1


def refuse_tree(folder: Path) -> None:
    """Raise an error that names the series below a folder, if it is not a series itself.

    Raises:
        InputError: the folder has series below it.
    """
    if any(map(may_be_dicom, files_below(folder))) and (found := series_below(folder)):
        raise InputError(
            f"{folder} has {len(found)} DICOM series in its subfolders, choose one as {folder}#NUMBER or {folder}#UID: "
            f"{listing(found)}"
        )


def _what(bad: BadFile) -> str:
    return "cannot be read" if bad.is_dicom else "is not a DICOM file despite its name"


def _uid_of(header: Dataset) -> str:
    """SeriesInstanceUID, or a substitute if a program has removed it."""
    uid = str(header.get("SeriesInstanceUID") or "")
    return uid or f"none {header.get('StudyInstanceUID', '')} {header.get('SeriesNumber', '')}"


def _by_uid(found: Scan) -> dict[str, Files]:
    """The images by series, without duplicates; the values of each first image are converted."""
    if found.by_series is not None:
        return found.by_series
    series: dict[str, Files] = {}
    seen: dict[str, Files] = {}
    for file, header in found.images:
        uid = str(header.get("SOPInstanceUID") or "")
        try:
            if (of_one_series := _uid_of(header)) not in series:
                convert_values(file, header)
            if uid and _is_there(file, header, seen.get(uid, [])):
                continue
        except InputError as error:
            found.bad.append(BadFile(file, str(error), of_one_series))
            continue
        seen.setdefault(uid, []).append((file, header))
        series.setdefault(of_one_series, []).append((file, header))
    found.by_series = series
    return series


def _is_there(file: Path, header: Dataset, others: Files) -> bool:
    """Whether an image of the same UID has the same content: some programs give all images one UID."""
    for each, values in [(file, header), *others] if others else []:
        convert_values(each, values)
    return any(all(header.get(name) == other.get(name) for name in _SAME_IMAGE) for _, other in others)


def _series_of_file(
    path: Path, file: Path, chosen: str | None, folder: Path, found: Scan, series: dict[str, Files]
) -> Series:
    header = next((header for each, header in found.images if each == file), None)
    if header is None:
        bad = next((bad for bad in found.bad if bad.file == file), None)
        if bad is not None:
            raise InputError(bad.reason)
        raise _no_image(path, found.others)
    if chosen is not None and not chosen.isdigit():
        raise InputError(f"{path} does not exist: name a volume of a 4D series by its number, {file}#1")
    return Series(folder, series[_uid_of(header)], int(chosen) if chosen else None)


def _no_image(path: Path, others: Iterable[str]) -> InputError:
    kinds = f" (only {', '.join(sorted(others))})" if others else ""
    return InputError(f"{path} holds no DICOM image{kinds}: give the folder with the slices of one series")


def _only(path: Path, folder: Path, found: Scan, series: dict[str, Files]) -> Files:
    """The series with files in the folder itself, including their files in subfolders."""
    here = {uid: files for uid, files in series.items() if any(file.parent == folder for file, _ in files)} or series
    if not here:
        reason = next((bad.reason for bad in found.bad if bad.is_dicom), None)
        raise InputError(reason) if reason else _no_image(path, found.others)
    if len(here) > 1:
        raise InputError(
            f"{path} holds {len(here)} DICOM series, choose one as {folder}#NUMBER or {folder}#UID: {listing(here)}"
        )
    return next(iter(here.values()))


def _named(path: Path, folder: Path, chosen: str, found: Scan, series: dict[str, Files]) -> Series:
    if not series:
        raise _no_image(path, found.others)
    matching = _matching(series, chosen)
    whole, _, number = chosen.rpartition("#")
    volume = None
    if not matching and whole and number.isdigit():
        matching, volume = _matching(series, whole), int(number)
    if len(matching) > 1:
        raise InputError(
            f"{path} is several DICOM series, choose one as {folder}#UID: {listing(matching, with_uid=True)}"
        )
    if chosen.isdigit() and len(series) == 1:  # with one 4D series, it is the volume
        return Series(folder, next(iter(series.values())), int(chosen), is_guess=bool(matching))
    if not matching:
        raise InputError(f"{path} has no series {chosen}, only {listing(series)}")
    return Series(folder, next(iter(matching.values())), volume)


def _matching(series: dict[str, Files], chosen: str) -> dict[str, Files]:
    """The series with that UID, or else that number, or else that description."""
    wanted = chosen.strip().casefold()
    for name in ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription"):
        found = {
            uid: files for uid, files in series.items() if str(files[0][1].get(name) or "").strip().casefold() == wanted
        }
        if found:
            return found
    return {}


def listing(found: dict[str, Files], with_uid: bool = False) -> str:
    """Number, modality, count and size of series; no descriptions, which may identify a patient."""
    lines = [
        f"#{files[0][1].get('SeriesNumber') or uid} {kind_of(files[0][1])}, {len(files)} files of "
        f"{files[0][1].get('Columns')} x {files[0][1].Rows}"
        for uid, files in found.items()
    ]
    numbers = [line.split()[0] for line in lines]
    if with_uid or len(set(numbers)) < len(numbers):  # ambiguous numbers: UIDs instead
        lines = [f"#{uid} {line.split(maxsplit=1)[1]}" for uid, line in zip(found, lines, strict=True)]
    return "; ".join(sorted(lines))
