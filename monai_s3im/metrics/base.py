"""Shared by the fusion metrics: shape checks, 0..255 scale, histogram levels, MONAI base class."""

from abc import abstractmethod
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import MetricReduction
from torch import Tensor

GRAY_LEVELS = 256
_LEAST_SPAN = 0.5

_OF_EACH_IMAGE = {MetricReduction.NONE, MetricReduction.MEAN_CHANNEL, MetricReduction.SUM_CHANNEL}


def prepare_fused(fused: Tensor, data_range: float) -> Tensor:
    """Check a fused batch and convert it to the 0..255 scale of the metrics.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        data_range: the value that stands for white.

    Returns:
        (B, 1, H, W) in float64 where the input is float64, in float32 otherwise.

    Raises:
        ValueError: if the shape is another, or ``data_range`` is not positive.
    """
    if fused.ndim != 4 or fused.shape[1] != 1:
        raise ValueError(f"expected a fused batch of shape (B, 1, H, W), got {tuple(fused.shape)}")
    return _to_gray_levels(fused, data_range, fused.dtype)


def prepare_pair(fused: Tensor, sources: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Check a fused batch and its sources and convert them to the 0..255 scale of the metrics.

    Args:
        fused: (B, 1, H, W), values in 0..``data_range``.
        sources: (B, N, H, W), N >= 2, same range.
        data_range: the value that stands for white.

    Returns:
        Both, in float64 where one of them is float64, in float32 otherwise.

    Raises:
        ValueError: if the shapes do not match, or ``data_range`` is not positive.
    """
    check_shapes(fused, sources)
    dtype = torch.promote_types(fused.dtype, sources.dtype)
    return _to_gray_levels(fused, data_range, dtype), _to_gray_levels(sources, data_range, dtype)


def check_shapes(fused: Tensor, sources: Tensor) -> None:
    """Refuse a fused batch and sources whose shapes do not match.

    Raises:
        ValueError: unless ``fused`` is (B, 1, H, W) and ``sources`` (B, N, H, W) with N >= 2.
    """
    fits = (
        fused.ndim == sources.ndim == 4
        and fused.shape[1] == 1
        and sources.shape[1] >= 2
        and (fused.shape[0], *fused.shape[2:]) == (sources.shape[0], *sources.shape[2:])
    )
    if not fits:
        raise ValueError(
            "expected fused (B, 1, H, W) and sources (B, N, H, W) with N >= 2, "
            f"got fused {tuple(fused.shape)} and sources {tuple(sources.shape)}"
        )


def _to_gray_levels(image: Tensor, data_range: float, dtype: torch.dtype) -> Tensor:
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}")
    working_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    return image.as_subclass(Tensor).to(working_dtype) * (255.0 / data_range)


def is_constant(image: Tensor) -> Tensor:
    """Whether each channel on the 0..255 scale spans less than half a gray level, (B, C, H, W) -> (B, C).

    Resampling leaves such residue in empty slices, and a ratio to it has no meaning.
    """
    return image.amax((2, 3)) - image.amin((2, 3)) < _LEAST_SPAN


def histogram_levels(image: Tensor) -> Tensor:
    """Round gray values, half to even, to the int32 levels 0..255; values outside are clipped."""
    return image.round().clamp_(0, GRAY_LEVELS - 1).nan_to_num_(0.0).int()


def nan_unless_finite(values: Tensor, *images: Tensor) -> Tensor:
    """Set the value (B,) of each image (B, C, H, W) with a nan or infinite pixel to nan; some metrics hide it."""
    for image in images:
        values = values.where(image.isfinite().flatten(1).all(1), torch.nan)
    return values


class FusionMetric(CumulativeIterationMetric):
    """Base of the metric classes: called as ``metric(y_pred=fused, y=sources)``, one value per image is kept.

    ``aggregate()`` reduces the values of all images since ``reset()``, as MONAI's metrics do: images whose value is nan
    (each metric says when) are left out, and the result is nan if no image has a value. ``get_buffer()`` returns the
    values.

    Args:
        data_range: the value that stands for white in ``y_pred`` and ``y``.
        reduction: ``"mean"`` or ``"sum"`` over the images, a scalar tensor; ``"mean_batch"`` or ``"sum_batch"``, the
            same as (1,); ``"none"``, ``"mean_channel"`` or ``"sum_channel"``: the values, (B,).
    """

    def __init__(self, data_range: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.data_range = data_range
        self.reduction = MetricReduction(reduction)

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        if y is None:
            raise ValueError(f"{type(self).__name__} needs the sources: call it as metric(y_pred=fused, y=sources)")
        check_shapes(y_pred, y)
        return self.values(y_pred, y)

    @abstractmethod
    def values(self, fused: Tensor, sources: Tensor) -> Tensor:
        """The metric's function on one batch, (B, 1, H, W) and (B, N, H, W) -> (B,)."""

    def aggregate(self, reduction: str | None = None) -> Tensor:
        """Reduce the values that are not nan, by ``reduction`` or the metric's own reduction.

        Raises:
            ValueError: if the reduction is unknown.
        """
        how = self.reduction if reduction is None else MetricReduction(reduction)
        values: Tensor = self.get_buffer()
        if how in _OF_EACH_IMAGE:
            return values
        mean = values.nanmean()
        reduced = mean if how in {MetricReduction.MEAN, MetricReduction.MEAN_BATCH} else mean * (~values.isnan()).sum()
        return reduced[None] if how in {MetricReduction.MEAN_BATCH, MetricReduction.SUM_BATCH} else reduced
