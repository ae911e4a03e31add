"""Call a function for many items in processes that may die."""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_function: Callable[[Any], Any]


class LostWorkerError(RuntimeError):
    """A worker died before it finished an item."""


def run_in_workers(
    function: Callable[[Any, Item], Result], tool: Any, items: Sequence[Item], workers: int
) -> Generator[tuple[Item, Result | LostWorkerError], None, None]:
    """Call ``function(tool, item)`` for every item, in processes that each have a copy of ``tool``.

    When a worker dies, it is not known which item it had. All items in progress are tried again, one at a time; an
    item whose worker dies again is given up. The workers end with this process, however it ends, and when the iterator
    is closed. Ctrl-C reaches this process only, not the workers.

    Args:
        function: importable by its name.
        tool: can be pickled; a worker makes its copy once.
        items: can be pickled.
        workers: number of processes; torch's threads are divided among them.

    Yields:
        Each item with its result or its error, in the order of completion.
    """
    start = partial(_until_a_loss, function, tool, max(1, torch.get_num_threads() // workers))
    waiting, suspects = deque(items), deque[Item]()
    while waiting:
        for item, outcome in start(waiting, workers):
            if isinstance(outcome, LostWorkerError):
                suspects.append(item)
            else:
                yield item, outcome
        while suspects:
            yield from start(suspects, 1)


def _until_a_loss(
    function: Callable[[Any, Item], Result], tool: Any, threads: int, items: deque[Item], workers: int
) -> Generator[tuple[Item, Result | LostWorkerError], None, None]:
    """Take items and yield their results; end when none is left, or after those that a lost worker may have held."""
    strangers = set(active_children())
    level = logging.getLogger("monai_s3im").getEffectiveLevel()
    set_up = (function, tool, threads, level)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _set_up_worker, set_up)
    running: dict[Future[Result], Item] = {}
    is_lost = False
    try:
        while (items or running) and not is_lost:
            try:
                while items and len(running) < workers:
                    with _interrupts_held():
                        running[pool.submit(_call, items[0])] = items[0]
                        items.popleft()
                done = wait(running, return_when=FIRST_COMPLETED).done
                is_lost = any(isinstance(future.exception(), BrokenProcessPool) for future in done)
            except BrokenProcessPool:
                is_lost = True
            for future in wait(running).done if is_lost else done:
                item = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    yield item, LostWorkerError("its process died, twice (killed, or out of memory)")
                else:
                    yield item, future.result()
    except BaseException:
        for worker in set(active_children()) - strangers:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up_worker(function: Callable[[Any, Item], Result], tool: Any, threads: int, level: int) -> None:
    global _function  # noqa: PLW0603 (the executor gives a worker no other place for it)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("monai_s3im").setLevel(level)
    _function = partial(function, tool)


def _end_with_parent() -> None:
    """A worker holds both ends of its queue, so it would wait for ever after the parent is killed."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _call(item: Any) -> Any:
    return _function(item)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C while a process starts; the process inherits this and never receives it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
