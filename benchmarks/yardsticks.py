"""References for speed: networks of known shape, operation counts, and the limits of the device."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class IFCNNShape(nn.Module):
    """A network of the shape of IFCNN-MAX: 83,587 parameters, 64 channels at full resolution, the maximum of features.

    References:
        Zhang et al., IFCNN, Information Fusion 2020, https://doi.org/10.1016/j.inffus.2019.07.011
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 7, padding=3, bias=False)
        self.second, self.second_norm = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.third, self.third_norm = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.last = nn.Conv2d(64, 3, 1)

    def encode(self, source: Tensor) -> Tensor:
        """(B, 1, H, W) as three equal channels to features (B, 64, H, W)."""
        features = F.relu(self.first(source.expand(-1, 3, -1, -1)))
        return F.relu(self.second_norm(self.second(features)))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2, H, W) to (B, 3, H, W)."""
        joined = torch.maximum(self.encode(image[:, :1]), self.encode(image[:, 1:]))
        return self.last(F.relu(self.third_norm(self.third(joined))))


def convolution_stack() -> nn.Module:
    """Nothing but 3x3 convolutions of 32 channels, of about the arithmetic of S3IMFusion."""
    widths = [2, *[32] * 7, 1]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class OperationCount(TorchDispatchMode):
    """FLOPs and bytes of every operation inside the context: each reads its inputs and writes its outputs once."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count it unless it is only a view."""
        result = func(*args, **(kwargs or {}))
        if func.is_view or "empty" in str(func):
            return result
        moved = sum(leaf.nbytes for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor))
        flops = 0
        if func.overloadpacket in flop_registry:
            flops = flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        elif "scaled_dot_product" in str(func):  # (B, heads, N, D): two products of N x N x D
            query, key = args[:2]
            flops = 4 * query.numel() * key.shape[-2]
        self.operations.append((int(flops), moved))
        return result

    @property
    def flops(self) -> int:
        """Total FLOPs, two for a multiplication with addition."""
        return sum(flops for flops, _ in self.operations)

    @property
    def bytes(self) -> int:
        """Total bytes."""
        return sum(moved for _, moved in self.operations)

    def least_seconds(self, limits: dict[str, float]) -> float:
        """The roofline: for every operation the longer of its arithmetic and its traffic."""
        return sum(
            max(flops / limits["flops_per_second"], moved / limits["bytes_per_second"])
            for flops, moved in self.operations
        )


def count_operations(network: Callable[[Tensor], Tensor], image: Tensor) -> OperationCount:
    """The operations of a network for an image."""
    with torch.no_grad(), OperationCount() as count:
        network(image)
    return count


def alternate(functions: dict[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, float]:
    """Median seconds of each function; they take turns, so other load on the machine affects them equally."""

    def once(function: Callable[[], object]) -> float:
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for function in functions.values():
        once(function)
        once(function)
    times: dict[str, list[float]] = {name: [] for name in functions}
    start, turns = time.perf_counter(), 0
    while turns < 3 or (time.perf_counter() - start < seconds and turns < 100):
        for name, function in functions.items():
            times[name].append(once(function))
        turns += 1
    return {name: statistics.median(values) for name, values in times.items()}


def device_limits(device: torch.device, dtype: torch.dtype, seconds: float) -> dict[str, float]:
    """The limits of the device: the rate of a large product of matrices, and of copying 256 MiB."""
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.rand(side, side, device=device).to(dtype)
    source, target = (torch.zeros(2**26, device=device) for _ in range(2))
    times = alternate({"matrix": lambda: matrix @ matrix, "copy": lambda: target.copy_(source)}, device, seconds)
    return {
        "flops_per_second": 2 * side**3 / times["matrix"],
        "bytes_per_second": 2 * source.nbytes / times["copy"],
    }
