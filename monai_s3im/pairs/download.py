"""Download public data sets, verified and complete or not at all."""

import errno
import json
import logging
import shutil
import stat
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pooch
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.atomic import temporary_folder
from monai_s3im.formats.paths import exists, isdir
from monai_s3im.formats.writing import put_in_place, sha256_of, write_json

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 4 << 30
MAX_UNPACKED_FILES = 100_000
_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


@dataclass(frozen=True)
class RemoteDataset:
    """A public data set: description, address, terms of use and folder layout."""

    about: str
    url: str
    terms: str
    layout: str


_RESEARCH_ONLY = "No licence is stated. Use it for research, cite its authors, and do not redistribute it."

# GitHub should accept abbreviated commit ids in archive addresses; this could not be tried where this was
# written. No SHA256 of the archives is known either: GitHub does not promise that their bytes stay the same.
DATASETS = {
    "harvard": RemoteDataset(
        about="Registered brain slices of the Whole Brain Atlas: CT-MRI, PET-MRI and SPECT-MRI, PNG 256 x 256.",
        url="https://github.com/xianming-gu/Havard-Medical-Image-Fusion-Datasets/archive/984d169e8abd.zip",
        terms=f"{_RESEARCH_ONLY} The atlas is (c) Keith A. Johnson and J. Alex Becker, "
        "https://www.med.harvard.edu/AANLIB/.",
        layout="about {CT,PET,SPECT}-MRI/{CT|PET|SPECT,MRI}/NAME.png, RGB where it is pseudo-colour",
    ),
    "roadscene": RemoteDataset(
        about="Registered infrared and visible road scenes, JPEG of various sizes.",
        url="https://github.com/hanna-xu/RoadScene/archive/ab71420f8fc9.zip",
        terms=f"{_RESEARCH_ONLY} Its authors ask to cite FusionDN and U2Fusion; the pictures come from FLIR's ADAS "
        "set, whose own terms apply.",
        layout="about cropinfrared/NAME.jpg and crop_LR_visible/NAME.jpg",
    ),
}
"""Data set by name."""


