"""End a training in several processes."""

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def leave_process_group(network: nn.Module | None = None) -> None:
    """Wait for the other processes and end the threads that exchanged gradients; nothing without a process group.

    ``destroy_process_group`` alone leaves the threads of gloo running while a ``DistributedDataParallel`` holds the
    group. A thread that is still releasing a tensor when Python ends aborts the process ("terminate called without an
    active exception"), although the training is complete.

    Args:
        network: the trained network; of a ``DistributedDataParallel`` only ``module`` can be used afterwards.
    """
    if not dist.is_initialized():
        return
    dist.barrier()
    if isinstance(network, DistributedDataParallel):
        for held in ("reducer", "logger", "process_group"):
            delattr(network, held)
    dist.destroy_process_group()
