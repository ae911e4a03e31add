"""Show progress on one line of the terminal; nothing if standard error is not a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOADING = "Loading PyTorch and MONAI"


class Steps:
    """The progress line: the current step, a bar if its parts are counted, and the elapsed seconds.

    It has the signature of the library's ``progress``, so it can be passed on: ``Fuser(progress=step)``.

    Attributes:
        is_shown: whether it is visible.
        began: start time, in seconds of ``time.monotonic``.
    """

    def __init__(self, bar: Any = None) -> None:
        self.is_shown = bar is not None
        self.began = time.monotonic()
        self._bar = bar

    def __call__(self, step: str, done: float = 0, total: float = 0) -> None:
        """Show a step.

        Args:
            step: such as ``"reading"`` or ``"Writing the report"``.
            done: number of parts done.
            total: number of all parts, shown if more than 1; 0 if they are not counted.
        """
        if self._bar is not None:
            count = f" {done} of {total}" if total > 1 else ""
            text = f"{step[:1].upper()}{step[1:]}{count}"
            task = self._bar.tasks[0]
            task.total = total or None  # update() ignores None
            self._bar.update(task.id, description=text, completed=done)


@contextmanager
def steps(first: str = LOADING) -> Iterator[Steps]:
    """Show progress while the block runs; log and print output goes above the line.

    Args:
        first: the first step; default: the imports of every heavy command.

    Yields:
        A callable that shows the next step.
    """
    if not sys.stderr.isatty():
        yield Steps()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)  # a file's name may hold brackets
    bar = Progress(
        SpinnerColumn(),
        text,
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # output into a file or a pipe is untouched
    )
    bar.add_task(first, total=None)
    with bar:
        yield Steps(bar)
