"""What a command is doing, on one line of a terminal; nothing where standard error is not a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOADING = "Loading PyTorch and MONAI"


class Steps:
    """The line on the terminal: the step at work, a bar where its parts are counted, and the seconds so far.

    It is called as the library calls ``progress``, so it can be handed on: ``Fuser(progress=step)``.

    Attributes:
        is_shown: whether anybody sees it.
        began: when it began, in the seconds of ``time.monotonic``.
    """

    def __init__(self, bar: Any = None) -> None:
        self.is_shown = bar is not None
        self.began = time.monotonic()
        self._bar = bar

    def __call__(self, step: str, done: float = 0, total: float = 0) -> None:
        """Show a step.

        Args:
            step: such as ``"reading"`` or ``"Writing the report"``.
            done: its parts that are done.
            total: all its parts, named as a count if they are more than 1; 0 where they are not counted.
        """
        if self._bar is not None:
            count = f" {done} of {total}" if total > 1 else ""
            text = f"{step[:1].upper()}{step[1:]}{count}"
            task = self._bar.tasks[0]
            task.total = total or None  # update() takes None for: as it was
            self._bar.update(task.id, description=text, completed=done)


@contextmanager
def steps(first: str = LOADING) -> Iterator[Steps]:
    """Show what happens while the block runs, from its first moment; what is logged or printed goes above the line.

    Args:
        first: the step to begin with; by default the imports that every heavy command begins with.

    Yields:
        What shows the next step.
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
        redirect_stdout=sys.stdout.isatty(),  # what goes into a file or a pipe stays there
    )
    bar.add_task(first, total=None)
    with bar:
        yield Steps(bar)
