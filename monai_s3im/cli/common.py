"""What the commands share: how they speak, fail and log."""

import logging
import sys
from typing import NoReturn

import typer


def say(message: object) -> None:
    """Write a line to the standard output, escaping what has no place there, as a file's name may."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(str(message).encode(encoding, errors="backslashreplace").decode(encoding))


def fail(message: object, code: int = 2) -> NoReturn:
    """Say what is wrong on the standard error, and end."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


class _Log(logging.Handler):
    """Writes to the standard error of the moment, which is the one above the line of :func:`steps`, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


def show_log() -> None:
    """Show what the package has to say, and others' warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Log()])
    logging.getLogger("monai_s3im").setLevel(logging.INFO)
