"""What a reader has to say about a file: in the log, and for the record of what is made of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_remarks: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


def warn(logger: logging.Logger, sentence: str) -> None:
    """Log a warning, and keep it for :func:`remarks`.

    Args:
        logger: that of the module.
        sentence: names the file, what is odd, and what is assumed.
    """
    logger.warning("%s", sentence)
    if (kept := _remarks.get()) is not None:
        kept.append(sentence)


@contextmanager
def remarks() -> Iterator[list[str]]:
    """Collect what :func:`warn` says meanwhile; the list fills as it is said."""
    kept: list[str] = []
    token = _remarks.set(kept)
    try:
        yield kept
    finally:
        _remarks.reset(token)
