"""The command ``s3im evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail, show_log
from .options import MAX_GIB, examples
from .progress import steps

EXAMPLES = examples(
    "evaluate fused.nii.gz --source t1.nii.gz --source ct.nii.gz",
    "evaluate fused --source mr --source ct --csv metrics.csv",
)


def evaluate(
    fused: Annotated[Path, typer.Argument(help="Fused image, or a folder of them.")],
    source: Annotated[list[Path], typer.Option("--source", help="Source image or folder; give it twice, A then B.")],
    json: Annotated[Path | None, typer.Option(help="Write the values as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the values as CSV.")] = None,
    max_gib: MAX_GIB = 4,
) -> None:
    """Measure fused images with the ten fusion metrics: a table and, on request, a JSON and a CSV file."""
    if len(source) != 2:
        fail("give the two sources: --source A --source B")
    show_log()
    from rich.console import Console

    try:
        with steps():
            from monai_s3im.evaluation.evaluate import evaluate as evaluate_files
        result = evaluate_files(fused, source[0], source[1], max_gib=max_gib)
        if json is not None:
            result.write_json(json)
        if csv is not None:
            result.write_csv(csv)
    except (InputError, OutputError) as error:
        fail(error)
    console = Console()
    console.width = max(console.width, 110)  # the name and ten metrics, even without a terminal
    console.print(result.table())
