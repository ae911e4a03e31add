"""The command ``s3im export``."""

from pathlib import Path
from typing import Annotated

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail
from .options import choice, examples
from .progress import steps

EXAMPLES = examples("export network.onnx", "export network.xml --task ct-mri", "export network.ts --weights model.pt")


def export(
    output: Annotated[
        Path, typer.Argument(help="File to write: .xml (OpenVINO, with .bin), .onnx (ONNX) or .ts (TorchScript).")
    ],
    task: Annotated[
        str, choice("task", help="Weights to export: ct-mri, spect-pet-mri, medical or infrared-visible.")
    ] = "medical",
    weights: Annotated[Path | None, typer.Option(help="Weights to export instead of the packaged ones.")] = None,
) -> None:
    """Export the network for another runtime, for images of any size; s3im fuse --weights reads the file."""
    overrides = {"device": "cpu", "task": task, "ckpt_path": str(weights) if weights is not None else None}
    try:
        with steps() as step:
            from monai_s3im.bundle_config import bundle_parser
            from monai_s3im.networks import export_network

            networks = bundle_parser("inference", **overrides).get_parsed_content("task_networks")
            step("Exporting the network")
            export_network(networks.network_of(next(iter(networks.files))), output)
    except (InputError, OutputError) as error:
        fail(error)
    typer.echo(f"{output}: takes image, (batch, 2, height, width) in [0, 1]; gives fused, (batch, 1, height, width)")
