"""Handlers of training: checkpoints that survive an interruption, and the best model."""

import io
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from monai.data.utils import set_rnd
from monai.engines import Evaluator, Trainer
from monai.utils import MAX_SEED, set_determinism
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from monai_s3im.errors import InputError
from monai_s3im.formats.atomic import remove_leftovers
from monai_s3im.formats.paths import isfile
from monai_s3im.formats.writing import write_bytes

logger = logging.getLogger(__name__)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the highest iteration in a folder; None if there is none."""
    checkpoints = Path(folder).glob("checkpoint_iteration=*.pt")
    return max(checkpoints, key=lambda path: int(path.stem.partition("=")[2]), default=None)


class ResumableCheckpoints:
    """Save the state of training after each epoch and when it is interrupted; resume from it on request.

    Each checkpoint is written to a temporary file and renamed, so a killed process leaves the previous one intact. The
    random numbers of an epoch depend only on the seed and the epoch: training that is killed and resumed at the end of
    an epoch gives exactly the weights of an uninterrupted run.

    Args:
        folder: folder of the checkpoints.
        state: objects with ``state_dict``, by name: network, optimizer, trainer, learning-rate schedule.
        resume: ``"latest"`` for the latest checkpoint in ``folder``, or the path of one; None starts from the
            beginning.
        keep: number of checkpoints to keep, 1 or more; older ones are removed.
        seed: base seed of all epochs; None: unseeded.

    Raises:
        InputError: if ``keep`` is less than 1.
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
        self._start = 0
        if keep < 1:
            raise InputError(f"keep is {keep}: give the number of checkpoints to keep, at least 1")

    def run(self, trainer: Trainer) -> None:
        """Run the trainer from the beginning or from the checkpoint to resume from.

        A run that ends early, also by the user, leaves a checkpoint of the last finished iteration; or of the previous
        epoch, if the validation was not finished; or none, in the first iteration.

        Raises:
            InputError: if the folder has checkpoints of an earlier training, and ``resume`` is not set.
        """
        if not self.resume and (earlier := latest_checkpoint(self.folder)):
            raise InputError(
                f"{earlier} belongs to an earlier training: continue it with resume latest, or choose another "
                "output_dir"
            )
        for folder in (self.folder, self.folder.parent):
            remove_leftovers(folder)
        trainer.add_event_handler(Events.EPOCH_STARTED, self.seed_epoch)
        if self.resume:
            trainer.add_event_handler(Events.STARTED, self.load)
        trainer.add_event_handler(Events.STARTED, self._note_start)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        try:
            trainer.run()
        except BaseException:
            is_epoch_over = trainer.state.iteration == trainer.state.epoch * (trainer.state.epoch_length or 0)
            if trainer.state.iteration > self._start + 1 and not is_epoch_over:  # an immediate failure leaves nothing
                self.save(trainer)
            if latest_checkpoint(self.folder):
                logger.warning("training ended early; continue with resume from %s", self.folder)
            raise

    def seed_epoch(self, engine: Engine) -> None:
        """Seed all random numbers of an epoch: those of torch, numpy and the transforms."""
        if self.seed is not None:
            seed = (self.seed + 1_000_003 * engine.state.epoch) % MAX_SEED
            set_determinism(seed)
            set_rnd(
                engine.data_loader.dataset, (seed + 104_729 * idist.get_rank()) % MAX_SEED
            )  # different crops in each process

    def load(self, engine: Engine) -> None:
        """Load the checkpoint that ``resume`` names.

        Raises:
            InputError: if it is missing, damaged, or of another network, recipe, data set or batch size.
        """
        path = latest_checkpoint(self.folder) if self.resume == "latest" else Path(str(self.resume))
        if path is None or not isfile(path):
            raise InputError(f"no checkpoint to resume from at {path or self.folder}; train without resume first")
        max_epochs, batches, rate = engine.state.max_epochs, engine.state.epoch_length, self._learning_rate()
        found = self.state.get("lr_schedule")
        schedule = found if isinstance(found, CosineAnnealingLR) else None
        epochs = schedule.T_max if schedule else 0
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            if lacking := self.state.keys() - checkpoint.keys():
                raise ValueError(
                    f"it has no {' and '.join(sorted(lacking))}: it belongs to another recipe, or has only weights"
                )
            Checkpoint.load_objects(to_load=self.state, checkpoint=checkpoint)
        except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
            raise InputError(
                f"{path} cannot be resumed from ({str(error).splitlines()[0]}); name another checkpoint"
            ) from error
        if batches != engine.state.epoch_length:
            raise InputError(
                f"{path} has {engine.state.epoch_length} batches per epoch, but now there are {batches}: resume with "
                "the same data and batch_size, or start from its weights"
            )
        if rate != self._learning_rate():
            logger.warning("the learning rate is that of the checkpoint, %g, not %g", self._learning_rate(), rate)
        if schedule and schedule.T_max != epochs:
            _stretch(schedule, epochs)
        engine.state.max_epochs = max_epochs
        logger.info("continues from %s", path)
        if engine.state.iteration >= (max_epochs or 0) * batches:
            logger.warning("it has already been trained for %d epochs: give more to continue", engine.state.epoch)

    def _note_start(self, engine: Engine) -> None:
        self._start = engine.state.iteration

    def _learning_rate(self) -> float | None:
        """The learning rate at the start, before any schedule."""
        optimizer = self.state.get("optimizer")
        if optimizer is None:
            return None
        group = optimizer.param_groups[0]
        return float(group.get("initial_lr", group["lr"]))

    def save(self, engine: Engine) -> None:
        """Save the state now, and remove all but the last ``keep``; with several processes, only the first does this.

        Raises:
            OutputError: if it cannot be written; the previous checkpoint stays intact.
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


def _stretch(schedule: CosineAnnealingLR, epochs: int) -> None:
    """Adapt a schedule to a new number of epochs, with the rate that a training of this length has now."""
    schedule.T_max = epochs
    part = (1 + math.cos(math.pi * min(schedule.last_epoch, epochs) / epochs)) / 2
    for group, rate in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = schedule.eta_min + (rate - schedule.eta_min) * part


class BestModel:
    """Save the network's weights whenever the validator's key metric is the best so far.

    The validator decides which of two values is better (``metric_cmp_fn``; by MONAI's default, the larger). Without a
    key metric, the weights of the last epoch are kept.

    Args:
        path: the file of weights, a state dict.
        network: the network.
    """

    def __init__(self, path: str | Path, network: nn.Module) -> None:
        self.path = Path(path)
        self.network = network
        self.best = math.nan

    def attach(self, engine: Evaluator) -> None:
        """Attach to the validator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Compare and save."""
        name = engine.state.key_metric_name
        if name is None:
            _save(self.network.state_dict(), self.path)
            return
        value = float(engine.state.metrics[name])
        if math.isnan(value):
            return
        if math.isnan(self.best) or engine.metric_cmp_fn(value, self.best):
            self.best = value
            _save(self.network.state_dict(), self.path)
            logger.info("best %s so far, %.4f: weights saved to %s", name, value, self.path)

    def state_dict(self) -> dict[str, float]:
        """The best value so far, for a checkpoint; NaN if there is none."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take the best value from a checkpoint."""
        best = float(state["best"])
        self.best = best if math.isfinite(best) else math.nan  # earlier checkpoints have -inf for none


def _save(state: Mapping[str, Any], path: Path) -> None:
    """Write a file of tensors, complete or not at all; equal tensors give equal bytes."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    with suppress(OSError):  # the next line reports it
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(content.getvalue(), path)
