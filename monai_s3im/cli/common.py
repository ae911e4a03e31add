"""Shared by the commands: output, failure and logging."""

import logging
import sys
from typing import NoReturn, TextIO

import typer


def say(message: object) -> None:
    """Write a line to standard output, escaping unprintable characters, which file names may contain."""
    _write(sys.stdout, message)


def tell(message: object) -> None:
    """The same on standard error, above the line of :func:`steps`, which ``typer.echo`` would overwrite."""
    _write(sys.stderr, message)


def _write(stream: TextIO, message: object) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(str(message).encode(encoding, errors="backslashreplace").decode(encoding) + "\n")
    stream.flush()


def fail(message: object, code: int = 2) -> NoReturn:
    """Print an error to standard error and exit."""
    tell(f"error: {message}")
    raise typer.Exit(code)


class _Log(logging.Handler):
    """Writes to the current standard error, above the line of :func:`steps` if it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


def show_log() -> None:
    """Show the package's messages, and warnings of other libraries."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Log()])
    logging.getLogger("monai_s3im").setLevel(logging.INFO)
