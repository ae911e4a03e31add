"""The command ``s3im doctor``."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from .options import examples
from .progress import steps

EXAMPLES = examples("doctor", "doctor fused --json")


def doctor(
    folder: Annotated[Path, typer.Argument(help="Folder in which results will be written.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the installation: packages, device, memory, weights, codecs, and a known answer; exit code 0 or 1.

    The output is safe to send with a bug report: it has no paths, names or patient data.
    """
    start, found = time.monotonic(), []
    with steps("Loading"):
        from monai_s3im.doctor import as_record, examine

    for check in examine(folder):
        found.append(check)
        if not as_json:
            typer.echo(f"{check.status:7} {check.name:9} {check.text}")
    record = as_record(found, time.monotonic() - start)
    failed = sum(check.status == "failed" for check in found)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        system = f"monai-s3im {record['version']}, Python {record['python']}, {record['system']}"
        typer.echo(f"{system}, {record['seconds']} s: {f'{failed} failed' if failed else 'all passed'}")
        typer.echo("Send all of this with a bug report.", err=True)
    if failed:
        raise typer.Exit(1)
