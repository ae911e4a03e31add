"""Handlers of training against networks that learn a negative of their sources."""

import logging

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from monai_s3im.networks import S3IMFusion

logger = logging.getLogger(__name__)

_NEGATIVE = -0.5  # a correlation beyond chance


class UprightStart:
    """Flip the sign of the network's output if training begins with a negative of its sources.

    Random weights give a negative about half of the time, and Eq. (6), which compares gradient strengths, does not
    correct it. tanh is odd, so the negated last convolution gives exactly the negated image. Any other start, and
    resumed training, is left unchanged.

    Args:
        network: the trained network; unchanged unless it is an :class:`S3IMFusion`.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED(once=1), self)

    def __call__(self, engine: Engine) -> None:
        """Check the first batch, over all processes."""
        if not isinstance(self.network, S3IMFusion):
            return
        last = list(self.network.reconstruction[-1].parameters())
        sources = engine.state.batch["image"].to(last[0].device)  # (B, N, H, W)
        with torch.no_grad():
            fused, mean = self.network(sources), sources.mean(dim=1, keepdim=True)
            fused, mean = (image - image.mean(dim=(2, 3), keepdim=True) for image in (fused, mean))
            covariance = (fused * mean).sum().item()  # within images; between images the sign can differ
            if idist.all_reduce(covariance) < 0:
                for parameter in last:
                    parameter.neg_()
                logger.info("the random weights gave a negative of the sources: sign flipped")


class NegativeImageWarning:
    """Warn when the network has learned a negative of the sources, from which training does not recover.

    The detail texture of Eq. (6) compares gradient strengths and accepts a negative as well. The criterion is the mean
    correlation of the network's output with the mean of its sources: near -1 for a negative, and near 0 while the
    output is almost empty, as after the first epochs.
    """

    def __init__(self) -> None:
        self._correlations: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the validator."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.look)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def look(self, engine: Engine) -> None:
        """Correlate the network's output, before clipping, with its sources."""
        images = (engine.state.output["pred"], engine.state.output["image"].mean(dim=1, keepdim=True))
        fused, sources = (convert_to_tensor(image).double().flatten(1) for image in images)
        fused, sources = (image - image.mean(dim=1, keepdim=True) for image in (fused, sources))
        self._correlations.append(torch.cosine_similarity(fused, sources, dim=1).cpu())

    def __call__(self, _engine: Engine) -> None:
        """Check the mean over all images, and warn."""
        value = float(torch.cat(self._correlations).mean()) if self._correlations else 0.0
        self._correlations.clear()
        if value < _NEGATIVE:
            logger.warning(
                "the fused images are a negative of their sources (correlation %.2f): stop, and use another seed",
                value,
            )
