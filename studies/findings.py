"""Train the weights of the pyramid network, with losses that state what a reader must see.

Command:  python studies/findings.py --harvard DATA/harvard --roadscene DATA/roadscene --run runs/findings
          then --part 2 to --part 19, each with --init and the weights that PARTS names
Duration: 3 to 6 steps a second on one CPU core. If stopped, it continues from the last checkpoint of its folder.
Result:   model.pt, a state dict for ``s3im fuse --weights``, and log.txt. What it is worth: studies/experiments.md.
          The shipped weights are means, by studies/average_weights.py: model_ct_mri.pt is 0.2 of part 12 and 0.27,
          0.27 and 0.26 of part 19 with the seeds 19, 29 and 39, model_medical.pt 0.5 of 16 and 0.5 of 18,
          model_spect_mri.pt 0.55 of 6 and 0.45 of 11, model_infrared.pt 0.6 of 9 and 0.4 of 10.

Part 1 was made before a lesion could have the other source's sign, with uptake at full weight, and with the nine pairs
of the phantom alike. Parts 8 to 10 left 0.007 of a gradient free in "calm", where the others leave 0.01. Up to part 18
lesions of fewer than 5 pixels were ignored.

The terms: contrast of every square to its ring over the pooled spread (the measure of ``s3im benchmark lesions``, at
all places and four sizes), kept contrast of the lesions whose places are known, flat bone, edges (Qabf), information
(MI), a floor under what is bright, correlations that say whether both sources are shown, black, little cut off; from
part 5 on also similarity (SSIM), as much gradient as the stronger source has at each pixel (AG, SF) and not much more,
correlation of differences (SCD), error (PSNR), entropy (EN), and even bone.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from findings_data import SHARES, TISSUE, Sample, Samples
from torch import Tensor

from monai_s3im.losses import (
    ConditionalEntropyLoss,
    ContentEntropyLoss,
    DifferenceCorrelationLoss,
    EdgePreservationLoss,
    GaussianSSIMLoss,
    SalientFloorLoss,
    SolidLoss,
)
from monai_s3im.networks import PyramidFusion, load_weights

SQUARES = ((3, 2), (7, 3), (13, 4), (21, 5))  # side in pixels, step between them
NOISE = 0.012
WEIGHTS = {
    "local": 20.0, "lesion": 40.0, "edge": 9.0, "information": 0.5, "solid": 15.0, "shown": 10.0, "floor": 20.0,
    "cut off": 20.0, "black": 0.0, "ssim": 0.0, "gradient": 0.0, "frequency": 0.0, "differences": 0.0, "error": 0.0,
    "entropy": 0.0, "calm": 0.0, "even bone": 0.0, "lifted": 0.0,
}  # fmt: skip
_ALL = {
    "local": 10.0, "edge": 40.0, "information": 0.8, "solid": 30.0, "shown": 16.0, "black": 20.0, "ssim": 4.0,
    "gradient": 6.0, "frequency": 4.0, "differences": 3.0, "entropy": 0.5, "calm": 10.0, "even bone": 10.0,
}  # fmt: skip
_LIGHT = {
    "local": 0.0, "lesion": 0.0, "solid": 0.0, "edge": 20.0, "shown": 20.0, "floor": 25.0, "ssim": 10.0,
    "gradient": 9.0, "frequency": 4.0, "differences": 4.0, "calm": 14.0,
}  # fmt: skip
_NONE = dict.fromkeys(SHARES, 0.0)


@dataclass(frozen=True)
class Part:
    """One run.

    Attributes:
        begins_with: the part, or the mean of parts, whose weights it continues.
        steps: of Adam.
        rate: learning rate at first.
        seed: of samples and network.
        weights: those that differ from ``WEIGHTS``.
        shares: of the kinds of samples that differ from ``SHARES``.
        ct_in_brain: least correlation with CT in the brain.
        gain: wanted mean gradient, as a part of the stronger source's.
        heads: phantom heads.
        pairs: shares of their pairs; see :class:`findings_data.Samples`.
        in_both: part of the painted lesions that both sources show.
        extreme: part of the painted lesions that are nearly white or nearly black.
        smallest: radius of the smallest painted lesions, pixels.
        opposed_is_bright: whether a lesion that is dark in one source and as clearly bright in the other is bright in
            the result; otherwise its sign is free.
        lesions_in_color: weight of a lesion beside uptake, where that of others is 1.
    """

    begins_with: int | str | None
    steps: int
    rate: float
    seed: int
    weights: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    ct_in_brain: float = 0.30
    gain: float = 1.1
    heads: int = 5
    pairs: dict[str, float] = field(default_factory=dict)
    in_both: float = 0.0
    extreme: float = 0.0
    smallest: float = 1.5
    opposed_is_bright: bool = False
    lesions_in_color: float = 0.4


PARTS = {
    1: Part(None, 3000, 0.003, 0, ct_in_brain=0.25),
    2: Part(1, 3600, 0.002, 5, {"edge": 12.0, "shown": 12.0, "black": 20.0}),
    3: Part(
        2, 300, 0.0006, 9, {"edge": 12.0, "shown": 16.0, "black": 20.0}, {"CT": 0.3, "phantom": 0.34, "MR": 0.06}, 0.38
    ),
    4: Part(3, 1500, 0.002, 11, {"edge": 50.0, "local": 10.0, "shown": 12.0, "black": 20.0}),
    5: Part(
        4, 2500, 0.003, 11, _ALL, {"CT": 0.3, "SPECT": 0.14, "PET": 0.14, "phantom": 0.36, "MR": 0.06, "infrared": 0}
    ),
    6: Part(
        5,
        1600,
        0.002,
        11,
        _ALL
        | {"edge": 60.0, "lesion": 20.0, "local": 6.0, "gradient": 4.0, "differences": 8.0, "ssim": 6.0}
        | {"information": 2.0, "shown": 12.0},
        _NONE | {"SPECT": 0.38, "PET": 0.34, "phantom": 0.28},
        gain=1.02,
    ),
    7: Part(
        5,
        1600,
        0.002,
        11,
        _ALL | {"edge": 70.0, "local": 6.0, "gradient": 14.0, "information": 1.4, "shown": 18.0},
        _NONE | {"CT": 0.66, "phantom": 0.34},
        0.38,
        1.05,
    ),
    8: Part(
        3,
        1200,
        0.002,
        11,
        _LIGHT
        | {"ssim": 8.0, "gradient": 6.0, "differences": 6.0, "error": 4.0, "entropy": 0.6, "information": 1.0}
        | {"shown": 12.0, "floor": 10.0},
        _NONE | {"infrared": 1.0},
        gain=1.05,
    ),
    9: Part(
        8,
        2500,
        0.003,
        11,
        _LIGHT | {"error": 6.0, "entropy": 1.2, "information": 2.5},
        _NONE | {"infrared": 1.0},
    ),
    10: Part(
        9,
        1500,
        0.002,
        11,
        _LIGHT | {"error": 5.0, "entropy": 3.0, "information": 3.5},
        _NONE | {"infrared": 1.0},
        gain=1.08,
    ),
    11: Part(
        6,
        800,
        0.0015,
        11,
        _ALL
        | {"edge": 60.0, "lesion": 20.0, "local": 6.0, "gradient": 4.0, "differences": 6.0, "ssim": 6.0}
        | {"information": 2.0, "shown": 45.0},
        _NONE | {"SPECT": 0.42, "PET": 0.36, "phantom": 0.22},
        gain=1.02,
    ),
    12: Part(
        "0.75 of 3, 0.15 of 5 and 0.1 of 7",
        2500,
        0.002,
        12,
        {"edge": 12.0, "shown": 16.0, "black": 20.0},
        _NONE | {"CT": 0.32, "MR": 0.24, "phantom": 0.44},
        0.38,
        heads=12,
        pairs={"T1 + CT": 1.0, "T2 + CT": 1.0, "T1 + T2": 1.0},
        in_both=0.6,
    ),
    13: Part(
        12,
        3000,
        0.002,
        13,
        {"lesion": 50.0, "local": 14.0, "edge": 10.0, "shown": 10.0, "black": 20.0},
        _NONE | {"CT": 0.08, "MR": 0.42, "phantom": 0.5},
        heads=12,
        pairs={"T1 + T2": 0.6, "CT + PET": 0.2, "CT + SPECT": 0.2},
        in_both=0.6,
        opposed_is_bright=True,
    ),
    14: Part(
        12,
        2500,
        0.002,
        14,
        {"edge": 14.0, "shown": 18.0, "black": 20.0, "calm": 10.0},
        _NONE | {"CT": 0.5, "phantom": 0.5},
        0.38,
        heads=12,
        pairs={"T1 + CT": 0.5, "T2 + CT": 0.5},
        in_both=0.6,
        opposed_is_bright=True,
    ),
    15: Part(
        "0.55 of 6 and 0.45 of 11",
        2500,
        0.002,
        15,
        _ALL
        | {"edge": 60.0, "lesion": 60.0, "local": 12.0, "gradient": 3.0, "differences": 6.0, "ssim": 6.0}
        | {"information": 2.0, "shown": 24.0},
        _NONE | {"SPECT": 0.3, "PET": 0.26, "phantom": 0.44},
        gain=1.02,
        heads=12,
        pairs={"T1 + PET": 1.0, "T1 + SPECT": 1.0, "T2 + PET": 1.0, "T2 + SPECT": 1.0},
        in_both=0.4,
        lesions_in_color=1.0,
    ),
    16: Part(
        13,
        2500,
        0.002,
        16,
        {"lesion": 70.0, "local": 12.0, "edge": 8.0, "shown": 10.0, "black": 20.0, "floor": 8.0, "lifted": 40.0},
        _NONE | {"CT": 0.06, "MR": 0.5, "phantom": 0.44},
        heads=12,
        pairs={"T1 + T2": 0.7, "CT + PET": 0.15, "CT + SPECT": 0.15},
        in_both=0.6,
        extreme=0.3,
        opposed_is_bright=True,
    ),
    17: Part(
        14,
        1500,
        0.0015,
        17,
        {"lesion": 50.0, "edge": 30.0, "shown": 22.0, "black": 20.0, "calm": 14.0, "ssim": 2.0, "gradient": 3.0}
        | {"frequency": 3.0, "differences": 1.5, "even bone": 10.0},
        _NONE | {"CT": 0.5, "phantom": 0.5},
        0.38,
        1.0,
        heads=12,
        pairs={"T1 + CT": 0.5, "T2 + CT": 0.5},
        in_both=0.6,
        opposed_is_bright=True,
    ),
    18: Part(
        16,
        2000,
        0.002,
        18,
        {"lesion": 100.0, "local": 6.0, "edge": 6.0, "shown": 10.0, "black": 20.0, "floor": 5.0, "lifted": 40.0},
        _NONE | {"CT": 0.05, "MR": 0.6, "phantom": 0.35},
        heads=12,
        pairs={"T1 + T2": 0.7, "CT + PET": 0.15, "CT + SPECT": 0.15},
        in_both=0.75,
        extreme=0.15,
        opposed_is_bright=True,
    ),
    19: Part(
        14,
        2000,
        0.0015,
        19,
        {"lesion": 50.0, "edge": 18.0, "shown": 20.0, "black": 20.0, "calm": 40.0},
        _NONE | {"CT": 0.5, "phantom": 0.5},
        0.38,
        heads=12,
        pairs={"T1 + CT": 0.45, "T2 + CT": 0.55},
        in_both=0.6,
        smallest=0.8,
        opposed_is_bright=True,
    ),
}
_SATURATED = 250 / 255
_CHROMA = 1.72  # way in CIELAB from no to full uptake, of that from black to white of an image with uptake


def local_contrast(fused: Tensor, sources: Tensor) -> Tensor:
    """What is missing of the stronger source's contrast between squares and the ring two to five pixels around."""
    saturated = (sources >= _SATURATED).float()
    visible = 1 - saturated.amax(1, keepdim=True) * (1 - saturated)
    total = fused.new_zeros(())
    for side, step in SQUARES:
        with torch.no_grad():
            contrast = _contrast(sources, side, step)
            energy = contrast.square()
            share = (energy / energy.sum(1, keepdim=True).clamp(min=1e-9)) ** 1.5
            weight = _means(visible, side + 10, step) ** 4 * share * energy / (energy + 1) * (energy > 0.25)
        kept = _contrast(fused, side, step) * contrast / energy.clamp(min=1e-3)
        missing = weight * (1 - kept).clamp(0, 2)
        total = total + (missing.sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1e-3)).mean()
    return total / len(SQUARES)


