"""The last transform of a fusion: write the fused image and its record."""

import logging
import shutil
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import monai
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_s3im import __version__
from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.checks import has_right_angles
from monai_s3im.formats.dicom.series import is_series
from monai_s3im.formats.dicom.writing import write_series
from monai_s3im.formats.paths import NIFTI_SUFFIXES, isdir, isfile, suffix_of
from monai_s3im.formats.writing import sha256_of, write_image, write_transform
from monai_s3im.modalities import OWN_WEIGHTS
from monai_s3im.record import (
    ColorBar,
    FusionRecord,
    RegistrationRecord,
    SourceRecord,
    movement_path,
    record_path,
)
from monai_s3im.settings import RECORDED, FusionSettings

from .notes import COLOR_BAR, PROVENANCE, REGISTRATION, WARNINGS, noted, with_note, with_warnings
from .output import output_of

logger = logging.getLogger(__name__)


def pipeline_settings(
    weights: Mapping[str, str | Path],
    color_map: str | None = None,
    transform: str | Path | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The versions, weights and settings of a fusion, for its record.

    Args:
        weights: task -> weights file; its name and SHA256 are recorded.
        color_map: name, or file whose name and SHA256 are recorded.
        transform: file whose name and SHA256 are recorded.
        **settings: other settings, recorded unchanged.
    """
    return {
        "software": {"monai-s3im": __version__, "monai": monai.__version__, "torch": torch.__version__},
        "weights": {task: {"file": Path(file).name, "sha256": sha256_of(file)} for task, file in weights.items()},
        "color_map": Path(color_map).name if color_map else None,
        "color_map_sha256": sha256_of(color_map) if color_map and isfile(color_map) else None,
        "transform": Path(transform).name if transform else None,
        "transform_sha256": sha256_of(transform) if transform else None,
        **settings,
    }


class DescribeSourcesd(MapTransform):
    """Add ``provenance``: the file, SHA256, modality and intensity range of each source.

    ``ct_window`` is the name of the CT window chosen by content, else null. Warnings in the sources' ``meta`` are added
    to ``warnings``; see :mod:`.notes`.

    Args:
        keys: sources, normalised; a source given as a tensor has no file.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Describe."""
        result = dict(data)
        sources = {}
        for key in self.keys:
            meta = result[key].meta
            file = meta.get("filename_or_obj")
            sources[str(key)] = {
                "file": str(file) if file else None,
                "sha256": sha256_of(file) if file else None,
                "modality": meta["modality"],
                "modality_from": meta.get("modality_from"),
                "modality_given": meta["modality_given"],
                "modality_guessed": meta["modality_guessed"],
                "intensity_range": list(meta["intensity_range"]),
                "ct_window": meta.get("ct_window"),
                "unit": meta.get("unit"),
            }
        warnings = [sentence for key in self.keys for sentence in result[key].meta.get("warnings", ())]
        return with_warnings(with_note(result, PROVENANCE, sources), warnings)


class SaveFusedd(MapTransform):
    """Write the fused image, the estimated movement (NAME.tfm), and then a JSON file that records how it was made.

    A record whose ``fused_sha256`` matches the image therefore proves that the image is complete and belongs to it.
    :class:`CheckOutputd` checks that the output can be written, before the sources are read.

    The image goes to ``data["output"]`` if given, else to ``output_dir/NAME.png`` (pictures),
    ``output_dir/NAME.nii.gz`` (volumes) or ``output_dir/NAME/`` (DICOM series), NAME from ``data["name"]``.

    Args:
        keys: fused images, (1 or 3, ...) in [0, 1].
        output_dir: folder, created if needed.
        settings: the record's content besides the sources, see :func:`pipeline_settings`; of ``weights``, task ->
            ``file`` and ``sha256``, the entry of ``data["fused_by"]`` is used; without this key, the weights came from
            elsewhere.
        dicom: write a DICOM series in the study of the first source that is one; see :func:`write_series`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        settings: Mapping[str, Any],
        dicom: bool = False,
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.settings = dict(settings)
        self.dicom = dicom
        self._written: dict[Path, list[str | None]] = {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write.

        Raises:
            InputError: if the suffix of ``output`` does not fit the image.
            OutputError: if a file cannot be written; nothing is left behind.
        """
        result = dict(data)
        for key in self.keys:
            image: MetaTensor = result[key]
            path = output_of(result, self.output_dir, self.dicom, is_picture=image.ndim == 3)
            if not result.get("output"):
                self._refuse_a_second(path, [source["sha256"] for source in noted(result, PROVENANCE).values()])
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{path.parent} cannot be created ({error.strerror}): choose another folder"
                ) from error
            doubts = _doubts_of(image, path)
            for doubt in doubts:
                logger.warning("%s", doubt)
            result = with_warnings(result, doubts)
            self._save(image, path, result)
            result["output"] = str(path)
        return result

    def _save(self, image: MetaTensor, path: Path, data: Mapping[Hashable, Any]) -> None:
        """Write the image and the files that belong to it, or none of them."""
        sources, registration = noted(data, PROVENANCE), _registration_of(data)
        movement = movement_path(path)
        estimates = [found for found in (registration, _registration_before(path)) if _is_estimate(found)]
        is_given = registration is not None and registration.file == movement.name  # the user's file
        files_of_ours = [record_path(path), *([movement] if estimates and not is_given else [])]
        settings = self._settings_of(data)
        self._write(image, path, data, sources, settings)
        try:
            if movement in files_of_ours:
                movement.unlink(missing_ok=True)
            if registration is not None and _is_estimate(registration):
                write_transform(registration.matrix_lps or (), movement)
                registration = replace(registration, file=movement.name, file_sha256=sha256_of(movement))
            FusionRecord(
                fused=path.name,
                fused_sha256=sha256_of(path),
                sources={str(key): _source_of(source) for key, source in sources.items()},
                **_fields_of(settings),
                registration=registration,
                color_bar=_color_bar_of(data, image),
                warnings=noted(data, WARNINGS),
            ).write(path)
        except BaseException:
            if isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            for file in (path, *files_of_ours):
                file.unlink(missing_ok=True)
            raise

    def _refuse_a_second(self, path: Path, sources: list[str | None]) -> None:
        """Refuse two pairs of the same name, which would write one file."""
        if self._written.setdefault(path, sources) != sources:
            raise OutputError(f"{path} was already written for another pair: give each pair a unique name")

    def _settings_of(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        """The settings with the weights of this pair's task."""
        settings, task = dict(self.settings), data.get("fused_by")
        used = settings.pop("weights").get(task, {"file": None, "sha256": None})
        settings["task"] = None if task == OWN_WEIGHTS else task
        return {**settings, "weights_file": used["file"], "weights_sha256": used["sha256"]}

    def _write(
        self,
        image: MetaTensor,
        path: Path,
        data: Mapping[Hashable, Any],
        sources: Mapping[str, Mapping[str, Any]],
        settings: Mapping[str, Any],
    ) -> None:
        if not self.dicom:
            write_image(image, path)
            return
        files = {key: source["file"] for key, source in sources.items() if source["file"]}
        series = {key: Path(file) for key, file in files.items() if is_series(file)}
        is_moved = any(movement["kind"] != "none" for movement in noted(data, REGISTRATION))
        frame_of = next(iter(sources)) if is_moved else data["reference_key"]  # image B was moved into the space of A
        if not is_moved and frame_of not in series:
            frame_of = next(iter(series))  # already registered: the space of both
        modalities = [source["modality"] for source in sources.values()]
        write_series(image, path, series, frame_of if frame_of in series else None, modalities, settings)


def _source_of(source: Mapping[str, Any]) -> SourceRecord:
    """The record of a source, with only the name of its file."""
    return SourceRecord(**{**source, "file": Path(source["file"]).name if source["file"] else None})


def _doubts_of(image: MetaTensor, path: Path) -> list[str]:
    """A warning if a NIfTI will have axes that most programs refuse."""
    is_nifti = suffix_of(path) in NIFTI_SUFFIXES
    if image.ndim == 3 or not is_nifti or has_right_angles(image.affine.cpu().double().numpy()):
        return []
    doubt = (
        f"{path.name} has axes that are not at right angles, like the image that gives the grid (a tilted gantry?): "
        "ITK, and so 3D Slicer, does not open such a NIfTI; choose a spacing, which makes them straight, or the other "
        "image as reference"
    )
    return [doubt]


def _fields_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record from the settings of :func:`pipeline_settings`."""
    recorded = {name: settings[name] for name in RECORDED if name in settings}
    others = {name: value for name, value in settings.items() if name not in recorded}
    return {"settings": FusionSettings(**recorded), **others}


def _color_bar_of(data: Mapping[Hashable, Any], image: MetaTensor) -> ColorBar | None:
    """The colour bar; None for a gray image, and for one that keeps its own colours."""
    found = noted(data, COLOR_BAR)
    return ColorBar(**found) if found and image.shape[0] == 3 else None


def _registration_of(data: Mapping[Hashable, Any]) -> RegistrationRecord | None:
    """The record of how the second source was moved."""
    found = noted(data, REGISTRATION)
    return RegistrationRecord(**found[0]) if found and found[0]["kind"] != "none" else None


def _registration_before(path: Path) -> RegistrationRecord | None:
    """The content of an earlier record next to the output."""
    try:
        record = FusionRecord.read(path)
    except InputError:
        return None
    return record.registration if record else None


def _is_estimate(registration: RegistrationRecord | None) -> bool:
    """Whether a movement was estimated here, so its file may be replaced or removed."""
    return registration is not None and registration.kind in {"rigid", "affine"}
