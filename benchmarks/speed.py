"""Time the network, the loss, the metrics and a whole volume, against reference networks and the limits of the device.

Command:   python benchmarks/speed.py            (a GPU: --device cuda; a trial: --quick --out FOLDER)
Duration:  about 15 minutes on two CPU cores; about 8 minutes with an H200
Result:    performance_DEVICE.json, gallery/performance_DEVICE.png, the tables of performance.md in the folder studies.
           The default network takes at most half of the time of IFCNN's shape at 256 x 256, S3IM at most 15 % of a
           training step, and the metrics are at least 20 times faster than a per-image evaluator.

In each comparison the functions take turns in one process, and medians are reported. The limit of a network is its
roofline: for each operation the longer of its FLOPs at the rate of a large product of matrices and its bytes at the
speed of a large copy, both measured in the same run. Work on a quiet machine: other load changes the ratios, too.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command s3im does, before torch is loaded

import metrics_speed
import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose
from performance_page import write_page
from torch import Tensor, nn
from yardsticks import IFCNNShape, alternate, convolution_stack, count_operations, device_limits

from monai_s3im.bundle_config import bundle_parser, bundle_root
from monai_s3im.losses import S3IMFusionLoss, StochasticSSIMLoss
from monai_s3im.networks import EXPORT_FORMATS, S3IMFusion, export_network, load_exported, load_weights
from monai_s3im.phantom import head_phantom

OURS, IFCNN = "S3IMFusion", "IFCNN's shape"
WEIGHTS = bundle_root() / "models" / "model.pt"
STAGES = {
    "LoadSourcesd": "read",
    "NormalizeModalityd": "normalise",
    "RegisterSourcesd": "resample",
    "AlignSourcesd": "resample",
    "RestoreGridd": "restore the grid",
}


def hardware_precisions(device: torch.device) -> list[torch.dtype]:
    """float32, and the half precisions that the device computes with."""
    if device.type == "cuda":
        return [torch.float32, torch.bfloat16, torch.float16]
    return [torch.float32] + [torch.bfloat16] * bool(torch.cpu._is_avx512_bf16_supported())


def networks(device: torch.device, dtype: torch.dtype, folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """Our network and the yardsticks by name; on a CPU also the exports."""
    found: dict[str, nn.Module] = {
        OURS: load_weights(S3IMFusion(), WEIGHTS),
        IFCNN: IFCNNShape(),
        f"{IFCNN}, channels last": IFCNNShape().to(memory_format=torch.channels_last),
        "convolutions alone": convolution_stack(),
    }
    found = {name: network.to(device).eval() for name, network in found.items()}
    if device.type == "cpu" and dtype == torch.float32:
        for name, suffix in EXPORT_FORMATS.items():
            found[f"{OURS}, {name}"] = load_exported(export_network(found[OURS], folder / f"model{suffix}"))
    return found


def in_other_ways(network: nn.Module, image: Tensor) -> dict[str, Callable[[], object]]:
    """The network as a CUDA graph and, with a compiler, compiled for some images."""
    network(image)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(image)
    ways: dict[str, Callable[[], object]] = {f"{OURS}, CUDA graph": graph.replay}
    if image.shape[0] == 8 and image.shape[-1] == 512 and find_spec("triton") and shutil.which("gcc"):
        ways[f"{OURS}, compiled"] = partial(torch.compile(network, dynamic=False), image)
    return ways


def time_networks(device: torch.device, sides: list[int], batches: list[int], seconds: float) -> list[dict[str, Any]]:
    """A row for each network, precision, size and batch."""
    rows = []
    on_gpu = device.type == "cuda"
    most = torch.cuda.mem_get_info(device)[0] // 4096 if on_gpu else 2**20  # pixels in a batch
    for dtype in hardware_precisions(device):
        limits = device_limits(device, dtype, seconds)
        with tempfile.TemporaryDirectory() as folder:
            found = networks(device, dtype, Path(folder))
            for side, batch in [(side, batch) for side in sides for batch in batches if batch * side**2 <= most]:
                image = torch.rand(batch, 2, side, side, device=device)
                half = dtype != torch.float32
                with torch.no_grad(), torch.autocast(device.type, dtype, enabled=half, cache_enabled=False):
                    calls: dict[str, Callable[[], object]] = {name: partial(found[name], image) for name in found}
                    if on_gpu:
                        calls |= in_other_ways(found[OURS], image)
                    counts = {name: count_operations(found[name.split(",")[0]], image) for name in calls}
                    times = alternate(calls, device, seconds)
                for name, median in times.items():
                    rows.append({
                        "network": name, "precision": str(dtype).removeprefix("torch."), "side": side, "batch": batch,
                        "seconds": median, "pairs per second": batch / median, "of IFCNN": median / times[IFCNN],
                        "GFLOP": counts[name].flops / 1e9, "GB": counts[name].bytes / 1e9,
                        "limit": counts[name].least_seconds(limits),
                        "attained": counts[name].least_seconds(limits) / median, **limits,
                    })  # fmt: skip
                    print(f"{name:32s} {dtype} {side:5d} x {batch:2d}: {median:.4f} s", flush=True)
    return rows


def time_loss(device: torch.device, side: int, batch: int, seconds: float) -> dict[str, Any]:
    """Seconds of a training step, and of the losses and their gradients alone."""
    network = load_weights(S3IMFusion(), WEIGHTS).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)
    sources = torch.rand(batch, 2, side, side, device=device)
    fused = torch.rand(batch, 1, side, side, device=device, requires_grad=True)
    s3im, whole = StochasticSSIMLoss(), S3IMFusionLoss()

    def step() -> None:
        optimizer.zero_grad()
        whole(network(sources), sources).backward()
        optimizer.step()

    calls = {
        "step": step,
        "S3IM": lambda: s3im(fused, sources).backward(),
        "all losses": lambda: whole(fused, sources).backward(),
    }
    times = alternate(calls, device, seconds)
    return {"side": side, "batch": batch, "seconds": times, "share of S3IM": times["S3IM"] / times["step"]}


def write_pair(folder: Path, shape: tuple[int, int, int]) -> list[Path]:
    """T1 on a grid of this shape, and CT on one of 4/5 of its slices and pixels, as compressed NIfTI."""
    small = head_phantom((80, 96, 64), (2.4, 2.4, 3.0)).volumes
    files = []
    for name, part in (("t1", 1.0), ("ct", 0.8)):
        grid = [round(part * size) for size in shape]
        voxels = small[name].as_tensor()[None].float()
        voxels = torch.nn.functional.interpolate(voxels, grid, mode="trilinear", align_corners=False)[0, 0].numpy()
        affine = small[name].affine.numpy() @ np.diag([*(np.array(small[name].shape[1:]) / grid), 1.0])
        files.append(folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(np.rint(voxels).astype(np.int16), affine), files[-1])
    return files


def time_volume(device: torch.device, shape: tuple[int, int, int], precision: str) -> dict[str, Any]:
    """Seconds of each stage of the pipeline of one pair, from files to a file."""
    stages: dict[str, float] = {}

    def timed(stage: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stages[stage] = stages.get(stage, 0.0) + time.perf_counter() - start
        return result

    def through(transforms: Compose, item: dict[str, Any]) -> dict[str, Any]:
        for transform in transforms.transforms:
            stage = STAGES.get(type(transform).__name__, "describe, colour, join")
            item = timed(stage, lambda transform=transform, item=item: transform(item))
        return item

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        image_a, image_b = write_pair(Path(folder), shape)
        parser = bundle_parser("inference", device=str(device), output_dir=folder, precision=precision)
        parts = ("network", "preprocessing", "inferer", "restoring", "saving")
        network, preprocessing, inferer, restoring, saving = (parser.get_parsed_content(part) for part in parts)
        inferer(torch.rand(1, 2, *shape[:2], 1), network, task="ct-mri")  # warm
        item = {"image_a": str(image_a), "image_b": str(image_b), "modality_a": "mr", "modality_b": "ct"}
        item = through(preprocessing, item)
        batch = item.pop("image").as_tensor()[None]
        pred = timed("network and transfer", lambda: inferer(batch, network, task=item["task"])[0])
        transfer = 0.0
        if device.type == "cuda":
            transfer = min(alternate({"": lambda: (batch.to(device), pred.to(device).cpu())}, device, 0).values())
        restored = through(restoring, {**item, "pred": pred})
        timed("write", lambda: saving({**restored, "output": str(Path(folder) / "fused.nii.gz")}))
    return {
        "shape": shape, "precision": precision, "stages": stages, "seconds": sum(stages.values()),
        "transfer alone": transfer, "in memory": sum(stages.values()) - stages["read"] - stages["write"],
    }  # fmt: skip


_ONE_FORWARD = """
import sys, torch
from pathlib import Path
from monai_s3im.networks import S3IMFusion
def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
side, network = int(sys.argv[1]), S3IMFusion().eval()
image = torch.rand(1, 2, side, side)
with torch.no_grad():
    network(torch.rand(1, 2, 16, 16))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = kilobytes("VmRSS")
    network(image)
