"""The command ``s3im export``."""

from pathlib import Path
from typing import Annotated

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail


def export(
    output: Annotated[
        Path, typer.Argument(help="File to write: .xml (OpenVINO, with .bin), .onnx (ONNX) or .ts (TorchScript).")
    ],
    task: Annotated[
        str, typer.Option(help="Whose weights: ct-mri, spect-pet-mri, medical or infrared-visible.")
    ] = "medical",
    weights: Annotated[Path | None, typer.Option(help="Other weights than those of the package.")] = None,
) -> None:
    """Write the network for another runtime, for any size of image; s3im fuse --weights takes the file."""
    from monai_s3im.bundle_config import bundle_parser
    from monai_s3im.networks import export_network

    overrides = {"device": "cpu", "task": task, "ckpt_path": str(weights) if weights is not None else None}
    try:
        networks = bundle_parser("inference", **overrides).get_parsed_content("network").networks
        export_network(next(iter(networks.values())), output)
    except (InputError, OutputError) as error:
        fail(error)
    typer.echo(f"{output}: takes image, (batch, 2, height, width) in [0, 1]; gives fused, (batch, 1, height, width)")
