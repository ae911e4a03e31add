"""The path of the fused image, and an early check that it can be written."""

import json
import tempfile
import time
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.dicom.writing import check_series_output
from monai_s3im.formats.paths import exists, frame_of, isdir, isfile
from monai_s3im.formats.reading import is_volume
from monai_s3im.formats.writing import output_suffix
from monai_s3im.record import is_record, record_path

_RECORD_WITHIN_S = 2.0  # after its image, even on a busy machine


def output_of(data: Mapping[Hashable, Any], folder: Path, dicom: bool, is_picture: bool) -> Path:
    """The path of an item's fused image; see :class:`.SaveFusedd`."""
    if data.get("output"):
        return Path(data["output"])
    if dicom:
        return folder / str(data["name"])
    return folder / f"{data['name']}{'.png' if is_picture else '.nii.gz'}"


def check_output(
    path: Path, rank: int, sources: Iterable[str | Path], dicom: bool = False, overwrite: bool = False
) -> None:
    """Refuse, before any computation, an output that could not be written.

    Args:
        path: of the fused image.
        rank: 2 for a picture, 3 for a volume.
        sources: files that the output must not overwrite.
        dicom: the output is a DICOM series; see :func:`check_series_output`.
        overwrite: an existing file may be replaced, even if it is not a fused image.

    Raises:
        InputError: if the suffix does not fit the image, or the output is one of the sources.
        OutputError: if the output is a folder, its folder cannot be written or created, or an existing file, or the
            JSON file next to it, is not a result of a fusion.
    """
    if dicom:
        check_series_output(path, sources)
    else:
        _check_file_output(path, rank, sources)
        if not overwrite and isfile(path) and not _has_record(path):
            raise OutputError(
                f"{path} exists and is not a fused image (it has no record beside it): choose another output, or "
                "replace it with --overwrite (overwrite=True)"
            )
    nearest = next(folder for folder in path.absolute().parents if exists(folder))
    if not isdir(nearest):
        raise OutputError(f"{path} cannot be written ({nearest} is a file): choose another folder")
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror} in {nearest}): choose a folder that you may write to"
        ) from error
    _check_record(record_path(path))


def _has_record(path: Path) -> bool:
    """Whether a file has its record; waits a moment, since another batch may be about to write the record."""
    while not exists(record_path(path)):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return True  # the other batch has removed it: nothing to replace
        if not 0 <= age < _RECORD_WITHIN_S:
            return False
        time.sleep(0.02)
    return True


def _check_file_output(path: Path, rank: int, sources: Iterable[str | Path]) -> None:
    if isdir(path):
        raise OutputError(f"{path} is a folder: name the file to write")
    output_suffix(path, rank)
    for source in (frame_of(source)[0] for source in sources):
        if exists(path) and exists(source) and path.samefile(source):
            raise InputError(f"{path} is one of the inputs and would be overwritten: choose another output")


def _check_record(path: Path) -> None:
    """Refuse to replace a JSON file that is not one of our records, such as the sidecar of a DICOM conversion."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # no record, or a damaged one
    if not is_record(content):
        raise OutputError(
            f"{path} exists and is not a fusion record; the record of this fusion would replace it: choose another "
            "output"
        )


class CheckOutputd(MapTransform):
    """Refuse, before anything is read, an output that could not be written; see :func:`check_output`.

    The output is that of :class:`.SaveFusedd`; if ``data`` has neither ``output`` nor ``name``, or its ``output`` is
    None, nothing is written.

    Args:
        keys: sources, paths or tensors; the first determines whether the output is a picture.
        output_dir: as for :class:`.SaveFusedd`.
        dicom: as for :class:`.SaveFusedd`.
        overwrite: as for :func:`check_output`; ``data["overwrite"]`` sets it for one pair.
    """

    def __init__(
        self, keys: KeysCollection, output_dir: str | Path, dicom: bool = False, overwrite: bool = False
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.dicom = dicom
        self.overwrite = overwrite

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check."""
        sources = [data[key] for key in self.keys]
        if data.get("output", "by name") and (data.get("output") or data.get("name")):
            is_picture = not is_volume(sources[0]) if isinstance(sources[0], str | Path) else sources[0].ndim == 3
            files = [source for source in sources if isinstance(source, str | Path)]
            path = output_of(data, self.output_dir, self.dicom, is_picture)
            overwrite = self.overwrite or bool(data.get("overwrite"))
            check_output(path, 2 if is_picture else 3, files, self.dicom, overwrite)
        return {key: value for key, value in data.items() if key != "overwrite"}
