"""The command ``s3im fuse``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail, show_log, tell
from .options import MAX_GIB, choice, examples
from .pairs import find_pairs, lone_images
from .progress import Steps, steps

_MODALITIES = "ct, mr, pet, spect, us, visible, infrared or generic; guessed if not given"

EXAMPLES = examples(
    "fuse t1.nii.gz ct.nii.gz -o fused.nii.gz",
    "fuse t1.nii.gz pet.nii.gz fused.nii.gz --modality-a mr --modality-b pet --register rigid",
    "fuse mr.png ct.png -o fused.png --modality-a mr --modality-b ct",
    "fuse t1.nii.gz ct.nii.gz -o fused.nii.gz --window bone --reference finer",
    "fuse study/mr study/ct -o study/fused --dicom",
    "fuse --pairs pairs.csv -o fused --resume --workers 2 --report",
    "fuse --root bids --pattern-a '**/*_T1w.nii.gz' --pattern-b '**/*_ct.nii.gz' -o fused",
)


def fuse(
    image_a: Annotated[
        Path | None,
        typer.Argument(help="Image whose grid is kept: the MR or visible one; a DICOM folder; or a folder of images."),
    ] = None,
    image_b: Annotated[
        Path | None,
        typer.Argument(help="The other image, DICOM folder, or folder of images; FILE#3: frame 3 of a 4D one."),
    ] = None,
    result: Annotated[
        Path | None, typer.Argument(metavar="output", help="Where the result goes; the same as --output.")
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
    engine: Annotated[str, choice("engine", help="Where a batch runs: local, or ray, a Ray cluster.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT or auto; else RAY_ADDRESS, else a cluster of this machine alone.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Measure each fused image, for summary.csv.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html about the batch beside its output.")
    ] = False,
    modality_a: Annotated[str | None, choice("modality", help=_MODALITIES)] = None,
    modality_b: Annotated[str | None, choice("modality", help=_MODALITIES)] = None,
    plane: Annotated[str, choice("plane", help="Slices of a volume: axial, coronal, sagittal or in-plane.")] = "axial",
    reference: Annotated[str, choice("reference", help="Whose grid a fused volume has: a, b, or finer.")] = "a",
    spacing: Annotated[
        str | None, typer.Option(help="Voxel size in mm instead, such as 1 or 0.9x0.9x2; same field of view.")
    ] = None,
    register: Annotated[
        str, choice("register", help="Bring B into register with A first: none, rigid or affine; saved as .tfm.")
    ] = "none",
    transform: Annotated[
        Path | None, typer.Option(help="Transform to apply instead: .tfm, from A's points to B's.")
    ] = None,
    window: Annotated[
        str, choice("window", help="Range of a CT in HU: brain, soft_tissue, bone, full, or LOWER,UPPER.")
    ] = "brain",
    color_map: Annotated[
        str | None, typer.Option(help="Colour of uptake: a map of matplotlib, or a text file of rows of R G B.")
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Write the fused luma, without colour.")] = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Write a DICOM series in the patient's study: -o names its folder.")
    ] = False,
    device: Annotated[str, choice("device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    task: Annotated[
        str,
        choice(
            "task",
            help="Whose weights: ct-mri, spect-pet-mri, medical, infrared-visible, or auto, by each pair's modalities.",
        ),
    ] = "auto",
    weights: Annotated[Path | None, typer.Option(help="Other weights, for every pair, than those of the task.")] = None,
    slice_batch: Annotated[int, typer.Option(min=1, help="Slices that the network sees at once.")] = 8,
    precision: Annotated[
        str, choice("precision", help="Of the network: float32, bfloat16 or float16; for a GPU.")
    ] = "float32",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bytes on every run of one machine; slower.")
    ] = False,
    max_gib: MAX_GIB = 4,
) -> None:
    """Fuse one pair, two folders matched by file name, a list of pairs, or what patterns find; pictures or volumes."""
    if image_a is None and pairs is None and root is None:
        fail("give two images, two folders, a list of pairs with --pairs, or --root; see s3im fuse --help")
    if result is not None and output is not None:
        fail(f"the result is to go to {result} and to {output}: name one of them")
    destination = output or result
    if destination is None:
        fail("say where the result goes with -o FILE (one pair) or -o FOLDER (many)")
    show_log()
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
    named: tuple[Any, ...], output: Path, settings: dict[str, Any], batch: dict[str, Any], report: bool, step: Steps
) -> str:
    """Find the pairs, and fuse them; what to say when the line of the terminal is gone."""
    from monai_s3im.data.reading import is_image_folder

    from .fusion import fuse_many, fuse_one, refuse_settings_of_one

    image_a, image_b, pairs, root, *more = named
    image_a, image_b = lone_images(image_a, image_b)
    is_single = pairs is None and root is None and not is_image_folder(str(image_a))
    is_batch_asked = batch["resume"] or batch["metrics"] or batch["engine"] != "local"
    if is_single and (is_batch_asked or report or (batch["workers"] or 1) > 1):
        fail(
            "--resume, --workers, --engine, --metrics and --report are for folders, lists and patterns: "
            "leave them out for one pair"
        )
    if not is_single:
        refuse_settings_of_one(output, settings["transform"])
    found, refused = find_pairs(image_a, image_b, pairs, root, *more)
    if is_single:
        return fuse_one(found[0], output, settings, step)
    fuse_many(found, output, settings, {**batch, "refused": refused}, report, step)
    return ""