print(1024 * (kilobytes("VmHWM") - before))
"""


def peak_memory(device: torch.device, sides: list[int]) -> list[dict[str, float]]:
    """Peak bytes of one pair in the network, on the CPU in a separate process (Linux)."""
    rows = []
    for side in sides:
        if device.type == "cuda":
            network, image = S3IMFusion().eval().to(device), torch.rand(1, 2, side, side, device=device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            with torch.no_grad():
                network(image)
            grown = torch.cuda.max_memory_allocated(device) - before
        else:
            command = [sys.executable, "-c", _ONE_FORWARD, str(side)]
            grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append({"side": side, "MiB": grown / 2**20, "bytes a pixel": grown / side**2})
    return rows


def describe(device: torch.device) -> dict[str, Any]:
    """The machine and the software."""
    processors = Path("/proc/cpuinfo")
    lines = processors.read_text(encoding="utf-8").splitlines() if processors.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = f"{names[0] if names else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "date": time.strftime("%F")}


def main() -> None:
    """Measure, and write the JSON, the picture and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: no result")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "studies")
    options = parser.parse_args()
    device, quick = torch.device(options.device), options.quick
    torch.backends.cuda.matmul.allow_tf32 = True  # as convolutions do by default
    torch.set_num_threads(options.threads)
    on_gpu = device.type == "cuda"
    seconds = 0.0 if quick else 3.0 if on_gpu else 10.0

    sides = [64, 256] if quick else [128, 256, 512, 1024]
    shape = (64, 64, 16) if quick else (512, 512, 300) if on_gpu else (256, 256, 64)
    halves = ["bfloat16", "float16"] if on_gpu else []
    result = {
        "command": "python benchmarks/speed.py" + (" --device cuda" if on_gpu else "") + (" --quick" if quick else ""),
        "machine": describe(device),
        "network": time_networks(device, sides, [1] if quick else [1, 8, 32] if on_gpu else [1, 8], seconds),
        "loss": time_loss(device, 64 if quick else 256, 16, seconds),
        "volume": [time_volume(device, shape, precision) for precision in ("float32", *halves)],
        "memory": peak_memory(device, sides),
        "metrics": metrics_speed.measure(1 if quick else 3, 2 if quick else 64),
    }
    (options.out / "data").mkdir(parents=True, exist_ok=True)
    file = options.out / "data" / f"performance_{device.type}.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page(options.out)


if __name__ == "__main__":
    main()
