"""Load the weights of a network from a file."""

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
from monai_s3im.networks.nets.s3im_fusion import S3IMFusion

from .export import EXPORT_FORMATS, load_exported

MANIFEST = "manifest.json"  # next to the packaged weights; written by .ci/weights.py


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a state dict into a network, and set evaluation mode.

    Args:
        network: on any device.
        path: a file that ``torch.save`` wrote; loaded with ``weights_only``, so that it can run no code. If a manifest
            beside it names it, as for the weights of the package, its SHA256 must be the one given there. Or a
            whole network that :func:`~monai_s3im.networks.export_network` wrote. Weights of the default
            :class:`~monai_s3im.networks.PyramidFusion` are known by their names, and get that network instead of
            :class:`~monai_s3im.networks.S3IMFusion`; any other network is kept.

    Returns:
        The network, the pyramid network, or the exported one.

    Raises:
        InputError: if the file is missing, damaged, different from its manifest, or of another network.
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
            f"{path} has no weights of this network ({reason}): name another file, or install the package again"
        ) from error
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise InputError(f"{path} holds NaN or infinite weights: name another file, or install the package again")
    return network.eval()


def _network_for(state: Any, network: nn.Module) -> nn.Module:
    """The network, or a pyramid network on its device instead of :class:`S3IMFusion` if the weights belong to one."""
    if not isinstance(network, S3IMFusion):
        return network
    pyramid = PyramidFusion()
    if not isinstance(state, Mapping) or state.keys() != pyramid.state_dict().keys():
        return network
    return pyramid.to(next(network.parameters()).device)


def is_as_shipped(path: str | Path) -> bool:
    """Whether the manifest next to a weights file lists it, which also verifies its SHA256.

    Raises:
        InputError: if the file is missing or different from its manifest, or the manifest is damaged.
    """
    path = Path(path)
    return path.suffix not in EXPORT_FORMATS.values() and _read(path)[1]


def _read(path: Path) -> tuple[bytes, bool]:
    """The bytes of a file, and whether its manifest lists it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} does not exist: name a weights file, or install the package again") from error
    entry = read_manifest(path.parent).get(path.name)
    if entry is not None and hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise InputError(
            f"{path} is not the file that {MANIFEST} lists (its SHA256 differs): install the package again, "
            "or rename your own weights"
        )
    return content, entry is not None


def _check_unpacked(content: bytes) -> None:
    """Refuse an archive that unpacks to much more than its size; ``torch.save`` does not compress."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 2 * len(content):
                raise ValueError("it is compressed")


def read_manifest(folder: str | Path) -> dict[str, dict[str, Any]]:
    """The manifest entries of a weights folder; empty without a manifest.

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
