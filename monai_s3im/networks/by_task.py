"""A network for each task."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

from torch import Tensor, nn

from monai_s3im.errors import InputError

from .weights import load_weights


class TaskNetworks(nn.Module):
    """Copies of one network with the weights of each task, all loaded once; a pair goes through that of its task.

    Args:
        network: of the weights' shape; left as it is.
        weights: task -> file.
        device: where the networks shall be.

    Raises:
        InputError: as :func:`load_weights`.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, str | Path], device: str = "cpu") -> None:
        super().__init__()
        loaded = {file: load_weights(deepcopy(network), file).to(device) for file in dict.fromkeys(weights.values())}
        self.files = dict(weights)
        self.networks = nn.ModuleDict({task: loaded[file] for task, file in weights.items()})

    def forward(self, image: Tensor, task: str | Sequence[str]) -> Tensor:
        """Fuse.

        Args:
            image: the sources, (B, sources, H, W).
            task: of all of them; or of each, the same for all.

        Returns:
            What the network of the task gives.

        Raises:
            ValueError: if the tasks differ.
            InputError: if the weights give NaN or infinity; on a GPU that is told of the whole volume, by the inferer.
        """
        tasks = {task} if isinstance(task, str) else set(task)
        if len(tasks) != 1:
            raise ValueError(f"a batch is of one task, not of {', '.join(sorted(tasks))}")
        chosen = tasks.pop()
        fused: Tensor = self.networks[chosen](image)
        if fused.device.type == "cpu" and not fused.sum().isfinite():
            raise InputError(f"{self.files[chosen]} gives NaN or infinity for these images: name other weights")
        return fused