def _contrast(image: Tensor, side: int, step: int) -> Tensor:
    moments = torch.cat([image, image.square()], dim=1)
    inside = _means(moments[..., 5:-5, 5:-5], side, step)
    whole, hole = (side + 10) ** 2, (side + 2) ** 2
    ring = _means(moments, side + 10, step) * whole - _means(moments[..., 4:-4, 4:-4], side + 2, step) * hole
    means, squares = zip(*[part.chunk(2, dim=1) for part in (inside, ring / (whole - hole))], strict=True)
    variance = sum((s - m.square()).clamp(min=0) for m, s in zip(means, squares, strict=True)) / 2
    return (means[0] - means[1]) / (variance + NOISE**2).sqrt()


def _means(image: Tensor, side: int, step: int) -> Tensor:
    return F.avg_pool2d(F.avg_pool2d(image, (side, 1), (step, 1)), (1, side), (1, step))


def lesions_lost(
    fused: Tensor, samples: list[Sample], opposed_is_bright: bool, in_color: float
) -> tuple[Tensor, list[float]]:
    """What is missing of the contrast of lesions with 1 or more in a source, and what is kept of each.

    With coloured uptake the difference and the spread have the hue of the uptake, too.
    """
    total, kept = fused.new_zeros(()), []
    for image, sample in zip(fused, samples, strict=True):
        tissue = (sample.labels == TISSUE).float()[None, None]
        for number in [n for n in sample.labels.unique().tolist() if 0 < n < TISSUE]:
            lesion = (sample.labels == number).float()[None, None]
            ring = (_grown(lesion, 5) - _grown(lesion, 1)) * tissue
            if lesion.sum() < 2 or ring.sum() < 20:
                continue
            if lesion.sum() > 60:
                lesion = 1 - _grown(1 - lesion, 1)
            values = torch.cat([sample.sources, image, _CHROMA * sample.sources[1:]])[None]
            steps, variances = _step_and_variance(values, lesion, ring)
            contrasts = steps / (variances + 1e-5).sqrt()
            best = int(contrasts[:2].abs().argmax())
            wanted, other = contrasts[best].detach(), contrasts[1 - best].detach()
            if wanted.abs() < 1:
                continue
            sign = wanted.sign()
            if other * sign < -0.6 * wanted.abs():  # the other source's sign is as good
                sign = wanted.new_ones(()) if opposed_is_bright else (contrasts[2].detach() * sign).sign() * sign
            if sample.kind == "coloured uptake":
                step = steps[2] * sign if best == 1 else (steps[2] * sign).relu()
                distance = (step.square() + steps[3].square() + 1e-8).sqrt()
                part, weight = distance / (variances[2] + variances[3] + 1e-5).sqrt() / wanted.abs(), in_color
            else:
                part, weight = contrasts[2] * sign / wanted.abs(), 1.0
            total = total + weight * (1.05 - part).relu()
            kept.append(min(1.0, part.item()))
    return total / max(1, len(kept)), kept


