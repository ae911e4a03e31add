"""What the commands share: how they speak, fail and log."""

import logging
import sys
from typing import NoReturn, TextIO

import typer


def say(message: object) -> None:
    """Write a line to the standard output, escaping what has no place there, as a file's name may."""
    _write(sys.stdout, message)


def tell(message: object) -> None:
    """The same on the standard error; above the line of :func:`steps`, which ``typer.echo`` would write into."""
    _write(sys.stderr, message)


def _write(stream: TextIO, message: object) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(str(message).encode(encoding, errors="backslashreplace").decode(encoding) + "\n")
    stream.flush()


def fail(message: object, code: int = 2) -> NoReturn:
    """Say what is wrong on the standard error, and end."""
    tell(f"error: {message}")
    raise typer.Exit(code)


class _Log(logging.Handler):
    """Writes to the standard error of the moment, which is the one above the line of :func:`steps`, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


def show_log() -> None:
    """Show what the package has to say, and others' warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Log()])
    logging.getLogger("monai_s3im").setLevel(logging.INFO)
