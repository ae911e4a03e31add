"""The commands ``s3im benchmark quality``, ``volumes`` and ``lesions``."""

from pathlib import Path
from typing import Annotated

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail, show_log
from .options import choice, examples
from .progress import steps

QUALITY_EXAMPLES = examples(
    "benchmark quality mr ct --modality-b ct -o quality",
    "benchmark quality mr ct --modality-b ct --method own=fused --method other=others/fused -o quality",
)
VOLUMES_EXAMPLES = examples("benchmark volumes fused --pairs pairs.csv -o quality")
LESIONS_EXAMPLES = examples(
    "benchmark lesions -o lesions",
    "benchmark lesions --pairs stroke.csv --mask lesion.nii.gz --color b -o stroke",
)

benchmark_app = typer.Typer(help="Compare fusion methods.", no_args_is_help=True)


@benchmark_app.callback()
def benchmark() -> None:
    """Compare fusion methods."""


@benchmark_app.command("quality", epilog=QUALITY_EXAMPLES)
def benchmark_quality(
    source_a: Annotated[Path, typer.Argument(help="Folder of the MR or visible pictures.")],
    source_b: Annotated[Path, typer.Argument(help="Folder of the second pictures, with the same file names.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, pictures and fused images.")],
    modality_b: Annotated[
        str,
        choice("modality", help="Modality of the second folder: ct, spect, pet, infrared, ...; decides the guards."),
    ],
    modality_a: Annotated[
        str | None,
        choice(
            "modality", help="Modality of the first folder: mr, or visible if B is infrared; both decide the weights."
        ),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of fused pictures; repeat it; the first is your own method.")
    ] = None,
    peers: Annotated[Path | None, typer.Option(help="Folder of METHOD/, or METHOD/TASK/, with fused pictures.")] = None,
    task: Annotated[str | None, typer.Option(help="Name of the TASK folder inside each method's folder.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to fuse with if no --method is given; default: the task's.")
    ] = None,
    patient: Annotated[
        str, typer.Option(help="Regular expression for file names; its group is the patient.")
    ] = r"(.+)\d{3}",
    cases: Annotated[int, typer.Option(min=1, help="Rows of the montage.")] = 3,
) -> None:
    """Measure methods on the same pairs of pictures: metrics, guards, wins, ranks, intervals, tables and pictures.

    Without --method, the network fuses the pairs itself, into OUTPUT/S3IMFusion.
    """
    show_log()
    try:
        methods = dict(_named(text) for text in method or [])
        with steps() as step:
            from monai_s3im.evaluation import run_quality

            report = run_quality(
                source_a,
                source_b,
                output,
                modality_b,
                modality_a=modality_a,
                methods=methods,
                peers=peers,
                task=task,
                weights=weights,
                patient=patient,
                cases=cases,
                progress=lambda name: step(f"Measuring {name}"),
            )
    except (InputError, OutputError) as error:
        fail(error)
    typer.echo(report.read_text(encoding="utf-8"))


@benchmark_app.command("volumes", epilog=VOLUMES_EXAMPLES)
def benchmark_volumes(
    fused: Annotated[Path, typer.Argument(help="Folder of fused volumes, as s3im fuse --pairs wrote them.")],
    pairs: Annotated[Path, typer.Option(help="The list of pairs they were made from, CSV or datalist JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the table and pictures in three planes.")],
    color_map: Annotated[Path | None, typer.Option(help="Colour map file, if the batch used one.")] = None,
) -> None:
    """Check fused volumes: guards slice by slice, steps between slices, readable colours; with pictures."""
    show_log()
    try:
        with steps() as step:
            from monai_s3im.evaluation import run_volumes
            from monai_s3im.pairs.lists import read_pairs

            found = read_pairs(pairs)
            table = run_volumes(fused, found, output, lambda name: step(f"Measuring {name}"), color_map)
    except (InputError, OutputError) as error:
        fail(error)
    typer.echo(table.read_text(encoding="utf-8"))


@benchmark_app.command("lesions", epilog=LESIONS_EXAMPLES)
def benchmark_lesions(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the table, the picture and all values.")],
    heads: Annotated[int, typer.Option(min=1, help="Phantom heads.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first head.")] = 0,
    pairs: Annotated[
        Path | None, typer.Option(help="Measure real volumes instead: a list, CSV or datalist JSON; needs --mask.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Mask of the lesion in the volumes of --pairs: above 0 inside it.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to fuse with; default: those of each pair's task.")
    ] = None,
    task: Annotated[str, choice("task", help="Weights by name, such as figure-2.")] = "auto",
    color: Annotated[str, choice("color", help="What colour shows: auto, or b.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto uses CUDA if available.")] = "auto",
) -> None:
    """Measure how well a fusion keeps lesions: in phantom heads, for all pairs of modalities, or in your own volumes.

    Contrast is the difference between a lesion and the brain around it, divided by their pooled standard deviation.
    Kept is the contrast in the fused volume divided by the larger one in the sources. The maximum, the average and two
    pyramids are measured as baselines.
    """
    show_log()
    if (pairs is None) != (mask is None):
        fail("--pairs and --mask are used together: give both, or neither for phantom heads")
    try:
        with steps() as step:
            from monai_s3im.evaluation import phantom_cases, run_lesions, volume_cases
            from monai_s3im.pairs.lists import read_pairs

            if pairs is not None and mask is not None:
                cases = volume_cases(read_pairs(pairs), mask)
            else:
                cases = phantom_cases(heads, seed)
            table = run_lesions(
                cases,
                output,
                weights=weights,
                task=task,
                color=color,
                device=device,
                progress=lambda name: step(f"Measuring {name}"),
            )
    except (InputError, OutputError) as error:
        fail(error)
    typer.echo(table.read_text(encoding="utf-8"))


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder:
        fail(f"{text} is not NAME=FOLDER: give a method as --method NAME=FOLDER")
    return name, Path(folder)