def _step_and_variance(values: Tensor, lesion: Tensor, ring: Tensor) -> tuple[Tensor, Tensor]:
    means, variances = [], []
    for mask in (lesion, ring):
        mean = (values * mask).sum((2, 3), keepdim=True) / mask.sum()
        means.append(mean[0, :, 0, 0])
        variances.append(((values - mean).square() * mask).sum((0, 2, 3)) / mask.sum())
    return means[0] - means[1], (variances[0] + variances[1]) / 2


def _grown(mask: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels)


def sources_hidden(fused: Tensor, samples: list[Sample], ct_in_brain: float) -> Tensor:
    """How much correlations with the sources are below what shows both, a little above the guards."""
    total, count = fused.new_zeros(()), 0
    for image, sample in zip(fused, samples, strict=True):
        a, b, f = sample.sources[:1], sample.sources[1:], image
        whole = torch.ones_like(f)
        detail_a, detail_b, detail = (x - _smooth(x) for x in (a, b, f))
        if sample.kind == "ct":
            brain = ((b > 25 / 255) & (b < 160 / 255) & (a > 12 / 255)).float()
            brain = 1 - _grown(1 - brain, 2)
            wanted = [(2.0, ct_in_brain, f, b, brain), (2.0, 0.89, f, a, brain)]
        elif sample.kind in {"uptake", "coloured uptake"}:
            hot, hotter = (b > 40 / 255).float(), (b > 60 / 255).float()
            wanted = [(1.0, 0.88, _smooth(f), _smooth(b), hot), (1.0, 0.78, detail, detail_a, hotter)]
        elif sample.kind == "infrared":
            wanted = [(1.0, 0.64, detail, other, whole) for other in (detail_a, detail_b)]
        else:
            continue
        if wanted[-1][-1].sum() < 300:
            continue
        for weight, least, first, second, mask in wanted:
            total = total + weight * (least - _correlation(first, second, mask)).relu()
        count += 1
    return total / max(1, count)


