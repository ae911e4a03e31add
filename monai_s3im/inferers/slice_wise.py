"""A 2D network over the slices of a volume."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor

logger = logging.getLogger(__name__)

_SIGNS_OF_FULL_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
)  # of the CPU's and MPS' allocators

_PIXELS_AT_ONCE = 2**19
"""More at once make the network no faster on a CPU, and it takes about 1 KiB a pixel."""


class SliceWiseInferer(Inferer):
    """Run a 2D network over every slice of a volume, several slices at a time.

    Whole slices are fused, at their own size, so there are no tiles and no seams. Beyond the volume itself and its
    result, memory does not grow with the number of slices: ``slice_batch`` of them at a time go to the network, on the
    CPU fewer of large ones. When the memory of the device, CPU or GPU, is too small for them, the batch is halved for
    the rest of the volume, which is logged, and the work goes on.

    Args:
        slice_batch: slices that the network sees at once, at most; on the CPU no more than 2^19 pixels, or one slice.
        progress: called after each batch with the number of slices done and of all slices.
        device: where the network is, if not where the inputs are: only the slices at work are there.
    """

    def __init__(
        self,
        slice_batch: int = 8,
        progress: Callable[[int, int], None] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        if slice_batch < 1:
            raise ValueError(f"slice_batch must be at least 1, got {slice_batch}")
        self.slice_batch = slice_batch
        self.progress = progress
        self.device = torch.device(device) if device is not None else None

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Fuse.

        Args:
            inputs: sources, (B, N, H, W), or a volume (B, N, H, W, D) with slices along the last axis.
            network: maps (B, N, H, W) to (B, C, H, W).
            *args: passed to the network.
            **kwargs: passed to the network.

        Returns:
            (B, C, H, W), or (B, C, H, W, D), on the device of ``inputs``.

        Raises:
            ValueError: if ``inputs`` has another number of dimensions, or no slice.
            torch.OutOfMemoryError: if a single slice is too large for the device.
        """
        inputs = convert_to_tensor(inputs)  # without metadata, which cost time in every layer
        if inputs.ndim == 4:
            return network(inputs.to(self.device or inputs.device), *args, **kwargs).to(inputs.device)
        if inputs.ndim != 5:
            raise ValueError(f"expected (B, N, H, W) or (B, N, H, W, D), got shape {tuple(inputs.shape)}")
        fused = [self._fuse_volume(volume, network, *args, **kwargs) for volume in inputs]
        return fused[0][None] if len(fused) == 1 else torch.stack(fused)

    def _fuse_volume(self, volume: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        total, device = volume.shape[-1], self.device or volume.device
        fused: Tensor | None = None
        start, batch = 0, min(self.slice_batch, total)
        if device.type == "cpu":
            batch = max(1, min(batch, _PIXELS_AT_ONCE // (volume.shape[1] * volume.shape[2])))
        while start < total:
            slices = volume[..., start : start + batch].movedim(-1, 0)  # (S, N, H, W)
            try:
                result = network(slices.contiguous().to(device), *args, **kwargs).movedim(0, -1)  # (C, H, W, S)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if batch == 1:
                    raise torch.OutOfMemoryError(str(error)) from error
                batch //= 2
                logger.warning("too little memory for %d slices at once: going on with %d", 2 * batch, batch)
                continue
            if fused is None:
                fused = torch.empty((*result.shape[:-1], total), dtype=result.dtype, device=volume.device)
            fused[..., start : start + result.shape[-1]] = result
            start += result.shape[-1]
            if self.progress is not None:
                self.progress(start, total)
        if fused is None:
            raise ValueError(f"a volume of shape {tuple(volume.shape)} has no slices")
        return fused


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS_OF_FULL_MEMORY)
