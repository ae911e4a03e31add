"""Handlers of training: checkpoints that survive an interruption, and the best model."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.engines import Trainer
from torch import nn

from .errors import InputError

logger = logging.getLogger(__name__)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the highest iteration in a folder; None where there is none."""
    checkpoints = Path(folder).glob("checkpoint_iteration=*.pt")
    return max(checkpoints, key=lambda path: int(path.stem.partition("=")[2]), default=None)


class ResumableCheckpoints:
    """Save the state of training after each epoch and when it is interrupted; go on from it when asked to.

    Each checkpoint is written beside and renamed, so that a killed process leaves the one before it whole.

    Args:
        folder: where the checkpoints are.
        state: objects with ``state_dict``, by name: network, optimizer, trainer, learning-rate schedule.
        resume: ``"latest"`` for the latest checkpoint in ``folder``, or the path of one; None starts anew.
        keep: checkpoints that are kept; older ones are removed.
    """

    def __init__(self, folder: str | Path, state: Mapping[str, Any], resume: str | None = None, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.state = dict(state)
        self.resume = resume
        self.keep = keep

    def run(self, trainer: Trainer) -> None:
        """Run the trainer from the beginning or from the checkpoint to resume from.

        Whatever ends the run early, an interruption by the user too, leaves a checkpoint of the last finished
        iteration.
        """
        if self.resume:
            trainer.add_event_handler(Events.STARTED, self.load)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        try:
            trainer.run()
        except BaseException:
            if trainer.state.iteration:
                self.save(trainer)
                logger.warning("training ended early; go on with resume from %s", self.folder)
            raise

    def load(self, engine: Engine) -> None:
        """Load the checkpoint that ``resume`` names.

        Raises:
            InputError: if there is none, or it is damaged or of another network.
        """
        path = latest_checkpoint(self.folder) if self.resume == "latest" else Path(str(self.resume))
        if path is None or not path.is_file():
            raise InputError(f"no checkpoint to resume from at {path or self.folder}; train without resume first")
        max_epochs = engine.state.max_epochs
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            Checkpoint.load_objects(to_load=self.state, checkpoint=checkpoint)
        except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
            raise InputError(
                f"{path} cannot be resumed from ({str(error).splitlines()[0]}); name an older checkpoint"
            ) from error
        engine.state.max_epochs = max_epochs
        logger.info("goes on from %s", path)

    def save(self, engine: Engine) -> None:
        """Save the state now, and remove what is older than the last ``keep``; of several processes, the first does."""
        if idist.get_rank() > 0:
            return
        saver = DiskSaver(str(self.folder), atomic=True, create_dir=True, require_empty=False)
        saver(
            {name: item.state_dict() for name, item in self.state.items()},
            f"checkpoint_iteration={engine.state.iteration}.pt",
        )
        ordered = sorted(
            self.folder.glob("checkpoint_iteration=*.pt"), key=lambda path: int(path.stem.partition("=")[2])
        )
        for path in ordered[: -self.keep]:
            path.unlink()


class BestModel:
    """Save the network's weights whenever the validator's key metric is the best so far.

    Args:
        path: the file of weights, a state dict.
        network: the network.
        metric: name of the metric; larger is better.
    """

    def __init__(self, path: str | Path, network: nn.Module, metric: str) -> None:
        self.path = Path(path)
        self.network = network
        self.metric = metric
        self.best = float("-inf")

    def attach(self, engine: Engine) -> None:
        """Attach to the validator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Compare and save."""
        value = float(engine.state.metrics[self.metric])
        if value > self.best:
            self.best = value
            saver = DiskSaver(str(self.path.parent), atomic=True, create_dir=True, require_empty=False)
            saver(self.network.state_dict(), self.path.name)
            logger.info("best %s so far, %.4f: weights saved to %s", self.metric, value, self.path)

    def state_dict(self) -> dict[str, float]:
        """The best value so far, for a checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take the best value from a checkpoint."""
        self.best = float(state["best"])
