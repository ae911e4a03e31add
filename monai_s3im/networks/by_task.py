"""A network for each task."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from monai_s3im.errors import InputError

from .weights import is_as_shipped, load_weights

if TYPE_CHECKING:  # a fusion needs no ignite, and 3D Slicer has none
    from ignite.engine import Engine


class TaskNetworks(nn.Module):
    """Copies of one network with the weights of each task, each loaded once; a pair uses the copy of its task.

    Every file is checked immediately. Packaged weights are loaded when a pair first needs them, which saves most of the
    set-up time; other weights are loaded immediately, since only loading shows whether they fit.

    As a handler it lets an evaluator fuse each batch by the network of the batch's ``task``. It does not touch a
    network that got its weights elsewhere, such as from a ``CheckpointLoader`` or a federated client.

    Args:
        network: with the shape of the weights; not modified.
        weights: task -> file.
        device: device for the networks.

    Raises:
        InputError: as :func:`load_weights`.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, str | Path], device: str = "cpu") -> None:
        super().__init__()
        self.files = dict(weights)
        self.networks = nn.ModuleDict()
        self._empty = (network,)  # in a tuple: not a part of this module
        self._as_made = {name: value.clone() for name, value in network.state_dict().items()}
        self._device = device
        shipped = {file: is_as_shipped(file) for file in dict.fromkeys(weights.values())}
        for task, file in weights.items():
            if not shipped[file]:
                self.network_of(task)

    def forward(self, image: Tensor, task: str | Sequence[str]) -> Tensor:
        """Fuse.

        Args:
            image: the sources, (B, sources, H, W).
            task: one name for all of them, or a list with the same name for each.

        Returns:
            The output of the task's network.

        Raises:
            ValueError: if the tasks differ.
            InputError: if the weights give NaN or infinity; on a GPU the inferer checks the whole volume.
        """
        tasks = {task} if isinstance(task, str) else set(task)
        if len(tasks) != 1:
            raise ValueError(f"a batch must have one task, not {', '.join(sorted(tasks))}")
        chosen = tasks.pop()
        fused: Tensor = self.network_of(chosen)(image)
        if fused.device.type == "cpu" and not fused.sum().isfinite():
            raise InputError(f"{self.files[chosen]} gives NaN or infinity for these images: name other weights")
        return fused

    def attach(self, engine: "Engine") -> None:
        """Attach to an evaluator with the network given here and batches with a single ``task``.

        Batches get ``fused_by``, the task of the weights used; without it, the weights came from elsewhere.
        """
        from ignite.engine import Events  # noqa: PLC0415 (see above)

        engine.add_event_handler(Events.ITERATION_STARTED, self._choose)

    def _choose(self, engine: "Engine") -> None:
        batch = engine.state.batch
        now = self._empty[0].state_dict()
        if now.keys() == self._as_made.keys() and all(torch.equal(now[name], self._as_made[name]) for name in now):
            batch["fused_by"] = batch["task"]  # for the record
            engine.network = self.network_of(batch["task"][0])

    def network_of(self, task: str) -> nn.Module:
        """The network of a task, loaded at first use.

        Raises:
            InputError: as :func:`load_weights`.
        """
        if task not in self.networks:
            file = self.files[task]
            same = [self.networks[other] for other in self.networks if self.files[other] == file]
            self.networks[task] = same[0] if same else load_weights(deepcopy(self._empty[0]), file).to(self._device)
        return self.networks[task]