def _correlation(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    first, second = (mask * (x - (x * mask).sum() / mask.sum()) for x in (first, second))
    return (first * second).sum() / (first.square().sum() * second.square().sum() + 1e-6).sqrt()


def _smooth(image: Tensor) -> Tensor:
    """A Gaussian of sigma 3 pixels, (1, H, W)."""
    kernel = torch.exp(-torch.arange(-9, 10.0).square() / 18)
    kernel = kernel / kernel.sum()
    padded = F.pad(image[None], (9, 9, 9, 9), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[0]


def terms(
    network: PyramidFusion, sources: Tensor, samples: list[Sample], part: Part
) -> tuple[dict[str, Tensor], list[float]]:
    """The terms of the loss that have a weight, and what is kept of each lesion."""
    weights = WEIGHTS | part.weights
    free = network.unbounded(sources)
    lower, upper = network.bounds(sources)
    fused = torch.minimum(torch.maximum(free, lower), upper)
    dark = (sources.amax(1, keepdim=True) < 5 / 255).float()
    gradients = _gradients(torch.cat([fused, sources], dim=1))
    own, stronger = gradients[:, :1], gradients[:, 1:].amax(1, keepdim=True)
    kept: list[float] = []

    def lesions() -> Tensor:
        lost, values = lesions_lost(fused, samples, part.opposed_is_bright, part.lesions_in_color)
        kept.extend(values)
        return lost

    found: dict[str, Callable[[], Tensor]] = {
        "local": lambda: local_contrast(fused, sources),
        "lesion": lesions,
        "edge": lambda: EdgePreservationLoss()(fused, sources),
        "information": lambda: ConditionalEntropyLoss()(fused, sources),
        "solid": lambda: SolidLoss()(fused, sources),
        "shown": lambda: sources_hidden(fused, samples, part.ct_in_brain),
        "floor": lambda: SalientFloorLoss(0.92, 8.0)(fused, sources),
        "cut off": lambda: (free - fused).abs().mean(),
        "black": lambda: ((fused - 1 / 255).relu() * dark).sum() / dark.sum().clamp(min=50),
        "ssim": lambda: GaussianSSIMLoss()(fused, sources),
        "gradient": lambda: (1 - _mean(own) / (part.gain * _mean(stronger))).relu().mean(),
        "frequency": lambda: (1 - _mean(own**2).sqrt() / (part.gain * _mean(stronger**2).sqrt())).relu().mean(),
        "differences": lambda: DifferenceCorrelationLoss()(fused, sources),
        "error": lambda: (
            2 * (fused - sources).square().mean() / (sources[:, :1] - sources[:, 1:]).square().mean().clamp(min=0.003)
        ),
        "entropy": lambda: ContentEntropyLoss()(fused, sources),
        "calm": lambda: 20 * (own - 1.3 * stronger - 0.01).relu().mean(),
        "even bone": lambda: uneven_bone(fused, sources, samples),
        "lifted": lambda: (F.avg_pool2d(fused, 9, 4) - F.avg_pool2d(sources, 9, 4).amax(1, keepdim=True)).relu().mean(),
    }
    return {name: term() for name, term in found.items() if weights[name]}, kept


def uneven_bone(fused: Tensor, sources: Tensor, samples: list[Sample]) -> Tensor:
    """How much the deviation within saturated bone of CT is above 0.04, five times."""
    bone = (sources[:, 1:] >= _SATURATED).float()
    count = bone.sum((1, 2, 3))
    mean = (fused * bone).sum((1, 2, 3)) / count.clamp(min=1)
    squares = ((fused - mean.view(-1, 1, 1, 1)).square() * bone).sum((1, 2, 3))
    counts = torch.tensor([float(sample.kind == "ct") for sample in samples]) * (count > 30)
    excess = ((squares / count.clamp(min=1) + 1e-6).sqrt() - 0.04).relu()
    return 5 * (excess * counts).sum() / counts.sum().clamp(min=1)


def _gradients(image: Tensor) -> Tensor:
    """Root of half the squared steps to the next row and column, (B, C, H - 1, W - 1)."""
    down, right = image[..., 1:, :-1] - image[..., :-1, :-1], image[..., :-1, 1:] - image[..., :-1, :-1]
    return ((down.square() + right.square()) / 2 + 1e-6).sqrt()


def _mean(values: Tensor) -> Tensor:
    return values.mean((1, 2, 3))


def main() -> None:
    """Train by the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harvard", type=Path, required=True)
    parser.add_argument("--roadscene", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoints, the logs and the results")
    parser.add_argument("--part", type=int, choices=PARTS, default=1)
    parser.add_argument("--seed", type=int, help="overrides the seed of the part, and names the folder of the run")
    parser.add_argument("--init", type=Path, help="weights to begin with: those of the part that PARTS names")
    arguments = parser.parse_args()
    part = PARTS[arguments.part]
    if (arguments.init is None) != (arguments.part == 1):
        parser.error("part 1 begins with random weights, every other part with those that PARTS names: see --init")
    run = arguments.run / str(arguments.part)
    if arguments.seed is not None:
        part, run = replace(part, seed=arguments.seed), run.with_name(f"{arguments.part}-seed{arguments.seed}")
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(part.seed)
    network = load_weights(PyramidFusion(), arguments.init) if arguments.init else PyramidFusion()
    samples = Samples(
        arguments.harvard,
        arguments.roadscene,
        arguments.run / (f"phantom_{part.heads}.pt"),
        part.heads,
        seed=part.seed + 1,
        shares=SHARES | part.shares,
        pairs=part.pairs,
        in_both=part.in_both,
        extreme=part.extreme,
        smallest=part.smallest,
    )
    train(network.train(), samples, run, part)


def train(network: PyramidFusion, samples: Samples, run: Path, part: Part) -> None:
    """Train; a checkpoint every two minutes, at the end the moving average of the weights."""
    weights = WEIGHTS | part.weights
    optimizer = torch.optim.Adam(network.parameters(), lr=part.rate)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    checkpoint, begin = run / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average, begin, samples.random.bit_generator.state = state["average"], state["step"], state["random"]
    saved, means = time.monotonic(), {}
    for step in range(begin, part.steps):
        rate = min(1, (step + 1) / 30) * (0.03 + 0.97 * (1 + math.cos(math.pi * step / part.steps)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = part.rate * rate
        found, kept = terms(network, *samples.batch(4), part)
        optimizer.zero_grad()
        torch.stack([weights[name] * value for name, value in found.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        momentum = min(0.99, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - momentum)
        for name, value in found.items():
            means.setdefault(name, []).append(value.item())
        means.setdefault("kept", []).extend(kept)
        if (step + 1) % 25 == 0:
            text = " ".join(f"{name} {sum(values) / max(1, len(values)):.4f}" for name, values in means.items())
            with (run / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"{step + 1} {text}\n")
            means = {}
        if time.monotonic() - saved > 120 or step + 1 == part.steps:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
            state |= {"step": step + 1, "random": samples.random.bit_generator.state}
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            saved = time.monotonic()
    torch.save(average, run / "model.pt")


if __name__ == "__main__":
    main()
