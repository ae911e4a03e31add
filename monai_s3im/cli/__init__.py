"""The command ``s3im``: fuse, report, evaluate, train, data.

Exit codes: 0 success, 1 some cases of a batch failed, 2 bad usage or input. Heavy imports happen inside the commands,
so that ``s3im --help`` is quick.
"""

import os
from typing import Annotated

import typer

from monai_s3im import __version__

from .benchmark import benchmark_app
from .data import data_app
from .demo import EXAMPLES as DEMO_EXAMPLES
from .demo import demo
from .doctor import EXAMPLES as DOCTOR_EXAMPLES
from .doctor import doctor
from .evaluate import EXAMPLES as EVALUATE_EXAMPLES
from .evaluate import evaluate
from .export import EXAMPLES as EXPORT_EXAMPLES
from .export import export
from .fuse import EXAMPLES as FUSE_EXAMPLES
from .fuse import fuse
from .options import examples
from .report import EXAMPLES as REPORT_EXAMPLES
from .report import report
from .train import EXAMPLES as TRAIN_EXAMPLES
from .train import train

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(
    epilog=examples(
        "data phantom phantom", "fuse t1.nii.gz ct.nii.gz -o fused.nii.gz", "fuse --help", "--install-completion"
    )
)
def s3im(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fuse CT, MR, PET and SPECT into one image, train the fusion network, and measure fused images."""


app.command(epilog=DEMO_EXAMPLES)(demo)
app.command(epilog=FUSE_EXAMPLES)(fuse)
app.command(epilog=REPORT_EXAMPLES)(report)
app.command(epilog=EVALUATE_EXAMPLES)(evaluate)
app.command(epilog=EXPORT_EXAMPLES)(export)
app.command(epilog=DOCTOR_EXAMPLES)(doctor)
app.command(epilog=TRAIN_EXAMPLES, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)
app.add_typer(data_app, name="data")
app.add_typer(benchmark_app, name="benchmark")


def main() -> None:
    """Run the command."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages for large tensors, where Linux has them
    app()
