"""Fuse many pairs, one by one or in several processes, from the start or resumed."""

import logging
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from monai_s3im.errors import InputError, OutputError
from monai_s3im.evaluation.evaluate import evaluate
from monai_s3im.formats.atomic import marked, remove_leftovers
from monai_s3im.formats.paths import exists, series_of
from monai_s3im.formats.reading import is_volume
from monai_s3im.formats.writing import sha256_of
from monai_s3im.modalities import modality_named
from monai_s3im.pairs.checks import problems_of
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser
from monai_s3im.recognition import recognise
from monai_s3im.record import FusionRecord, SourceRecord, movement_path, record_path

from .local_pool import LostWorkerError, run_in_workers
from .ray_pool import run_on_ray
from .summary import CaseResult, Summary

logger = logging.getLogger(__name__)

ENGINES = ("local", "ray")

Settle = partial[CaseResult]
Outcomes = Generator[tuple[Pair, CaseResult | LostWorkerError], None, None]

_SEEN_WITHIN_S = 10.0  # network file systems show a new file late


def fuse_batch(
    pairs: Sequence[Pair],
    output_dir: str | Path,
    fuser: Fuser,
    *,
    resume: bool = False,
    workers: int | None = None,
    engine: str = "local",
    ray_address: str | None = None,
    metrics: bool = False,
    refused: Mapping[str, str] | None = None,
) -> Generator[CaseResult, None, None]:
    """Fuse many pairs; a pair that fails, for whatever reason, does not stop the others.

    All headers are checked first. ``summary.csv`` in the output folder has a row for each case. Close the iterator
    (``contextlib.closing``) if you may stop early: this ends the workers. With several workers, a script needs the
    guard ``if __name__ == "__main__"``.

    Args:
        pairs: what to fuse.
        output_dir: folder for the outputs; existing ones are replaced.
        fuser: the pipeline; each worker sets up its own with the same settings.
        resume: skip pairs that :func:`is_finished` finds finished.
        workers: number of processes; None or 1: this one. Each takes its share of torch's threads. With ``"ray"``, the
            maximum number of workers; None: one per GPU of the cluster or, without GPUs, one per node.
        engine: ``"local"``: this machine. ``"ray"``: a Ray cluster, whose nodes see images and output folder under the
            same paths and have the same software and weights; GPUs are used unless the fuser's device is ``"cpu"``.
        ray_address: address of the cluster, see :func:`monai_s3im.batch.ray_pool.run_on_ray`.
        metrics: measure each fused image by :func:`monai_s3im.evaluation.evaluate.evaluate`.
        refused: name -> reason, for cases that were refused beforehand; for the summary.

    Yields:
        The result of each case: first those refused, then the others, in order with one worker and as completed with
        several.

    Raises:
        InputError: if the output folder has a ``summary.csv`` that no batch wrote, or the engine cannot be used.
    """
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}: choose {' or '.join(ENGINES)}")
    found = problems_of(pairs, fuser.max_gib)
    problems = {name: "; ".join(line.removeprefix(f"{name}: ") for line in lines) for name, lines in found.items()}
    summary = Summary(output_dir, [*(refused or {}), *(pair.name for pair in pairs)], metrics)
    settle = partial(_settle, output_dir=Path(output_dir), resume=resume, metrics=metrics)
    usable = [pair for pair in pairs if pair.name not in problems]
    remove_leftovers(output_dir)
    try:
        for name, error in [*(refused or {}).items(), *problems.items()]:
            yield summary.add(CaseResult(name, "failed", error))
        if engine == "ray":
            run = _on_ray(settle, fuser, usable, workers, ray_address)
        elif workers in {None, 1}:
            run = ((pair, settle(fuser, pair)) for pair in usable)
        else:
            run = run_in_workers(settle, fuser, usable, workers)
        with closing(run) as outcomes:
            for pair, outcome in outcomes:
                yield summary.add(_lost(pair, outcome) if isinstance(outcome, LostWorkerError) else outcome)
    finally:
        remove_leftovers(output_dir)
        summary.write()


def output_path(pair: Pair, output_dir: str | Path, dicom: bool = False) -> Path:
    """The output path of a pair in a batch.

    ``NAME.png`` for pictures, ``NAME.nii.gz`` for volumes, or the folder ``NAME`` for DICOM series.
    """
    suffix = "" if dicom else ".nii.gz" if is_volume(pair.image_a) else ".png"
    return Path(output_dir) / f"{pair.name}{suffix}"


def is_finished(pair: Pair, output: Path, fuser: Fuser) -> bool:
    """Whether the output was made from exactly these inputs with these settings, and is unchanged since.

    The record next to it decides: software versions, weights and settings must match ``fuser``; modalities, names and
    SHA256 of the sources must match ``pair``; and the output must have the SHA256 in the record.
    """
    try:
        record = FusionRecord.read(output)
        if record is None or not _is_made_by(record, fuser):
            return False
        movement = record.registration
        file = movement_path(output)
        if movement is not None and movement.file == file.name and sha256_of(file) != movement.file_sha256:
            return False
        if not all(
            _is_of(record.sources[f"image_{key}"], image, modality, partner)
            for key, image, modality, partner in (
                ("a", pair.image_a, pair.modality_a, pair.image_b),
                ("b", pair.image_b, pair.modality_b, pair.image_a),
            )
        ):
            return False
        files = {"image_a": pair.image_a, "image_b": pair.image_b}
        return record.matches(files, sha256_of) and (record.fused, record.fused_sha256) == (
            output.name,
            sha256_of(output),
        )
    except InputError:
        return False


