"""Weights of a network, from a file."""

from pathlib import Path

import torch
from torch import nn

from monai_s3im.errors import InputError


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a state dict into a network, and put the network into evaluation mode.

    Args:
        network: on any device.
        path: a file that ``torch.save`` wrote; loaded with ``weights_only``, so that it can run no code.

    Returns:
        The network.

    Raises:
        InputError: if the file is missing, damaged or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights at {path}: name a file of weights, or install the package again")
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} holds no weights of this network ({reason}): name another file, or install the package again"
        ) from error
    return network.eval()
