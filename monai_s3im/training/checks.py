"""Checks before the first step of a training."""

from collections.abc import Sequence

from torch import nn

from monai_s3im.errors import InputError


def check_sources(network: nn.Module, keys: Sequence[str]) -> None:
    """Refuse a network for another number of sources.

    Args:
        network: not checked if it has no ``in_channels``.
        keys: the sources that are concatenated along the channels.

    Raises:
        InputError: if the numbers differ.
    """
    channels = getattr(network, "in_channels", None)
    if isinstance(channels, int) and channels != len(keys):
        raise InputError(
            f"the network takes {channels} sources, but the data has {len(keys)} ({', '.join(map(str, keys))}): set "
            f"network_def#in_channels to {len(keys)}"
        )
