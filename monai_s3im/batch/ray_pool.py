"""Call a function for many items on the workers of a Ray cluster, which may die."""

import logging
import os
import pickle
import platform
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch

from monai_s3im.errors import InputError

from .local_pool import LostWorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 3

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
_CONNECT_S = 10.0
_TELL_AFTER_S = 60.0
_OBJECT_STORE_BYTES = 100 * 2**20  # only names and results pass through it


def run_on_ray(
    function: Callable[[Any, Item], Result],
    tool: Any,
    items: Sequence[Item],
    workers: int | None = None,
    *,
    address: str | None = None,
    check: Callable[[Any], object] | None = None,
    use_gpus: bool = True,
) -> Generator[tuple[Item, Result | LostWorkerError], None, None]:
    """Call ``function(tool, item)`` for every item, on the workers of a cluster that each have a copy of ``tool``.

    The cluster runs one worker per GPU or, without GPUs, one per node. Workers start as nodes join, and restart when
    they die. An item whose worker dies is given up after three tries. The workers end with this process, however it
    ends, and when the iterator is closed.

    Args:
        function: importable by its name on every node.
        tool: can be pickled; a worker makes its copy once.
        items: can be pickled.
        workers: the maximum; without GPUs, they divide the CPUs of the cluster and torch's threads among them.
        address: of the cluster: ``"HOST:PORT"``, or ``"auto"`` for one that runs on this machine too; ``"local"``
            starts one on this machine for this call. None: the value of ``RAY_ADDRESS``, else ``"local"``.
        check: called by a worker with its copy of ``tool``; also importable. If it, or making the copy, raises an
            InputError, the worker gets no items.
        use_gpus: False leaves GPUs alone.

    Yields:
        Each item with its result or its error, in the order of completion.

    Raises:
        InputError: if Ray is not installed, no cluster answers, or no worker passes the check.
    """
    ray = _ray()
    with _connected(ray, address):
        crew = _Crew(ray, pickle.dumps((function, tool, check)), workers, use_gpus)
        try:
            yield from crew.work(items)
        finally:
            crew.end()


class _Worker:
    """The part that runs on a node."""

    def set_up(self, job: bytes, folder: str, threads: int, level: int, use_gpu: bool) -> str | None:
        """Make the copy of the tool; return why this node cannot be used."""
        if not use_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        with suppress(OSError):
            os.chdir(folder)
        torch.set_num_threads(threads)
        logging.basicConfig(format="%(message)s")
        logging.getLogger("monai_s3im").setLevel(level)
        try:
            function, tool, check = pickle.loads(job)  # noqa: S301 (our own, sent by the driver)
            if check is not None:
                check(tool)
        except (InputError, ImportError) as error:
            return f"worker {platform.node()}: {error}"
        self._function = partial(function, tool)
        return None

    def call(self, item: Any) -> Any:
        return self._function(item)


