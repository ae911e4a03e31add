"""The record of a fusion: the JSON file next to each output that describes how it was made. Nothing here imports torch.

``docs/data/record.schema.json`` is made from the types below by ``.ci/record_schema.py``.
"""

import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from monai_s3im.formats.atomic import write_file
from monai_s3im.formats.paths import beside

from .errors import InputError
from .settings import RECORDED, FusionSettings

T = TypeVar("T")

_FORMER_MAP = "afmhot"  # the map of PET and SPECT in records without a colour model
_COLOR = re.compile(r"\[\n\s+(\d+),\s+(\d+),\s+(\d+)\s+\]")

SCHEMA_VERSION = 1
"""Incremented when a key changes its meaning or is removed, not when a key is added. Old records have no version."""

SOURCES = ("image_a", "image_b")
OWN_OF_A_CASE = ("fused", "fused_sha256", "sources", "registration", "color_bar", "warnings")
OF_A_TASK = ("task", "weights_file", "weights_sha256")


@dataclass(frozen=True)
class SourceRecord:
    """One of the source images.

    Attributes:
        file: its name, without folder; None if it was not a file.
        sha256: of its bytes, for a DICOM series see :func:`monai_s3im.formats.writing.sha256_of`; None if not a file.
        modality: a name of :data:`monai_s3im.modalities.MODALITIES`.
        intensity_range: the values that became 0 and 1.
        modality_given: whether the user named the modality.
        modality_guessed: whether it was guessed from the values, or is unknown.
        modality_from: origin of the modality: ``"user"``, ``"dicom"``, ``"sidecar"``, ``"name"``, ``"folder"``,
            ``"values"`` or ``"nothing"``; None in records of earlier versions.
        unit: of that range, such as ``"HU"``, ``"Bq/ml"`` or ``"SUV"``; None if unknown.
        ct_window: name of the CT window chosen by content; None: the range was given, or it is not a CT.
    """

    file: str | None
    sha256: str | None
    modality: str
    intensity_range: list[float]
    modality_given: bool = False
    modality_guessed: bool = False
    modality_from: str | None = None
    ct_window: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class RegistrationRecord:
    """How image B was moved.

    Attributes:
        kind: ``"rigid"``, ``"affine"``, or ``"given"`` for a file of the user.
        matrix_lps: 4 x 4, from points of A to points of B, LPS mm.
        mutual_information: of the two images after the movement, in nats.
        file: name of the transform's file, next to the output if it was estimated.
        file_sha256: of an estimated transform's file.
    """

    kind: str
    matrix_lps: list[list[float]] | None = None
    mutual_information: float | None = None
    file: str | None = None
    file_sha256: str | None = None


