"""Fusion metrics: one file each, the function first, then its MONAI class. Definitions: docs/reference/metrics.md."""

from collections.abc import Callable

import torch
from torch import Tensor

from .average_gradient import AverageGradientMetric, average_gradient
from .base import FusionMetric, check_shapes
from .entropy import EntropyMetric, entropy
from .mutual_information import MutualInformationMetric, mutual_information
from .peak_signal_to_noise_ratio import FusionPSNRMetric, peak_signal_to_noise_ratio
from .qabf import QabfMetric, qabf
from .spatial_frequency import SpatialFrequencyMetric, spatial_frequency
from .standard_deviation import StandardDeviationMetric, standard_deviation
from .structural_similarity import FusionSSIMMetric, structural_similarity
from .sum_of_correlations_of_differences import SCDMetric, sum_of_correlations_of_differences
from .visual_information_fidelity import VIFMetric, visual_information_fidelity

FUSION_METRICS: dict[str, Callable[..., Tensor]] = {
    "EN": entropy,
    "AG": average_gradient,
    "MI": mutual_information,
    "SSIM": structural_similarity,
    "PSNR": peak_signal_to_noise_ratio,
    "Qabf": qabf,
    "SCD": sum_of_correlations_of_differences,
    "SF": spatial_frequency,
    "SD": standard_deviation,
    "VIF": visual_information_fidelity,
}
"""The paper's eight metrics in its order, then SD and VIF; higher is better for each."""

METRIC_MEANINGS: dict[str, str] = {
    "EN": "Entropy of the gray levels, in bits: how much the fused image contains. Noise also raises it.",
    "AG": "Average gradient, in gray levels per pixel: how sharp the detail is. Noise also raises it.",
    "MI": "Mutual information with both sources, in nats: how much the fused image says about their gray levels.",
    "SSIM": "Structural similarity to both sources, added up; 2 would be equal to both.",
    "PSNR": "Peak signal-to-noise ratio, in dB: how little the gray levels differ from those of the sources.",
    "Qabf": "Edges of the sources that are kept in strength and direction, from 0 to 0.987.",
    "SCD": "Correlation of what each source adds with what the fused image has beyond the other, from -2 to 2.",
    "SF": "Spatial frequency, in gray levels: how much neighbouring pixels differ. Noise also raises it.",
    "SD": "Standard deviation, in gray levels: contrast.",
    "VIF": "Visual information of both sources that can be seen in the fused image, added up.",
}
"""The meaning of each metric in one line; definitions: docs/reference/metrics.md."""

NO_REFERENCE_METRICS = frozenset({"EN", "AG", "SF", "SD"})
"""Metrics of the fused image only: called as metric(fused, data_range=...)."""


_CACHE_PIXELS = 2**17
"""Pixels per step on the CPU: the intermediate maps then stay in the cache, which halves the time."""


def fusion_metrics(fused: Tensor, sources: Tensor, data_range: float = 1.0) -> dict[str, Tensor]:
    """All metrics of a batch, in the order of :data:`FUSION_METRICS`.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``; luma where the image has colour.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.

    Returns:
        Name -> (B,), float64 where one of the inputs is float64, float32 otherwise.

    Raises:
        ValueError: if the shapes do not match, or ``data_range`` is not positive.
    """
    check_shapes(fused, sources)
    batch, _, height, width = fused.shape
    step = batch if fused.device.type != "cpu" else _CACHE_PIXELS // max(height * width, 1)
    pairs = zip(fused.split(max(step, 1)), sources.split(max(step, 1)), strict=True)
    parts = [_at_once(fused_part, sources_part, data_range) for fused_part, sources_part in pairs]
    return {name: torch.cat([part[name] for part in parts]) for name in FUSION_METRICS}


def _at_once(fused: Tensor, sources: Tensor, data_range: float) -> dict[str, Tensor]:
    return {
        name: metric(fused, data_range=data_range)
        if name in NO_REFERENCE_METRICS
        else metric(fused, sources, data_range=data_range)
        for name, metric in FUSION_METRICS.items()
    }


__all__ = [
    "FUSION_METRICS",
    "NO_REFERENCE_METRICS",
    "AverageGradientMetric",
    "EntropyMetric",
    "FusionMetric",
    "FusionPSNRMetric",
    "FusionSSIMMetric",
    "MutualInformationMetric",
    "QabfMetric",
    "SCDMetric",
    "SpatialFrequencyMetric",
    "StandardDeviationMetric",
    "VIFMetric",
    "average_gradient",
    "entropy",
    "fusion_metrics",
    "mutual_information",
    "peak_signal_to_noise_ratio",
    "qabf",
    "spatial_frequency",
    "standard_deviation",
    "structural_similarity",
    "sum_of_correlations_of_differences",
    "visual_information_fidelity",
]
