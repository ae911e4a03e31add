"""The command ``s3im report``, and the report at the end of ``s3im fuse``."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail, say, show_log, tell
from .options import MAX_GIB, examples
from .pairs import find_pairs
from .progress import Steps, steps

logger = logging.getLogger(__name__)

_TITLE, _BEGINNING = b"<title>Fusion report", 2000  # of the page

EXAMPLES = examples(
    "report fused", "report fused study/mr study/ct", "report fused --pairs pairs.csv", "report fused --serve"
)


def report(
    folder: Annotated[Path, typer.Argument(help="Output folder of a batch.")],
    image_a: Annotated[Path | None, typer.Argument(help="The sources as given to s3im fuse.")] = None,
    image_b: Annotated[Path | None, typer.Argument(help="The other folder.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="The list of pairs, instead of the sources.")] = None,
    root: Annotated[Path | None, typer.Option(help="The folder for two patterns, instead of the sources.")] = None,
    pattern_a: Annotated[str | None, typer.Option(help="With --root.")] = None,
    pattern_b: Annotated[str | None, typer.Option(help="With --root.")] = None,
    color_map: Annotated[str | None, typer.Option(help="Colour map file, if the batch used one.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the existing report in the browser, and save ratings next to it.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for --serve; 0 picks a free one.")] = 0,
    max_gib: MAX_GIB = 4,
) -> None:
    """Write report.html into the output folder of a batch; without sources, it shows the fused images only."""
    show_log()
    if serve:
        _serve(folder, port)
        return
    named = any(value is not None for value in (image_a, pairs, root, pattern_a, pattern_b))
    try:
        with steps() as step:
            found, _ = find_pairs(image_a, image_b, pairs, root, pattern_a, pattern_b) if named else ([], {})
            written = _write(folder, found, color_map, max_gib, step)
        say(written)
    except (InputError, OutputError) as error:
        fail(error)


def _serve(folder: Path, port: int) -> None:
    from monai_s3im.report.serving import serve_report

    try:
        serve_report(folder, lambda address: say(f"{address}\nStop with Ctrl+C."), port)
    except (InputError, OutputError) as error:
        fail(error)
    except KeyboardInterrupt:
        return


def is_report(file: Path) -> bool:
    """Whether the folder has a report of a batch."""
    try:
        with file.open("rb") as stream:
            return _TITLE in stream.read(_BEGINNING)
    except OSError:
        return False


def report_batch(folder: Path, pairs: Sequence[Any], color_map: str | None, max_gib: float, step: Steps) -> bool:
    """Write the report of a finished batch; if that fails, say so and remove a report of earlier results."""
    try:
        say(f"report: {_write(folder, pairs, color_map, max_gib, step)}")
    except (InputError, OutputError) as error:
        tell(f"error: no report: {error}")
    except Exception as error:
        logger.exception("the report failed")
        tell(f"error: no report: unexpected {type(error).__name__}: {error}")
    else:
        return True
    _remove_outdated(folder)
    return False


def remove_report_of(output: Path) -> None:
    """Remove the report of a batch if one of its results was replaced alone, and say so."""
    from monai_s3im.batch.summary import read_summary

    try:
        names = {result.output.name for result in read_summary(output.parent) if result.output}
    except InputError:  # no results of a batch
        return
    if output.name in names:
        _remove_outdated(output.parent, ": fuse the batch again with --resume --report")


def _remove_outdated(folder: Path, remedy: str = "") -> None:
    if is_report(folder / "report.html"):
        (folder / "report.html").unlink()
        tell(f"note: {folder / 'report.html'} was about earlier results and is removed{remedy}")


def _write(folder: Path, pairs: Sequence[Any], color_map: str | None, max_gib: float, step: Steps) -> Path:
    from monai_s3im.report import write_report

    return write_report(
        folder,
        pairs,
        color_map=color_map,
        max_gib=max_gib,
        progress=lambda done, total: step("Writing the report, cases done:", done, total),
    )
