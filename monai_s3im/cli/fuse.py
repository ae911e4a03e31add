"""The command ``s3im fuse``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError
from monai_s3im.settings import FusionSettings

from .common import fail, show_log, tell
from .options import choice, examples, with_settings
from .pairs import find_pairs, lone_images
from .progress import Steps, steps

_MODALITIES = "ct, mr, pet, spect, us, dose, visible, infrared or generic; guessed if not given"

EXAMPLES = examples(
    "fuse t1.nii.gz ct.nii.gz -o fused.nii.gz",
    "fuse t1.nii.gz pet.nii.gz fused.nii.gz --modality-a mr --modality-b pet --register rigid",
    "fuse mr.png ct.png -o fused.png --modality-a mr --modality-b ct",
    "fuse t1.nii.gz ct.nii.gz -o fused.nii.gz --window bone --reference finer",
    "fuse study/mr study/ct -o study/fused --dicom",
    "fuse --pairs pairs.csv -o fused --resume --workers 2 --report",
    "fuse --root bids --pattern-a '**/*_T1w.nii.gz' --pattern-b '**/*_ct.nii.gz' -o fused",
)


@with_settings
def fuse(
    image_a: Annotated[
        Path | None,
        typer.Argument(help="First image (usually the MR), whose grid is kept; a DICOM folder; or a folder of images."),
    ] = None,
    image_b: Annotated[
        Path | None,
        typer.Argument(help="The other image, DICOM folder, or folder of images; FILE#3: frame 3 of a 4D image."),
    ] = None,
    result: Annotated[
        Path | None, typer.Argument(metavar="output", help="Output file or folder, the same as --output.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output: a file for one pair, a folder for many.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV (name,image_a,image_b[,modality_a,modality_b]) or datalist JSON.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder to search with --pattern-a and --pattern-b.")] = None,
    pattern_a: Annotated[str | None, typer.Option(help="Such as '**/*_T1w.nii.gz', in quotes; with --root.")] = None,
    pattern_b: Annotated[str | None, typer.Option(help="Such as '**/*_ct.nii.gz': same subject and session.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip pairs whose results are complete and unchanged.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes for many pairs; with ray, the maximum.")
    ] = None,
    engine: Annotated[str, choice("engine", help="Where a batch runs: local, or ray, a Ray cluster.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT or auto; default: RAY_ADDRESS, else a cluster on this machine.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Measure each fused image and add the metrics to summary.csv.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Write report.html into the output folder.")] = False,
    modality_a: Annotated[str | None, choice("modality", help=_MODALITIES)] = None,
    modality_b: Annotated[str | None, choice("modality", help=_MODALITIES)] = None,
    *,
    settings: FusionSettings,
) -> None:
    """Fuse one pair, two folders matched by file name, a list of pairs, or images found by two patterns."""
    if image_a is None and pairs is None and root is None:
        fail("give two images, two folders, a list of pairs with --pairs, or --root; see s3im fuse --help")
    if result is not None and output is not None:
        fail(f"two outputs are given, {result} and {output}: give one of them")
    destination = output or result
    if destination is None:
        fail("say where the result goes with -o FILE (one pair) or -o FOLDER (many)")
    show_log()
    batch = {"resume": resume, "workers": workers, "engine": engine, "ray_address": ray_address, "metrics": metrics}
    named = (image_a, image_b, pairs, root, pattern_a, pattern_b, modality_a, modality_b)
    try:
        with steps() as step:
            at_the_end = _fuse(named, destination, settings, batch, report, step)
    except (InputError, OutputError) as error:
        fail(error)
    if at_the_end:
        tell(at_the_end)


def _fuse(
    named: tuple[Any, ...], output: Path, settings: FusionSettings, batch: dict[str, Any], report: bool, step: Steps
) -> str:
    """Find the pairs and fuse them; return the closing message, to print after the progress line is gone."""
    from monai_s3im.formats.reading import is_image_folder

    from .fusion import fuse_many, fuse_one, refuse_name_of_image

    image_a, image_b, pairs, root, *more = named
    image_a, image_b = lone_images(image_a, image_b)
    is_single = pairs is None and root is None and not is_image_folder(str(image_a))
    is_batch = (
        report or batch["resume"] or batch["metrics"] or batch["engine"] != "local" or (batch["workers"] or 1) > 1
    )
    if not is_single or is_batch:
        refuse_name_of_image(output)
    if not is_single and settings.transform is not None:
        fail("--transform belongs to one pair: leave it out for folders, lists and patterns")
    found, refused = find_pairs(image_a, image_b, pairs, root, *more)
    if is_single and not is_batch:
        return fuse_one(found[0], output, settings, step)
    fuse_many(found, output, settings, {**batch, "refused": refused}, report, step)
    return ""
