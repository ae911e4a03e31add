"""Handlers of training: checkpoints that survive an interruption, and the best model."""

import io
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from monai.data.utils import set_rnd
from monai.engines import Trainer
from monai.utils import MAX_SEED, set_determinism
from torch import nn

from .data.atomic import remove_leftovers
from .data.writing import write_bytes
from .errors import InputError
from .networks import S3IMFusion

logger = logging.getLogger(__name__)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the highest iteration in a folder; None where there is none."""
    checkpoints = Path(folder).glob("checkpoint_iteration=*.pt")
    return max(checkpoints, key=lambda path: int(path.stem.partition("=")[2]), default=None)


class ResumableCheckpoints:
    """Save the state of training after each epoch and when it is interrupted; go on from it when asked to.

    Each checkpoint is written beside and renamed, so that a killed process leaves the one before it whole. The random
    numbers of an epoch depend on the seed and the epoch only, so that training that was killed and goes on from the end
    of an epoch ends with the very weights of an undisturbed one.

    Args:
        folder: where the checkpoints are.
        state: objects with ``state_dict``, by name: network, optimizer, trainer, learning-rate schedule.
        resume: ``"latest"`` for the latest checkpoint in ``folder``, or the path of one; None starts anew.
        keep: checkpoints that are kept; older ones are removed.
        seed: of all epochs; None: random numbers as they come.
    """

    def __init__(
        self,
        folder: str | Path,
        state: Mapping[str, Any],
        resume: str | None = None,
        keep: int = 2,
        seed: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.state = dict(state)
        self.resume = resume
        self.keep = keep
        self.seed = seed

    def run(self, trainer: Trainer) -> None:
        """Run the trainer from the beginning or from the checkpoint to resume from.

        Whatever ends the run early, an interruption by the user too, leaves a checkpoint of the last finished
        iteration.
        """
        for folder in (self.folder, self.folder.parent):
            remove_leftovers(folder)
        trainer.add_event_handler(Events.EPOCH_STARTED, self.seed_epoch)
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

    def seed_epoch(self, engine: Engine) -> None:
        """Seed all random numbers of an epoch: those of torch, numpy and the transforms."""
        if self.seed is not None:
            seed = (self.seed + 1_000_003 * engine.state.epoch) % MAX_SEED
            set_determinism(seed)
            set_rnd(engine.data_loader.dataset, seed)

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
        """Save the state now, and remove what is older than the last ``keep``; of several processes, the first does.

        Raises:
            OutputError: if it cannot be written; the checkpoint before it is whole.
        """
        if idist.get_rank() > 0:
            return
        state = {name: item.state_dict() for name, item in self.state.items()}
        _save(state, self.folder / f"checkpoint_iteration={engine.state.iteration}.pt")
        ordered = sorted(
            self.folder.glob("checkpoint_iteration=*.pt"), key=lambda path: int(path.stem.partition("=")[2])
        )
        for path in ordered[: -self.keep]:
            path.unlink()


class UprightStart:
    """Turn the network's output round where a training begins with a negative of its sources.

    Random weights give a negative as often as not, and Eq. (6), which compares strengths of gradients, is content to
    stay there. tanh is odd, so the negated last convolution gives exactly the negated image. A start that is no
    negative is left as it is, and so is a resumed training.

    Args:
        network: the one that is trained.
    """

    def __init__(self, network: S3IMFusion) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED(once=1), self)

    def __call__(self, engine: Engine) -> None:
        """Look at the first batch, of all processes together."""
        last = list(self.network.reconstruction[-1].parameters())
        sources = engine.state.batch["image"].to(last[0].device)  # (B, N, H, W)
        with torch.no_grad():
            fused, mean = self.network(sources), sources.mean(dim=1, keepdim=True)
            fused, mean = (image - image.mean(dim=(2, 3), keepdim=True) for image in (fused, mean))
            covariance = (fused * mean).sum().item()  # within the images: that between them can be of the other sign
            if idist.all_reduce(covariance) < 0:
                for parameter in last:
                    parameter.neg_()
                logger.info("the random weights gave a negative of the sources: turned round")


class NegativeImageWarning:
    """Warn when the network has learned a negative of the sources, from which training does not come back.

    The detail texture of Eq. (6) compares strengths of gradients and is as content with a negative. The mean SCD of the
    validation pairs tells: it is above 0 for any sensible fused image.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to the validator, which measures SCD."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Look at SCD, and warn."""
        value = float(engine.state.metrics["SCD"])
        if value < 0:
            logger.warning(
                "SCD is %.2f: the network has learned a negative of its sources; stop, and train with another seed",
                value,
            )


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
            _save(self.network.state_dict(), self.path)
            logger.info("best %s so far, %.4f: weights saved to %s", self.metric, value, self.path)

    def state_dict(self) -> dict[str, float]:
        """The best value so far, for a checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take the best value from a checkpoint."""
        self.best = float(state["best"])


def _save(state: Mapping[str, Any], path: Path) -> None:
    """Write a file of tensors, complete or not at all; equal tensors give equal bytes."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    with suppress(OSError):  # the next line tells
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(content.getvalue(), path)
