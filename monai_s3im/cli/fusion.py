"""Fuse the pairs that ``s3im fuse`` has found, and report on them."""

import os
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import exists, frame_of, isdir, isfile
from monai_s3im.modalities import MODALITIES
from monai_s3im.record import FusionRecord, SourceRecord, record_path
from monai_s3im.settings import FusionSettings

from .common import fail, say, tell
from .progress import Steps
from .report import is_report, remove_report_of, report_batch


def refuse_name_of_image(output: Path) -> None:
    """Several pairs, a report and metrics need a folder as output."""
    from monai_s3im.formats.paths import IMAGE_SUFFIXES, suffix_of

    if suffix_of(output) in IMAGE_SUFFIXES and not isdir(output):
        fail(
            f"{output} is the name of one image, but several pairs, --report, --metrics, --resume, --workers and "
            "--engine need a folder: name a folder with -o"
        )


def fuse_one(pair: Any, output: Path, settings: FusionSettings, step: Steps) -> str:
    """Fuse a pair.

    Args:
        pair: what to fuse.
        output: a file, or a folder for a file named after image A.
        settings: of the fusion.
        step: shows what is happening.

    Returns:
        The closing message.
    """
    from monai_s3im.formats.atomic import remove_leftovers
    from monai_s3im.pairs.checks import problems_of
    from monai_s3im.pipeline import Fuser

    output = _file_in(output, pair) if isdir(output) and not settings.dicom else output
    remove_leftovers(output.parent)
    sources = {os.path.realpath(frame_of(image)[0]) for image in (pair.image_a, pair.image_b)}
    is_there = exists(record_path(output)) and (settings.dicom or isfile(output))  # other folders are refused
    if is_there and os.path.realpath(output) not in sources:  # which is refused
        tell(f"note: {output} already exists and will be replaced")
    step("Loading the network")
    fuser = Fuser(settings, progress=step)
    try:
        fuser(pair.image_a, pair.image_b, output, pair.modality_a, pair.modality_b)
    except InputError:  # the first problem: now read all headers to list every one
        pair = replace(pair, name="pair")  # no file of that name
        if problems := problems_of([pair], settings.max_gib).get(pair.name):
            fail("\nerror: ".join(line.removeprefix(f"{pair.name}: ") for line in problems))
        raise
    remove_report_of(output)
    is_read_by_a_person = step.is_shown and sys.stdout.isatty()
    if not is_read_by_a_person:
        say(output)
    if not step.is_shown:
        return ""
    seconds = time.monotonic() - step.began
    record = FusionRecord.read(output)
    return sentence(record, output, seconds) if record else ""


def _file_in(folder: Path, pair: Any) -> Path:
    from monai_s3im.formats.reading import is_volume

    return folder / f"{pair.name}_fused{'.nii.gz' if is_volume(pair.image_a) else '.png'}"


def sentence(record: FusionRecord, output: Path, seconds: float) -> str:
    """The closing message: what was fused, how, into which file, and the number of warnings.

    Args:
        record: of the fused image.
        output: the file.
        seconds: the time it took.
    """
    named = [f"{source.file} ({_shown_as(source)})" for source in record.sources.values()]
    how = [f"weights {record.weights_file}" if record.task is None else f"weights for {record.task}"]
    if record.transform is not None:
        how.append(f"moved by {record.transform}")
    elif record.settings.register != "none":
        how.append(f"{record.settings.register} registration")
    how += [record.settings.device, f"{seconds:.0f} s"]
    count = len(record.warnings)
    warnings = f"; {count} warning{'s' if count > 1 else ''}, see above" if count else ""
    beside = record_path(output).name
    return f"Fused {' with '.join(named)} into {output} ({', '.join(how)}); {beside} records how{warnings}"


def _shown_as(source: SourceRecord) -> str:
    """The modality, and of a CT its range: ``"CT, brain window, 0 to 80 HU"``."""
    label = MODALITIES[source.modality].label
    if source.modality != "ct" or source.unit != "HU":
        return label
    lower, upper = source.intensity_range
    window = f"{source.ct_window.replace('_', ' ')} window, " if source.ct_window else ""
    return f"{label}, {window}{lower:g} to {upper:g} HU"


def fuse_many(
    pairs: list[Any], output: Path, settings: FusionSettings, batch: dict[str, Any], report: bool, step: Steps
) -> None:
    """Fuse, report each failure as it happens, and exit with 1 if any failed.

    Args:
        pairs: what to fuse.
        output: a folder.
        settings: of the fusion.
        batch: settings of :func:`monai_s3im.batch.run.fuse_batch`.
        report: also write the report; an existing one is always updated.
        step: shows what is happening.
    """
    from monai_s3im.batch import fuse_batch
    from monai_s3im.pipeline import Fuser

    if not batch["resume"]:
        _note_existing(pairs, output, settings.dicom)
    counts, total = {"fused": 0, "skipped": 0, "failed": 0}, len(pairs) + len(batch["refused"])
    step("Loading the networks")
    fuser = Fuser(settings)
    step("Checking the images")
    try:
        with closing(fuse_batch(pairs, output, fuser, **batch)) as results:
            for result in results:
                counts[result.status] += 1
                step("Fusing, pairs done:", sum(counts.values()), total)
                if result.error is not None:
                    tell(f"error: {result.name}: {' '.join(result.error.split())}")
    except KeyboardInterrupt:
        tell(f"interrupted after {sum(counts.values())} of {total} pairs: continue with --resume")
        if is_report(output / "report.html"):
            tell(f"note: {output / 'report.html'} is about earlier results: update it with s3im report {output}")
        raise
    done = counts["fused"] + counts["skipped"]
    earlier = f", {counts['skipped']} of them earlier" if counts["skipped"] else ""
    say(f"{done} of {total} pairs fused into {output}{earlier}")
    is_asked = report or (
        counts["skipped"] < total and is_report(output / "report.html")
    )  # an existing report would be out of date
    is_reported = not is_asked or report_batch(output, pairs, settings.color_map, settings.max_gib, step)
    if done < total or not is_reported:
        raise typer.Exit(1 if done else 2)


def _note_existing(pairs: list[Any], output: Path, dicom: bool) -> None:
    """Say before the work begins which results it will replace."""
    from monai_s3im.batch.run import output_path

    there = [pair.name for pair in pairs if exists(output_path(pair, output, dicom))]
    if there:
        tell(
            f"note: {len(there)} of {len(pairs)} results already exist in {output} and will be replaced, such as "
            f"{there[0]}; --resume keeps what is finished"
        )
