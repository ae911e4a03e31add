"""Readers' warnings about a file, for the log and for the record of the result."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_remarks: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


def warn(logger: logging.Logger, sentence: str) -> None:
    """Log a warning, and keep it for :func:`remarks`.

    Args:
        logger: of the module.
        sentence: the file, the problem and the assumption.
    """
    logger.warning("%s", sentence)
    if (kept := _remarks.get()) is not None:
        kept.append(sentence)


class _Keeper(logging.Handler):
    """Collects the warnings of this thread."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept, self._thread = kept, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread in {self._thread, None}:
            self._kept.append(record.getMessage())


@contextmanager
def remarks(*loggers: str) -> Iterator[list[str]]:
    """Collect the warnings of :func:`warn` while the block runs, in the list returned.

    Args:
        loggers: names of other loggers whose warnings are collected.
    """
    kept: list[str] = []
    token, keeper = _remarks.set(kept), _Keeper(kept)
    for name in loggers:
        logging.getLogger(name).addHandler(keeper)
    try:
        yield kept
    finally:
        _remarks.reset(token)
        for name in loggers:
            logging.getLogger(name).removeHandler(keeper)
