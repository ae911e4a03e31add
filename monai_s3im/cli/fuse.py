"""The command ``s3im fuse``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError
from monai_s3im.existing import isdir

from .common import MAX_GIB, fail, progress_bar, say, show_log
from .pairs import find_pairs
from .report import report_batch

_MODALITIES = "ct, mr, pet, spect, us, visible, infrared or generic; guessed if not given"


def fuse(
    image_a: Annotated[
        Path | None,
        typer.Argument(help="Image whose grid is kept: the MR or visible one; a DICOM folder; or a folder of images."),
    ] = None,
    image_b: Annotated[
        Path | None,
        typer.Argument(help="The other image, DICOM folder, or folder of images; FILE#3: frame 3 of a 4D one."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for one pair, folder for folders and lists.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV (name,image_a,image_b[,modality_a,modality_b]) or datalist JSON.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder in which two patterns find the images.")] = None,
    pattern_a: Annotated[str | None, typer.Option(help="Such as '**/*_T1w.nii.gz', in quotes; with --root.")] = None,
    pattern_b: Annotated[str | None, typer.Option(help="Such as '**/*_ct.nii.gz': same subject and session.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is finished and as it was written.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for folders and lists; with ray, workers at most.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where a batch runs: local, or ray, a Ray cluster.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT or auto; else RAY_ADDRESS, else a cluster of this machine alone.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Measure each fused image, for summary.csv.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html about the batch beside its output.")
    ] = False,
    modality_a: Annotated[str | None, typer.Option(help=_MODALITIES)] = None,
    modality_b: Annotated[str | None, typer.Option(help=_MODALITIES)] = None,
    plane: Annotated[str, typer.Option(help="Slices of a volume: axial, coronal, sagittal or in-plane.")] = "axial",
    reference: Annotated[str, typer.Option(help="Whose grid a fused volume has: a, b, or finer.")] = "a",
    spacing: Annotated[
        str | None, typer.Option(help="Voxel size in mm instead, such as 1 or 0.9x0.9x2; same field of view.")
    ] = None,
    register: Annotated[
        str, typer.Option(help="Bring B into register with A first: none, rigid or affine; saved as .tfm.")
    ] = "none",
    transform: Annotated[
        Path | None, typer.Option(help="Transform to apply instead: .tfm, from A's points to B's.")
    ] = None,
    window: Annotated[
        str, typer.Option(help="Range of a CT in HU: brain, soft_tissue, bone, full, LOWER,UPPER, or auto, by content.")
    ] = "brain",
    color_map: Annotated[
        str | None, typer.Option(help="Colour of uptake: a map of matplotlib, or a text file of rows of R G B.")
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Write the fused luma, without colour.")] = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Write a DICOM series in the patient's study: -o names its folder.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    task: Annotated[
        str,
        typer.Option(
            help="Whose weights: ct-mri, spect-pet-mri, medical, infrared-visible, or auto, by each pair's modalities."
        ),
    ] = "auto",
    weights: Annotated[Path | None, typer.Option(help="Other weights, for every pair, than those of the task.")] = None,
    slice_batch: Annotated[int, typer.Option(min=1, help="Slices that the network sees at once.")] = 8,
    precision: Annotated[
        str, typer.Option(help="Of the network: float32, bfloat16 or float16; for a GPU.")
    ] = "float32",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bytes on every run of one machine; slower.")
    ] = False,
    max_gib: MAX_GIB = 4,
) -> None:
    """Fuse one pair, two folders matched by file name, a list of pairs, or what patterns find; pictures or volumes."""
    if image_a is None and pairs is None and root is None:
        fail("give two images, two folders, a list of pairs with --pairs, or --root; see s3im fuse --help")
    if output is None:
        fail("say where the result goes with -o FILE (one pair) or -o FOLDER (many)")
    show_log()
    from monai_s3im.data.reading import is_image_folder

    try:
        is_single = pairs is None and root is None and not is_image_folder(str(image_a))
        if is_single and (resume or metrics or report or (workers or 1) > 1 or engine != "local"):
            fail(
                "--resume, --workers, --engine, --metrics and --report are for folders, lists and patterns: "
                "leave them out for one pair"
            )
        if not is_single:
            _refuse_settings_of_one(output, transform)
        found, refused = find_pairs(image_a, image_b, pairs, root, pattern_a, pattern_b, modality_a, modality_b)
        settings = {
            "device": device,
            "plane": plane,
            "reference": reference,
            "spacing": spacing,
            "register": register,
            "transform": transform,
            "window": window,
            "color_map": color_map,
            "gray": gray,
            "dicom": dicom,
            "task": task,
            "weights": weights,
            "slice_batch": slice_batch,
            "precision": precision,
            "deterministic": deterministic,
            "max_gib": max_gib,
        }
        if is_single:
            _fuse_one(found, output, settings)
        else:
            batch = {
                "resume": resume,
                "workers": workers,
                "engine": engine,
                "ray_address": ray_address,
                "metrics": metrics,
                "refused": refused,
            }
            _fuse_many(found, output, settings, batch, report)
    except (InputError, OutputError) as error:
        fail(error)


def _refuse_settings_of_one(output: Path, transform: Path | None) -> None:
    """A batch has a folder as output, and no movement that is the same for all pairs."""
    from monai_s3im.data.reading import IMAGE_SUFFIXES, suffix_of

    if transform is not None:
        fail("--transform is the movement of one pair: leave it out for folders, lists and patterns")
    if suffix_of(output) in IMAGE_SUFFIXES and not isdir(output):
        fail(f"{output} is the name of one image, and several pairs go into a folder: name a folder with -o")


def _fuse_one(pairs: list[Any], output: Path, settings: dict[str, Any]) -> None:
    """Fuse a pair, with a bar of its slices on a terminal."""
    from monai_s3im.data.atomic import remove_leftovers
    from monai_s3im.data.pair_checks import problems_of
    from monai_s3im.fuse import Fuser

    remove_leftovers(output.parent)
    pair = replace(pairs[0], name="pair")  # which names no file here
    if problems := problems_of([pair], settings["max_gib"]).get(pair.name):
        fail("\nerror: ".join(line.removeprefix(f"{pair.name}: ") for line in problems))
    with progress_bar() as progress:
        slices = progress.add_task("slices", total=None)
        fuser = Fuser(**settings, progress=lambda done, total: progress.update(slices, completed=done, total=total))
        fuser(pair.image_a, pair.image_b, output, pair.modality_a, pair.modality_b)
    say(output)


def _fuse_many(pairs: list[Any], output: Path, settings: dict[str, Any], batch: dict[str, Any], report: bool) -> None:
    """Fuse with a bar of the cases on a terminal; tell what fails as it fails, and exit by what became of all."""
    from contextlib import closing

    from monai_s3im.batch import fuse_batch
    from monai_s3im.fuse import Fuser

    counts, total = {"fused": 0, "skipped": 0, "failed": 0}, len(pairs) + len(batch["refused"])
    fuser = Fuser(**settings)
    try:
        with progress_bar() as progress, closing(fuse_batch(pairs, output, fuser, **batch)) as results:
            cases = progress.add_task("pairs", total=total)
            for result in results:
                progress.update(cases, advance=1)
                counts[result.status] += 1
                if result.error is not None:
                    typer.echo(f"error: {result.name}: {' '.join(result.error.split())}", err=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted after {sum(counts.values())} of {total} pairs: go on with --resume", err=True)
        raise
    done = counts["fused"] + counts["skipped"]
    earlier = f", {counts['skipped']} of them earlier" if counts["skipped"] else ""
    say(f"{done} of {total} pairs fused into {output}{earlier}")
    is_reported = not report or report_batch(output, pairs, settings["color_map"], settings["max_gib"])
    if done < total or not is_reported:
        raise typer.Exit(1 if done else 2)