@dataclass(frozen=True)
class ColorBar:
    """The colour scale of a fused volume.

    Attributes:
        colors: 256 of ``[R, G, B]``, 0 to 255, from the lower to the upper end of ``range``.
        range: the values of the first and the last colour.
        unit: of ``range``, such as ``"SUV"`` or ``"Bq/ml"``; None if unknown.
    """

    colors: list[list[int]]
    range: list[float]
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class FusionRecord:
    """How a fused image was made.

    Attributes:
        fused: name of its file or folder; None for a volume in 3D Slicer.
        fused_sha256: of its bytes: it proves that the image is complete and belongs to the record.
        sources: keyed by ``"image_a"`` and ``"image_b"``.
        software: package -> version.
        color_map: name of the colour map or of its file; None: that of the modality.
        color_map_sha256: of the file.
        transform: name of the file of a given transform.
        transform_sha256: of the file.
        settings: :data:`monai_s3im.settings.RECORDED` are recorded, each under its own name.
        task: the task of the weights used; None: the user's own weights.
        weights_file: name of the weights file.
        weights_sha256: of the file.
        registration: how image B was moved; None: not moved.
        color_bar: the colour scale; None: the result is gray, or has the colours of its sources.
        warnings: sentences.
    """

    fused: str | None = None
    fused_sha256: str | None = None
    sources: dict[str, SourceRecord]
    software: dict[str, str]
    color_map: str | None = None
    color_map_sha256: str | None = None
    transform: str | None = None
    transform_sha256: str | None = None
    settings: FusionSettings
    task: str | None = None
    weights_file: str | None = None
    weights_sha256: str | None = None
    registration: RegistrationRecord | None = None
    color_bar: ColorBar | None = None
    warnings: list[str]

    @classmethod
    def from_json(cls, content: Any) -> "FusionRecord":
        """Parse the output of :meth:`as_json`, including that of earlier versions.

        Raises:
            ValueError: it has a later schema version, or is not a record; the message gives the reason.
        """
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
        version = content.get("schema_version", 0)
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise _LaterError(f"it is of schema version {str(version)[:20]}, and {SCHEMA_VERSION} is the latest known")
        hints = get_type_hints(FusionSettings)
        if "color_model" not in content:  # written before the choice existed
            content = {**content, "color_model": "ycbcr", "color_map": content.get("color_map") or _FORMER_MAP}
        settings = {name: _parsed(hints[name], content[name], name) for name in RECORDED if name in content}
        # records of the first versions, and of custom pipelines, may lack the versions
        record = _parsed(cls, {"software": {}, **content, "settings": FusionSettings(**settings)}, "record")
        if missing := [key for key in SOURCES if key not in record.sources]:
            raise ValueError(f"sources lacks {' and '.join(missing)}")
        return record

    @classmethod
    def read(cls, fused: str | Path) -> "FusionRecord | None":
        """The record next to a fused image; None if there is none.

        Raises:
            InputError: if it is damaged, or written by a later version of this software.
        """
        path = record_path(fused)
        try:
            record = cls.from_json(json.loads(path.read_text(encoding="utf-8")))
            if record.fused is None or record.fused_sha256 is None:
                raise ValueError("it names no fused image")
            return record
        except (FileNotFoundError, NotADirectoryError):
            return None
        except _LaterError as error:
            raise InputError(f"{path} cannot be used ({error}): update monai-s3im, or fuse again") from error
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is damaged ({str(error)[:200]}): fuse again") from error

    def write(self, fused: str | Path) -> None:
        """Write the record next to a fused image, complete or not at all.

        Raises:
            ValueError: a number is not finite; nothing is written.
            OutputError: the file cannot be written; nothing is left behind.
        """
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        text = _COLOR.sub(r"[\1, \2, \3]", text)  # one colour per line
        content = text.encode(errors="backslashreplace")  # undecodable bytes of a file name
        write_file(record_path(fused), lambda temporary: temporary.write_bytes(content), ".json")

    def as_json(self) -> dict[str, Any]:
        """The content of the file; optional entries that are None are left out."""
        content: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        for name, value in ((option.name, getattr(self, option.name)) for option in fields(self)):
            if name == "settings":
                content |= self.recorded_settings
            elif name == "sources":
                content[name] = {key: _source_json(source) for key, source in value.items()}
            elif name == "color_bar" and value is not None:
                content[name] = asdict(value)
            elif name == "registration" and value is not None:
                content[name] = _without_none(asdict(value), "file", "file_sha256")
            else:
                content[name] = value
        return _without_none(content, "fused", "fused_sha256")

    @property
    def recorded_settings(self) -> dict[str, Any]:
        """The settings that the file contains unchanged."""
        return {name: getattr(self.settings, name) for name in RECORDED}

    @property
    def shared(self) -> dict[str, Any]:
        """The common part of a batch's records: versions, settings, and files of colour map and transform."""
        own = {"schema_version", *OWN_OF_A_CASE, *OF_A_TASK}
        return {name: value for name, value in self.as_json().items() if name not in own}

    def matches(self, files: Mapping[str, str | Path], sha256_of: Callable[[str | Path], str]) -> bool:
        """Whether sources are byte for byte those that were fused.

        Args:
            files: keyed by ``"image_a"`` and ``"image_b"``.
            sha256_of: function for the SHA256 of a file or series, as :func:`monai_s3im.formats.writing.sha256_of`.
        """
        return all(self.sources[key].sha256 == sha256_of(file) for key, file in files.items())


class _LaterError(ValueError):
    """The record has a later schema version."""


def record_path(fused: str | Path) -> Path:
    """The JSON file next to a fused image that describes how it was made."""
    return beside(Path(fused), ".json")


def movement_path(fused: str | Path) -> Path:
    """The file next to a fused image with the estimated movement of the second source."""
    return beside(Path(fused), ".tfm")


def is_record(content: Any) -> bool:
    """Whether the content of a JSON file is one of our records, damaged or not, rather than another program's file."""
    return isinstance(content, dict) and "fused_sha256" in content


def _source_json(source: SourceRecord) -> dict[str, Any]:
    """The fields in reading order, with the range last."""
    content = asdict(source)
    content["intensity_range"] = content.pop("intensity_range")
    return content


def _without_none(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names or value is not None}


def _parsed(kind: Any, value: Any, name: str) -> Any:
    """Convert a JSON value to the type of a field.

    Raises:
        ValueError: it has another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return _first_that_fits(arguments, value, name)
    if is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else _parsed_dataclass(kind, value, name)
    if origin in {list, Sequence} and isinstance(value, list):
        return [_parsed(arguments[0], entry, name) for entry in value]
    if origin is dict and isinstance(value, dict):
        return {key: _parsed(arguments[1], entry, f"{name}.{key}") for key, entry in value.items()}
    plain = {str: str, bool: bool, int: int, float: int | float, types.NoneType: types.NoneType}.get(kind)
    if plain is None or not isinstance(value, plain) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} has the wrong type")
    return value


def _first_that_fits(kinds: Sequence[Any], value: Any, name: str) -> Any:
    for kind in kinds:
        try:
            return _parsed(kind, value, name)
        except ValueError:
            continue
    raise ValueError(f"{name} has the wrong type")


def _parsed_dataclass(kind: type[T], value: Any, name: str) -> T:
    """An instance from an object; unknown keys are ignored."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    hints = get_type_hints(kind)
    found = {key: _parsed(hint, value[key], key) for key, hint in hints.items() if key in value}
    try:
        return kind(**found)
    except TypeError as error:
        missing = ", ".join(key for key in hints if key not in found)
        raise ValueError(f"{name} lacks one of {missing}") from error