class _Crew:
    """The workers on a cluster, and what each is doing."""

    def __init__(self, ray: Any, job: bytes, workers: int | None, use_gpus: bool) -> None:
        self._ray, self._job, self._most, self._use_gpus = ray, job, workers, use_gpus
        self._share: dict[str, int] = {}  # of each worker
        self._threads = 1
        self._workers: list[Any] = []
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}  # future -> worker
        self._running: dict[Any, tuple[Any, Any, int]] = {}  # future -> worker, item, number of the try
        self._refusals: list[str] = []  # these workers are kept to occupy their nodes
        self._losses = 0  # of workers at their start, in a row
        self._idle_since = time.monotonic()

    def work(self, items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        waiting = deque((item, 1) for item in items)
        while (waiting or self._running) and not self._is_hopeless():
            self._start_workers(len(waiting) + len(self._running))
            while waiting and self._idle:
                worker, (item, number) = self._idle.pop(), waiting.popleft()
                self._running[worker.call.remote(item)] = (worker, item, number)
            for future in self._done():
                if future in self._starting:
                    self._take_on(future)
                    continue
                worker, item, number = self._running.pop(future)
                outcome = self._outcome(future, worker)
                if isinstance(outcome, LostWorkerError) and number < TRIES:
                    waiting.appendleft((item, number + 1))
                else:
                    yield item, outcome
        if waiting and self._refusals:
            raise InputError(self._refusals[0])
        yield from ((item, LostWorkerError("no worker on the cluster stays alive")) for item, _ in waiting)

    def end(self) -> None:
        for worker in self._workers[:]:
            self._dismiss(worker)

    def _start_workers(self, items: int) -> None:
        """Start as many workers as the cluster has room for now and the remaining items need."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not self._share:
            self._share, self._threads = _share_of(nodes, self._most, self._use_gpus)
        (name, amount), *_ = self._share.items() or [("CPU", 1)]
        places = sum(int(node.get(name, 0) // amount) for node in nodes)
        wanted = min(places, self._most or places, items + len(self._refusals))
        while len(self._workers) < wanted and self._losses < TRIES:
            options = {"num_cpus": 0} | {f"num_{name.lower()}s": amount for name, amount in self._share.items()}
            worker = self._ray.remote(_Worker).options(**options, scheduling_strategy="SPREAD").remote()
            self._workers.append(worker)
            level = logging.getLogger("monai_s3im").getEffectiveLevel()
            set_up = (self._job, str(Path.cwd()), self._threads, level, "GPU" in self._share)
            self._starting[worker.set_up.remote(*set_up)] = worker

    def _done(self) -> list[Any]:
        """Futures that are done; waits a limited time."""
        if self._running:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > _TELL_AFTER_S:
            self._idle_since = time.monotonic()
            logger.warning("no GPU or CPU of the cluster is free; waiting for one (Ctrl-C stops)")
        futures = [*self._running, *self._starting]
        if not futures:
            time.sleep(_LOOK_EVERY_S)
            return []
        done: list[Any] = self._ray.wait(futures, timeout=_LOOK_EVERY_S)[0]
        return done

    def _take_on(self, future: Any) -> None:
        """Give work to a worker that has started, unless it died or its node cannot be used."""
        worker = self._starting.pop(future)
        refusal = self._outcome(future, worker)
        if isinstance(refusal, LostWorkerError):
            self._losses += 1
        elif refusal is not None:
            logger.warning("%s", refusal)
            self._idle.remove(worker)
            self._refusals.append(refusal)
        else:
            self._losses = 0

    def _outcome(self, future: Any, worker: Any) -> Any:
        """Take the result of a worker, which is then idle, or dismissed if it died."""
        try:
            outcome = self._ray.get(future)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError:
            self._dismiss(worker)
            return LostWorkerError(f"its process died, {TRIES} times (killed, or out of memory)")
        self._idle.append(worker)
        return outcome

    def _dismiss(self, worker: Any) -> None:
        self._workers.remove(worker)
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(worker)

    def _is_hopeless(self) -> bool:
        """Whether no worker can be used and none is starting."""
        if self._idle or self._running or self._starting:
            return False
        return self._losses >= TRIES or (bool(self._refusals) and len(self._refusals) == len(self._workers))


def _share_of(nodes: list[dict[str, float]], workers: int | None, use_gpus: bool) -> tuple[dict[str, int], int]:
    """The resources and threads for each worker; None while the nodes have nothing free."""
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    gpus = int(sum(node.get("GPU", 0) for node in nodes)) if use_gpus else 0
    if gpus:
        return {"GPU": 1}, max(1, sum(cpus) // gpus)
    if not cpus:
        return {}, 1
    if workers is None:
        return {"CPU": min(cpus)}, min(cpus)
    fitting = (share for share in count(max(cpus), -1) if share == 1 or sum(cpu // share for cpu in cpus) >= workers)
    share = next(fitting)
    return {"CPU": share}, share


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster unless this process already is; a connection made here ends here."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        if match := re.fullmatch(r"(.+):(\d+)", address):
            socket.create_connection((match[1], int(match[2])), _CONNECT_S).close()  # ray itself tries for two minutes
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"no usable Ray cluster at {address!r} ({cause}): check that it is running") from error
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise InputError("a cluster needs Ray: python -m pip install 'ray>=2.40'") from error