def download(url: str, path: str | Path, sha256: str | None = None, progress: bool = True) -> Path:
    """Downloads one file by pooch: complete and with the right checksum, or not at all.

    Args:
        url: http or https address.
        path: File to write. An existing file (with the `sha256`, if given) is not downloaded again.
        sha256: Expected SHA256 in hexadecimal.
        progress: Show a progress bar on standard error.

    Returns:
        `path`.

    Raises:
        InputError: Address unknown, no network, interrupted transfer or wrong SHA256.
        OutputError: The file cannot be written, as when the disk is full.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is not a web address: give one that starts with https:// or http://")
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        with Progress(*_COLUMNS, console=Console(stderr=True), disable=not progress) as bar:
            get = pooch.HTTPDownloader(_Bar(bar, path.name), chunk_size=CHUNK_BYTES, timeout=TIMEOUT_S)
            pooch.retrieve(url, f"sha256:{sha256}" if sha256 else None, path.name, path.parent, downloader=get)
    except requests.HTTPError as error:
        answer = error.response
        raise InputError(f"{url} answered {answer.status_code} ({answer.reason}): check the address") from error
    except requests.RequestException as error:
        raise InputError(
            f"{url} cannot be reached or was interrupted ({error}): check the network and the address, and try again"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path} from {url} does not have the SHA256 {sha256}: the file there has changed or was damaged in "
            "transit, so try again or check the expected value"
        ) from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = "free some space" if full else "choose a folder that you may write to"
        raise OutputError(f"{path} cannot be written ({error.strerror}): {remedy}") from error
    return path


class _Bar:
    """A progress bar of rich, driven by pooch."""

    def __init__(self, bar: Progress, name: str) -> None:
        self._bar, self._task = bar, bar.add_task(name, total=None)

    @property
    def total(self) -> float | None:
        """The total in bytes; None if unknown, as for archives made by GitHub."""
        return self._bar.tasks[0].total

    @total.setter
    def total(self, count: int) -> None:
        self._bar.update(self._task, total=count or None)

    def update(self, count: int) -> None:
        """Add received bytes."""
        self._bar.advance(self._task, count)

    def reset(self) -> None:
        """Restart the count; without effect if the length is unknown."""
        if self.total:
            self._bar.update(self._task, completed=0)

    def close(self) -> None:
        """Finish."""


def fetch_dataset(name: str, folder: str | Path, sha256: str | None = None, progress: bool = True) -> Path:
    """Downloads a public data set into a folder, after showing its terms of use on standard error.

    `folder/SOURCE.json` records the address, the SHA256 of the archive, the date and the terms. A folder with this file
    is left unchanged; if everything else was deleted, the archive is downloaded again and must be the same.

    Args:
        name: One of `DATASETS`.
        folder: New or empty folder.
        sha256: Expected SHA256 of the archive, if known.
        progress: Show a progress bar.

    Returns:
        `folder`.

    Raises:
        InputError: Unknown name, a folder with other content, no network, a wrong SHA256, an unsafe archive.
        OutputError: The folder cannot be written.
    """
    if name not in DATASETS:
        raise InputError(f"Unknown data set '{name}': use one of {', '.join(DATASETS)}")
    dataset, folder = DATASETS[name], Path(folder)
    content = sorted(file.name for file in folder.iterdir()) if isdir(folder) else []
    recorded = _recorded_sha256(folder / "SOURCE.json", dataset.url) if "SOURCE.json" in content else None
    if sha256 is not None and recorded not in {None, sha256.lower()}:
        raise InputError(f"{folder} came from an archive with SHA256 {recorded}, not {sha256}: name a new folder")
    if recorded and len(content) > 1:
        return folder
    if exists(folder) and content not in ([], ["SOURCE.json"]):
        raise InputError(f"{folder} holds other files: name a new folder for the data set '{name}'")
    Console(stderr=True).print(f"{dataset.about}\nTerms: {dataset.terms}", markup=False, highlight=False)
    place = folder.absolute()  # "." has no name
    try:
        with temporary_folder(place) as temporary:
            archive, new = temporary / f"{name}.zip", temporary / "new"
            download(dataset.url, archive, sha256 or recorded, progress)
            source = {
                "url": dataset.url,
                "sha256": sha256_of(archive),
                "date": datetime.now(UTC).date().isoformat(),
                "terms": dataset.terms,
            }
            unpack(archive, new)
            write_json(source, new / "SOURCE.json")
            (folder / "SOURCE.json").unlink(missing_ok=True)
            put_in_place(new, place, "SOURCE.json")
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}): free some space there") from error
    return folder


def _recorded_sha256(source: Path, url: str) -> str | None:
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
        return str(record["sha256"]) if record["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unpack(archive: str | Path, folder: str | Path) -> None:
    """Unpacks a ZIP file into a new folder, without the enclosing folder that GitHub adds.

    Raises:
        InputError: Not a ZIP file, damaged, too big, or with a link or a path that leads out of the folder.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = [entry for entry in packed.infolist() if not entry.filename.endswith("/")]
            for entry in entries:
                _check_entry(archive, entry)
            if not entries:
                raise InputError(f"{archive} holds no file: this is not the data set, delete it")
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES or len(entries) > MAX_UNPACKED_FILES:
                raise InputError(
                    f"{archive} unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB or {MAX_UNPACKED_FILES} files: "
                    "this is not the data set, delete it"
                )
            around = {PurePosixPath(entry.filename).parts[0] for entry in entries}
            strip = 1 if len(around) == 1 and all("/" in entry.filename for entry in entries) else 0
            folder.mkdir(parents=True)
            for entry in entries:
                target = folder.joinpath(*PurePosixPath(entry.filename).parts[strip:])
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, target.open("xb") as copy:
                    shutil.copyfileobj(source, copy)  # reading checks the CRC
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{archive} is not a valid ZIP file ({error}): delete it and fetch it again") from error


def _check_entry(archive: Path, entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename)
    outside = (
        not path.parts or path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename
    )
    if outside or stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{archive} holds '{entry.filename}', which could lead out of its folder: delete it")
