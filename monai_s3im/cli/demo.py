"""The command ``s3im demo``: show the software on the packaged head."""

import shlex
import shutil
import sys
import time
import webbrowser
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import isfile

from .common import fail, say, show_log
from .options import examples
from .progress import Steps, steps

EXAMPLES = examples("demo", "demo my_folder --open")


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("s3im_demo"),
    open_report: Annotated[bool, typer.Option("--open", help="Show the report in a browser.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed: another seed makes another head.")] = 0,
) -> None:
    """Make a head in CT, T1, SPECT and PET, fuse T1 with each of the others, and write a report with a viewer.

    Existing complete results are kept.
    """
    start = time.monotonic()
    show_log()
    try:
        with steps() as step:
            report, fused, made = _run(folder, seed, step)
    except (InputError, OutputError) as error:
        fail(error)
    seconds = time.monotonic() - start
    there = "" if made == len(fused) else f", {len(fused) - made} already finished"
    say(f"\n{made} volumes fused{there}; {seconds:.0f} s")
    _say_what_is_where(fused, report)
    if open_report and not webbrowser.open(report.absolute().as_uri()):
        say(f"no browser could be opened: open {report.absolute()} in one")


def _run(folder: Path, seed: int, step: Steps) -> tuple[Path, list[Path], int]:
    """Write phantom, fusions and report; return the report, the fused volumes and the number of new ones.

    Raises:
        InputError: if the folder has other content.
        OutputError: if it cannot be written.
    """
    from monai_s3im.batch.run import fuse_batch, is_finished, output_path
    from monai_s3im.pairs.lists import read_pairs
    from monai_s3im.phantom import write_phantom
    from monai_s3im.pipeline import Fuser
    from monai_s3im.report import write_report

    data = write_phantom(
        folder / "head",
        subjects=2,
        slices_per_subject=1,
        seed=seed,
        volumes=True,
        progress=lambda text, _done: step(f"making a synthetic head: {text}"),
    ).parent
    pairs = read_pairs(data / "volumes" / "pairs.csv")
    output = folder / "fused"
    report = output / "report.html"
    fused = [output_path(pair, output) for pair in pairs]
    fuser = Fuser()
    if all(is_finished(pair, file, fuser) for pair, file in zip(pairs, fused, strict=True)) and _is_newer(
        report, fused
    ):
        return report, fused, 0
    step("fusing and measuring, pairs of volumes done:", 0, len(pairs))
    made = 0
    with closing(fuse_batch(pairs, output, fuser, resume=True, metrics=True)) as results:
        for done, result in enumerate(results, start=1):
            step("fusing and measuring, pairs of volumes done:", done, len(pairs))
            if result.error is not None:
                raise OutputError(f"{result.name}: {result.error}")
            made += result.status == "fused"
    step("writing the report")
    write_report(output, pairs)
    return report, fused, made


def _is_newer(report: Path, fused: list[Path]) -> bool:
    return isfile(report) and all(report.stat().st_mtime >= file.stat().st_mtime for file in fused)


def _say_what_is_where(fused: list[Path], report: Path) -> None:
    from monai_s3im.record import record_path

    command = _command()
    sources = fused[0].parents[1] / "head" / "volumes"
    record = record_path(fused[0])
    for file in fused:
        say(f"  fused volume  {file}")
    say(f"  report        {report}   open it in a browser")
    say(f"  record        {record}   how {fused[0].name} was made; each volume has one")
    say("Next:")
    pair = shlex.join(str(sources / name) for name in ("t2.nii.gz", "ct.nii.gz"))
    say(f"  {command} fuse {pair} --modality-a mr --modality-b ct -o fused.nii.gz")
    say(f"  {command} fuse --help, for pairs, folders and DICOM series of your own")


def _command() -> str:
    """How this command was called, for the examples it prints."""
    called = Path(sys.argv[0])
    found = shutil.which("s3im")
    if called.name == "__main__.py":
        return "python -m monai_s3im"
    is_found = found is not None and Path(found).with_suffix("") == called.absolute().with_suffix("")
    return "s3im" if is_found else shlex.quote(str(called))
