"""List the series below a folder, and the volumes in each.

Only this list shows descriptions, on request; no log, message or record contains them.
"""

from dataclasses import dataclass
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import isfile

from .headers import convert_values, kind_of
from .planes import planes_of
from .tree import Files, series_below
from .volumes import Volume, volumes_of


@dataclass(frozen=True)
class Entry:
    """A series, or one volume of a 4D one.

    Attributes:
        name: how to name it as an image, ``FOLDER#SERIES`` or ``FOLDER#SERIES#VOLUME``.
        description: of the series, or the label that distinguishes the volume from the others.
        modality: the tag, if it is a known one.
        size: columns x rows x slices, or why it cannot be read.
    """

    name: str
    description: str
    modality: str
    size: str


def catalogue_of(path: Path) -> list[Entry]:
    """The series below a folder, or of the medium with the given DICOMDIR, sorted by number.

    Raises:
        InputError: there are none, or the folder is unreadable.
    """
    folder = path.parent if isfile(path) else path
    series = series_below(folder)
    if not series:
        raise InputError(f"{path} holds no DICOM images: give the folder of a study")
    numbers = [str(files[0][1].get("SeriesNumber") or "") for files in series.values()]
    entries: list[Entry] = []
    for (uid, files), number in sorted(zip(series.items(), numbers, strict=True), key=lambda each: _order(each[1])):
        name = number if number and numbers.count(number) == 1 else uid
        entries += _entries(folder, name, files)
    return entries


def _order(number: str) -> tuple[bool, int, str]:
    return (not number.isdigit(), int(number) if number.isdigit() else 0, number)


def _entries(folder: Path, name: str, files: Files) -> list[Entry]:
    header = files[0][1]
    description = " ".join(str(header.get("SeriesDescription") or "").split())
    whole = f"{folder}#{name}"
    try:
        for file, each in files:
            convert_values(file, each)
        planes = [plane for file, each in files for plane in planes_of(file, each)]
        volumes = [volume for grid in volumes_of(planes, whole) for volume in grid]
    except InputError as error:
        return [Entry(whole, description, kind_of(header), f"cannot be used: {error}")]
    if len(volumes) == 1:
        return [Entry(whole, description, kind_of(header), _size_of(volumes[0]))]
    parts = [
        Entry(f"{whole}#{number}", volume.label or "another grid", kind_of(header), _size_of(volume))
        for number, volume in enumerate(volumes, start=1)
    ]
    return [Entry(whole, description, kind_of(header), f"{len(volumes)} volumes"), *parts]


def _size_of(volume: Volume) -> str:
    columns, rows = volume.planes[0].size
    return f"{columns} x {rows} x {len(volume.planes)}"
