"""A 2D network over the slices of a volume."""

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from monai_s3im.errors import InputError

from .one_way import one_way

logger = logging.getLogger(__name__)

_SIGNS_OF_FULL_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
)  # of the CPU's and MPS' allocators

_PIXELS_AT_ONCE = 2**19
"""More pixels at once do not make the network faster on a CPU."""

_BYTES_A_PIXEL = 1024
"""Approximate memory of the network, in float32."""

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class SliceWiseInferer(Inferer):
    """Run a 2D network over every slice of a volume, several slices at a time.

    Whole slices are fused at full size, so there are no tiles and no seams. Apart from the volume and its result,
    memory does not grow with the number of slices: the network gets ``slice_batch`` at a time, on the CPU fewer if they
    are large. If the device runs out of memory, the batch is halved for the rest of the volume, with a log message.

    Args:
        slice_batch: maximum slices per call of the network; on the CPU at most 2^19 pixels, or one slice.
        progress: called after each batch with the number of slices done and of all slices.
        device: device of the network, if different from that of the inputs; it holds only the current slices. Transfers
            between CPU and CUDA overlap with the computation.
        precision: ``"float32"``, or ``"bfloat16"`` or ``"float16"`` for autocast, which helps if the device supports
            it; the result is float32.
        deterministic: compute slice by slice with :func:`one_way`: the same bytes for any number of threads and
            ``slice_batch``, but slower.

    Raises:
        InputError: if ``precision`` is unknown, or ``slice_batch`` is less than 1.
    """

    def __init__(
        self,
        slice_batch: int = 8,
        progress: Callable[[int, int], None] | None = None,
        device: str | torch.device | None = None,
        precision: str = "float32",
        deterministic: bool = False,
    ) -> None:
        super().__init__()
        if slice_batch < 1:
            raise InputError(f"slice_batch is {slice_batch}: give the number of slices per batch, at least 1")
        if precision not in _PRECISIONS:
            raise InputError(f"the precision {precision!r} is unknown: use {', '.join(_PRECISIONS)}")
        self.slice_batch = slice_batch
        self.progress = progress
        self.device = torch.device(device) if device is not None else None
        self.precision = precision
        self.deterministic = deterministic

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Fuse.

        Args:
            inputs: sources, (B, N, H, W), or a volume (B, N, H, W, D) with slices along the last axis.
            network: maps (B, N, H, W) to (B, C, H, W).
            *args: passed to the network.
            **kwargs: passed to the network.

        Returns:
            (B, C, H, W), or (B, C, H, W, D), on the device of ``inputs``, with their metadata if they have any.

        Raises:
            ValueError: if ``inputs`` has another number of dimensions, or no slices.
            InputError: if the network gives NaN or infinity.
            torch.OutOfMemoryError: if a single slice is too large for the device.
        """
        sources = convert_to_tensor(inputs)  # without metadata, which slows every layer
        with one_way() if self.deterministic else nullcontext():
            fused = self._fuse(sources, network, *args, **kwargs)
        if not torch.isfinite(fused.sum()):
            raise InputError(
                "the network gave NaN or infinity for these images: give other weights, or use the precision float32"
            )
        return convert_to_dst_type(fused, inputs, dtype=fused.dtype)[0] if isinstance(inputs, MetaTensor) else fused

    def _fuse(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        if inputs.ndim == 4:
            fused = self._run(network, inputs.to(self.device or inputs.device), *args, **kwargs)
            return fused.to(inputs.device)
        if inputs.ndim != 5:
            raise ValueError(f"expected (B, N, H, W) or (B, N, H, W, D), got shape {tuple(inputs.shape)}")
        volumes = [self._fuse_volume(volume, network, *args, **kwargs) for volume in inputs]
        return volumes[0][None] if len(volumes) == 1 else torch.stack(volumes)

    def _run(self, network: Callable[..., Tensor], image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.precision == "float32":
            return network(image, *args, **kwargs)
        with torch.autocast(image.device.type, _PRECISIONS[self.precision]):
            return network(image, *args, **kwargs).float()

    def _fuse_volume(self, volume: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        total, device = volume.shape[-1], self.device or volume.device
        if total == 0:
            raise ValueError(f"a volume of shape {tuple(volume.shape)} has no slices")
        travel = _Travel(volume, device)
        pixels = volume.shape[1] * volume.shape[2]
        most = 1 if self.deterministic else self.slice_batch
        start, batch = 0, max(1, min(most, total, _most_pixels(device) // pixels))
        while start < total:
            try:
                result = self._run(network, travel.slices(start, batch), *args, **kwargs)  # (S, C, H, W)
                travel.keep(start, result)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if batch == 1:
                    raise torch.OutOfMemoryError(str(error)) from error
                batch //= 2
                logger.warning("too little memory for %d slices at once: continuing with %d", 2 * batch, batch)
                continue
            start += len(result)
            if self.progress is not None:
                self.progress(start, total)
        return travel.fused()


class _Travel:
    """Copy slices of a volume to the device and results back; between CPU and CUDA during the computation."""

    def __init__(self, volume: Tensor, device: torch.device) -> None:
        self._volume, self._device = volume, device
        self._aside = torch.cuda.Stream(device) if device.type == "cuda" and volume.device.type == "cpu" else None
        self._fused: Tensor | None = None
        self._coming: tuple[int, Tensor, torch.cuda.Event] | None = None

    def slices(self, start: int, count: int) -> Tensor:
        """(S, N, H, W) on the device."""
        slices = self._volume[..., start : start + count].movedim(-1, 0)
        if self._aside is None:
            return slices.contiguous().to(self._device)
        pinned = torch.empty(slices.shape, dtype=slices.dtype, pin_memory=True).copy_(slices)
        with torch.cuda.stream(self._aside):
            sent = pinned.to(self._device, non_blocking=True)
        at_work = torch.cuda.current_stream(self._device)
        at_work.wait_stream(self._aside)
        sent.record_stream(at_work)
        return sent

    def keep(self, start: int, result: Tensor) -> None:
        """Store a result (S, C, H, W) from the device; while it is copied, the one before is stored."""
        if self._aside is None:
            self._put(start, result)
            return
        pinned = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
        pinned.copy_(result, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(self._device))
        self._put_what_came()
        self._coming = start, pinned, arrived

    def fused(self) -> Tensor:
        """(C, H, W, D) on the device of the volume."""
        self._put_what_came()
        assert self._fused is not None  # noqa: S101
        return self._fused

    def _put_what_came(self) -> None:
        if self._coming is not None:
            start, pinned, arrived = self._coming
            self._coming = None
            arrived.synchronize()
            self._put(start, pinned)

    def _put(self, start: int, result: Tensor) -> None:
        if self._fused is None:
            shape = (*result.shape[1:], self._volume.shape[-1])
            self._fused = torch.empty(shape, dtype=result.dtype, device=self._volume.device)
        self._fused[..., start : start + len(result)] = result.movedim(0, -1)


def _most_pixels(device: torch.device) -> int:
    """Maximum pixels per call of the network: the useful limit on a CPU, or what fits into the free memory of a GPU."""
    if device.type == "cpu":
        return _PIXELS_AT_ONCE
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # cached by PyTorch for reuse
        return (torch.cuda.mem_get_info(device)[0] + kept) // _BYTES_A_PIXEL
    return sys.maxsize


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS_OF_FULL_MEMORY)
