"""Measure how far the fused values change with threads, batch size, exports and devices.

    python benchmarks/numerics.py --json numerics.json    # a minute; prints the table of studies/numerics.md

Each row is the largest difference over all pixels of 12 slices (MR and CT of the head phantom, 160 x 192), fused values
in [0, 1], to the reference: PyTorch on the CPU, float32, one thread, one slice at a time. A gray level of 8 bits is
3.9e-3. 0 means equal bytes. Needs the extra `export`. With a GPU, its rows are added.
"""

import argparse
import json
import platform
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from monai_s3im.bundle_config import bundle_parser, bundle_root
from monai_s3im.inferers import SliceWiseInferer
from monai_s3im.networks import load_weights
from monai_s3im.phantom import head_phantom
from monai_s3im.transforms import NormalizeModality

Run = Callable[[Tensor], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--weights", type=Path, default=bundle_root() / "models" / "model.pt")
    parser.add_argument("--size", type=int, nargs=3, default=(160, 192, 12), help="voxels of the phantom")
    arguments = parser.parse_args()
    rows = measure(arguments.weights, tuple(arguments.size))
    for name, difference in rows.items():
        print(f"| {name} | {difference:.1e} |" if difference else f"| {name} | 0 |")
    if arguments.json:
        record = {"torch": torch.__version__, "processor": platform.machine(), "largest_difference": rows}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def sources(size: tuple[int, int, int]) -> Tensor:
    """MR and CT as input of the network, (1, 2, H, W, D)."""
    spacing = (192.0 / size[0], 230.4 / size[1], 120.0 / size[2])
    volumes = head_phantom(size, spacing).volumes
    pair = (NormalizeModality("mr")(volumes["t1"]), NormalizeModality("ct")(volumes["ct"]))
    return torch.cat([volume.as_tensor() for volume in pair])[None].float()


@torch.no_grad()
def measure(weights: Path, size: tuple[int, int, int]) -> dict[str, float]:
    """The largest difference from the reference, for each change."""
    image = sources(size)
    network = load_weights(bundle_parser("inference").get_parsed_content("network_def"), weights)
    torch.set_num_threads(1)
    expected = fuse(image, network, 1)
    runs: dict[str, Callable[[], Tensor]] = {"the same again": lambda: fuse(image, network, 1)}
    for batch in (2, 4, 8):
        runs[f"{batch} slices at once"] = lambda batch=batch: fuse(image, network, batch)
    for threads in (2, 4):
        runs[f"{threads} threads"] = lambda threads=threads: with_threads(threads, lambda: fuse(image, network, 1))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(network)
        exported = onnx(network, image[..., 0], Path(folder) / "network.onnx")
        runs["TorchScript"] = lambda: fuse(image, scripted, 1)
        runs["ONNX Runtime, CPU"] = lambda: fuse(image, exported, 1)
        if torch.cuda.is_available():
            runs |= on_gpu(image, network)
        return {name: (run().clamp(0, 1) - expected.clamp(0, 1)).abs().max().item() for name, run in runs.items()}


def fuse(image: Tensor, network: Run, slices: int) -> Tensor:
    """The fused volume, on the CPU."""
    return SliceWiseInferer(slices)(image, network).cpu().float()


def with_threads(threads: int, run: Callable[[], Tensor]) -> Tensor:
    """The result of `run` with a number of threads."""
    torch.set_num_threads(threads)
    try:
        return run()
    finally:
        torch.set_num_threads(1)


def onnx(network: torch.nn.Module, image: Tensor, file: Path) -> Run:
    """The network by ONNX Runtime, for slices of the size of `image`."""
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    names = {"input_names": ["image"], "output_names": ["fused"]}
    seen = torch.rand(2, 2, *image.shape[2:])
    torch.onnx.export(network, (seen,), file, dynamo=True, dynamic_shapes=(dynamic,), verbose=False, **names)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda slices: torch.from_numpy(session.run(["fused"], {"image": slices.numpy()})[0])


def on_gpu(image: Tensor, network: torch.nn.Module) -> dict[str, Callable[[], Tensor]]:
    """The rows of a GPU."""

    def run(tf32: bool, slices: int) -> Tensor:
        torch.backends.cudnn.allow_tf32 = tf32
        return fuse(image.cuda(), network.cuda(), slices)

    def again() -> Tensor:
        """The difference between two runs on the GPU."""
        network.cpu()
        return fuse(image, network, 1) + (run(False, 8) - run(False, 8)).abs().cpu()

    return {
        "GPU, float32": lambda: run(False, 8),
        "GPU, TF32": lambda: run(True, 8),
        "GPU against itself": again,
    }


if __name__ == "__main__":
    main()
