"""Deterministic computation: the same bytes on every run of one machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_way() -> Iterator[None]:
    """Compute with one thread, deterministic algorithms and, on a GPU, full float32; restore the settings afterwards.

    If torch has no deterministic algorithm, it warns and continues.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
    threads = torch.get_num_threads()
    mode, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warns)
        torch.set_num_threads(threads)