def _is_made_by(record: FusionRecord, fuser: Fuser) -> bool:
    """Whether versions, settings and weights match a fuser."""
    said = record.as_json()
    if any(name not in said or said[name] != value for name, value in fuser.record_settings.items()):
        return False
    return record.weights_sha256 is not None and fuser.weights_sha256.get(record.task) == record.weights_sha256


def _is_of(source: SourceRecord, file: Path, modality: str | None, partner: Path) -> bool:
    """Whether a source has this file's name and was treated as this modality, or as the list says."""
    if source.modality_from in {"sidecar", "name", "folder"}:
        said = recognise(file, partner)
        if said is None or said.modality.name != source.modality:
            return False
    if source.modality_given != (modality is not None):
        return False
    if modality is not None and source.modality != modality_named(modality).name:
        return False
    return source.file == file.name


def _settle(fuser: Fuser, pair: Pair, output_dir: Path, resume: bool, metrics: bool) -> CaseResult:
    """Fuse one case, or find it finished."""
    start = time.monotonic()
    output = output_path(pair, output_dir, fuser.dicom)
    try:
        skipped = resume and is_finished(pair, output, fuser)
        if not skipped:
            is_left = (
                resume and exists(output) and not exists(record_path(output))
            )  # left by a power cut, without its record
            options = {"overwrite": True} if is_left else {}
            fuser(pair.image_a, pair.image_b, output, pair.modality_a, pair.modality_b, **options)
        record = FusionRecord.read(output)
        values = _measured(output, pair, fuser.max_gib) if metrics else {}
    except (InputError, OutputError) as error:
        return CaseResult(pair.name, "failed", str(error), seconds=time.monotonic() - start)
    except Exception as error:
        logger.exception("%s could not be fused", pair.name)
        sentence = f"unexpected {type(error).__name__}: {error}"
        return CaseResult(pair.name, "failed", sentence, seconds=time.monotonic() - start)
    return CaseResult(
        pair.name,
        "skipped" if skipped else "fused",
        output=output,
        fused_sha256=record.fused_sha256 if record else None,
        warnings=tuple(record.warnings) if record else (),
        seconds=time.monotonic() - start,
        metrics=values,
    )


def _measured(output: Path, pair: Pair, max_gib: float) -> dict[str, float]:
    try:
        return evaluate(output, pair.image_a, pair.image_b, max_gib=max_gib).mean
    except InputError as error:
        raise InputError(f"fused into {output}, but not measured: {error}") from error


def _on_ray(settle: Settle, fuser: Fuser, pairs: Sequence[Pair], workers: int | None, address: str | None) -> Outcomes:
    """Process the cases on a cluster whose nodes see the output folder and have the same setup."""
    with marked(settle.keywords["output_dir"]) as mark:
        check = partial(_check_worker, settings={**fuser.record_settings, "weights": fuser.weights_sha256}, mark=mark)
        use_gpus = fuser.device_asked != "cpu"
        run = partial(_settle_on_node, settle)
        for pair, outcome in run_on_ray(run, fuser, pairs, workers, address=address, check=check, use_gpus=use_gpus):
            if isinstance(outcome, CaseResult):
                for warning in outcome.warnings:
                    logger.warning("%s", warning)  # the node's own log stays there
            yield pair, outcome


def _check_worker(fuser: Fuser, settings: Mapping[str, Any], mark: Path) -> None:
    """Refuse a node with a different output folder, software or weights; the device may differ.

    Raises:
        InputError: if anything differs; the message lists it.
    """
    end = time.monotonic() + _SEEN_WITHIN_S
    while not exists(mark):
        if time.monotonic() > end:
            raise InputError(
                f"{mark.parent} is a different folder here: give an output folder on a file system that all nodes share"
            )
        time.sleep(0.1)
    own = {**fuser.record_settings, "weights": fuser.weights_sha256}
    differing = [name for name, value in settings.items() if name != "device" and own[name] != value]
    if differing:
        raise InputError(f"{' and '.join(differing)} differ here: install the same on all nodes")


def _settle_on_node(settle: Settle, fuser: Fuser, pair: Pair) -> CaseResult:
    for image in (pair.image_a, pair.image_b):
        whole, _ = series_of(image)  # FILE#FRAME has the same form
        if not (exists(image) or exists(whole)):
            sentence = f"{image} does not exist on {platform.node()}: put it on a file system that all nodes share"
            return CaseResult(pair.name, "failed", sentence)
    return settle(fuser, pair)


def _lost(pair: Pair, error: LostWorkerError) -> CaseResult:
    return CaseResult(pair.name, "failed", f"{error}: try {pair.image_a} and {pair.image_b} alone")
