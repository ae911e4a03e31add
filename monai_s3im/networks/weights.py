"""Weights of a network, from a file."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_s3im.errors import InputError
from monai_s3im.networks.nets.pyramid_fusion import PyramidFusion

from .export import EXPORT_FORMATS, load_exported

MANIFEST = "manifest.json"  # beside the weights of the package; written by .ci/weights.py


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a state dict into a network, and put the network into evaluation mode.

    Args:
        network: on any device.
        path: a file that ``torch.save`` wrote; loaded with ``weights_only``, so that it can run no code. If a manifest
            beside it names it, as for the weights of the package, its SHA256 must be the one given there. Or a
            whole network that :func:`~monai_s3im.networks.export_network` wrote. Weights of the default
            :class:`~monai_s3im.networks.PyramidFusion` are known by their names, and get that network.

    Returns:
        The network, the pyramid network, or the one that was exported.

    Raises:
        InputError: if the file is missing, damaged, not the one that its manifest names, or of another network.
    """
    path = Path(path)
    if path.suffix in EXPORT_FORMATS.values():
        return load_exported(path)
    content, _ = _read(path)
    try:
        _check_unpacked(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network = _network_for(state, network)
        network.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} holds no weights of this network ({reason}): name another file, or install the package again"
        ) from error
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise InputError(f"{path} holds NaN or infinite weights: name another file, or install the package again")
    return network.eval()


def _network_for(state: Any, network: nn.Module) -> nn.Module:
    """The network, or a pyramid network on its device where the weights are of one."""
    if isinstance(network, PyramidFusion):
        return network
    pyramid = PyramidFusion()
    if not isinstance(state, Mapping) or state.keys() != pyramid.state_dict().keys():
        return network
    return pyramid.to(next(network.parameters()).device)


def is_as_shipped(path: str | Path) -> bool:
    """Whether the manifest beside a file of weights names it; its SHA256 is then the right one.

    Raises:
        InputError: if the file is missing or not the one that its manifest names, or the manifest is damaged.
    """
    path = Path(path)
    return path.suffix not in EXPORT_FORMATS.values() and _read(path)[1]


def _read(path: Path) -> tuple[bytes, bool]:
    """The bytes of a file, and whether its manifest names it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"no weights at {path}: name a file of weights, or install the package again") from error
    entry = read_manifest(path.parent).get(path.name)
    if entry is not None and hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise InputError(
            f"{path} is not the file that {MANIFEST} beside it names (its SHA256 differs): install the package again, "
            "or give weights of your own a name of their own"
        )
    return content, entry is not None


def _check_unpacked(content: bytes) -> None:
    """Refuse an archive that unpacks to much more than it is; ``torch.save`` does not compress."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 2 * len(content):
                raise ValueError("it is compressed")


def read_manifest(folder: str | Path) -> dict[str, dict[str, Any]]:
    """What the manifest in a folder of weights says of each file; empty where there is no manifest.

    Returns:
        By file name: ``sha256``, and ``answer``, the fused values of the known pair of :mod:`monai_s3im.doctor`.

    Raises:
        InputError: if the manifest is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(entry["sha256"], str) for entry in manifest.values()):
            raise TypeError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: install the package again") from error
    return dict(manifest)
