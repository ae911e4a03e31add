"""What the commands share: how they fail, log and show progress."""

import logging
import sys
from typing import Annotated, Any, NoReturn

import typer

MAX_GIB = Annotated[float, typer.Option(min=0, help="Most memory that one image may take; larger are refused.")]


def say(message: object) -> None:
    """Write a line to the standard output, escaping what has no place there, as a file's name may."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(str(message).encode(encoding, errors="backslashreplace").decode(encoding))


def fail(message: object, code: int = 2) -> NoReturn:
    """Say what is wrong on the standard error, and end."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def show_log() -> None:
    """Show what the package has to say, and others' warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("monai_s3im").setLevel(logging.INFO)


def progress_bar() -> Any:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
