"""Measure the fused images of several methods on the same pairs, and rank the methods."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import PICTURE_SUFFIXES, isdir, suffix_of
from monai_s3im.formats.reading import read_image, stem_of
from monai_s3im.functional import rgb_to_ycbcr, ycbcr_to_rgb
from monai_s3im.metrics import fusion_metrics
from monai_s3im.modalities import FUNCTIONAL

from .baselines import average, maximum
from .content import SUFFIX, content_metrics
from .evaluate import LARGEST_BATCH, read_luma
from .guards import guard_values
from .readability import READING_GUARDS, picture_readings
from .shown import shown_values

PAPER_METRICS = ("EN", "AG", "MI", "SSIM", "PSNR", "Qabf", "SCD", "SF")
CONTENT_METRICS = tuple(f"{name}{SUFFIX}" for name in PAPER_METRICS)
TRIVIAL: dict[str, Callable[[Tensor], Tensor]] = {"Average": average, "Max": maximum}
_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """Values of several methods on the same cases.

    Attributes:
        values: method -> case -> name of a metric, a guard or a metric on the content -> value, nan if it has none;
            your method first.
        patients: case -> patient.
    """

    values: dict[str, dict[str, dict[str, float]]]
    patients: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Metrics and guards measured."""
        return list(next(iter(next(iter(self.values.values())).values())))

    def of(self, method: str, name: str) -> np.ndarray:
        """The values of a method's cases, (cases,)."""
        return np.array([case[name] for case in self.values[method].values()])

    def mean(self, method: str, name: str) -> float:
        """Mean over the cases that have a value; nan if none do."""
        values = self.of(method, name)
        return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan

    def ahead(self, method: str, other: str, metrics: Sequence[str] = PAPER_METRICS) -> list[str]:
        """The metrics (default: the paper's) on which a method is ahead, by the mean over cases that both have."""
        return [name for name in metrics if self.difference(method, other, name) > 0]

    def share_as_far_ahead(self, method: str, other: str, metrics: Sequence[str] = PAPER_METRICS) -> float:
        """How certain :meth:`ahead` is: the share of resamples, drawn as in :meth:`interval`, with at least as many.

        0..1. A half or less means that on other patients it may well be fewer.
        """
        pairs = [(self.of(method, name), self.of(other, name)) for name in metrics]
        differences = np.nan_to_num(np.array([first - second for first, second in pairs]), posinf=0, neginf=0)
        sums = np.array([differences[:, self._groups == group].sum(1) for group in np.unique(self._groups)])
        drawn = _drawn(len(sums))
        ahead = sum((column[drawn].sum(1) > 0).astype(int) for column in sums.T)  # a mean is above 0 if its sum is
        return float(np.mean(ahead >= len(self.ahead(method, other, metrics))))

    def difference(self, method: str, other: str, name: str) -> float:
        """Mean of the paired differences, method minus other, over cases with both values; nan if none."""
        first, second = self.of(method, name), self.of(other, name)
        both = np.isfinite(first - second)
        return float(first[both].mean() - second[both].mean()) if both.any() else math.nan

    def mean_rank(self, method: str, metrics: Sequence[str] = PAPER_METRICS) -> float:
        """Mean over the metrics of the method's rank among all; 1 is best, and equal values share the better rank.

        A method without a value ranks behind all others.
        """
        ranks = []
        for name in metrics:
            value = nan_last(self.mean(method, name))
            ranks.append(1 + sum(nan_last(self.mean(other, name)) > value for other in self.values))
        return float(np.mean(ranks))

    @property
    def has_several_patients(self) -> bool:
        """Whether intervals are over patients. With only one patient they are over its images, and too narrow."""
        return len(set(self.patients.values())) > 1

    def interval(self, method: str, name: str) -> tuple[float, float]:
        """95 % bootstrap interval of the mean: patients are drawn with replacement, 2,000 times, all images of each."""
        return self._interval(self.of(method, name))

    def interval_of_difference(self, method: str, other: str, name: str) -> tuple[float, float]:
        """The same for :meth:`difference`."""
        return self._interval(self.of(method, name) - self.of(other, name))

    def _interval(self, values: np.ndarray) -> tuple[float, float]:
        defined = np.isfinite(values)
        if not defined.any():
            return math.nan, math.nan
        groups = [values[defined & (self._groups == group)] for group in np.unique(self._groups)]
        groups = [group for group in groups if len(group)]
        sums, counts = np.array([group.sum() for group in groups]), np.array([len(group) for group in groups])
        drawn = _drawn(len(groups))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))

    @property
    def _groups(self) -> np.ndarray:
        """The unit of resampling, (cases,): the patient, or with one patient the image."""
        return np.array(list(self.patients.values())) if self.has_several_patients else np.arange(len(self.patients))


def _drawn(groups: int) -> np.ndarray:
    """The resamples of the bootstrap, (resamples, groups): indices of groups, the same at every call."""
    return np.random.default_rng(_SEED).integers(groups, size=(_RESAMPLES, groups))


def nan_last(value: float) -> float:
    """The value on a scale on which more is better and a missing value is worst."""
    return -math.inf if math.isnan(value) else value


def compare(
    methods: Mapping[str, str | Path],
    source_a: str | Path,
    source_b: str | Path,
    *,
    modality_b: str = "generic",
    patient: str = r"(.+)\d{3}",
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Measure fused pictures on disk, colour by its luma, on the 0..255 scale and in float64.

    ``Average`` and ``Max`` of the sources are also measured, as the two trivial methods.

    Args:
        methods: name -> folder of fused pictures, named like the sources; your method first.
        source_a: folder of the first sources: MR or visible.
        source_b: folder of the second sources.
        modality_b: modality of the second sources, for the guards: ``"ct"``, ``"spect"``, ``"pet"`` or another.
        patient: regular expression whose first group is the patient in a file's stem; a stem without a match counts as
            a separate patient.
        progress: called with each method's name before it is measured.

    Returns:
        The values of every method.

    Raises:
        InputError: a folder lacks a picture or has none, a picture cannot be read, the sizes differ, or the expression
            is unusable.
    """
    try:
        expression = re.compile(patient)
        if expression.groups < 1:
            raise InputError(f"the expression {patient!r} for a patient has no group: put the patient in parentheses")
    except re.error as error:
        raise InputError(f"the expression {patient!r} for a patient cannot be used: {error}") from error
    first, second = pictures_of(Path(source_a)), pictures_of(Path(source_b))
    cases = sorted(first.keys() & second.keys())
    if not cases:
        raise InputError(f"{source_a} and {source_b} share no file name: give the pictures of a pair the same name")
    sources = {case: torch.cat([read_luma(first[case]), read_luma(second[case])]) for case in cases}
    colored = {case: _colors_in(second[case]) for case in cases} if modality_b in FUNCTIONAL else {}
    values = {}
    for name, folder in methods.items():
        if progress is not None:
            progress(name)
        fused = _fused_of(name, Path(folder), sources)
        files = pictures_of(Path(folder))
        values[name] = _measure(fused, sources, modality_b, colored, {case: files[case] for case in cases})
    for name, rule in TRIVIAL.items():
        fused = {case: rule(pair[None])[0].round() for case, pair in sources.items()}
        values[name] = _measure(fused, sources, modality_b, colored)
    matches = {case: expression.fullmatch(case) for case in cases}
    return Comparison(values, {case: match[1] if match else case for case, match in matches.items()})


def _fused_of(name: str, folder: Path, sources: Mapping[str, Tensor]) -> dict[str, Tensor]:
    files = pictures_of(folder)
    if missing := [case for case in sources if case not in files]:
        raise InputError(f"{folder} of {name} lacks {', '.join(missing)}: give a fused picture for every pair")
    fused = {case: read_luma(files[case]) for case in sources}
    for case, image in fused.items():
        if image.shape[1:] != sources[case].shape[1:]:
            raise InputError(
                f"{files[case]} is {image.shape[1]} x {image.shape[2]} and its sources are "
                f"{sources[case].shape[1]} x {sources[case].shape[2]}: give fused pictures of the sources' size"
            )
    return fused


def _measure(
    fused: Mapping[str, Tensor],
    sources: Mapping[str, Tensor],
    modality_b: str,
    colored: Mapping[str, Tensor | None],
    files: Mapping[str, Path] | None = None,
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for cases in _batches(sources):
        images = torch.stack([fused[case] for case in cases])
        pairs = torch.stack([sources[case] for case in cases])
        measured = {
            **fusion_metrics(images, pairs, data_range=255.0),
            **guard_values(images, pairs, modality_b),
            **shown_values(images, pairs, modality_b),
            **content_metrics(images, pairs),
        }
        for index, case in enumerate(cases):
            found[case] = {name: column[index].item() for name, column in measured.items()}
    for case, source in colored.items():
        shown = _colors_in(files[case]) if files else None
        found[case] |= _readings(fused[case] / 255, shown, source)
    return {case: found[case] for case in sources}


def _readings(luma: Tensor, shown: Tensor | None, source: Tensor | None) -> dict[str, float]:
    """How well uptake can be read from a fused picture; for a gray one, after the chrominance is restored (Fig. 4)."""
    if source is None:
        return dict.fromkeys(READING_GUARDS, math.nan)
    if shown is None:
        chrominance = rgb_to_ycbcr(source)[1:]
        shown = ycbcr_to_rgb(torch.cat([luma, chrominance])).clamp(0, 1)
    return picture_readings(shown, luma, source)


def _colors_in(file: Path) -> Tensor | None:
    """RGB in [0, 1], (3, H, W), of a coloured picture; None for a gray one."""
    image = read_image(file)
    return (image.as_tensor() / image.meta["value_range"]).double() if image.shape[0] == 3 else None


def _batches(sources: Mapping[str, Tensor]) -> list[list[str]]:
    """Groups of cases of one size, at most ``LARGEST_BATCH`` each."""
    by_size = sorted(sources, key=lambda case: sources[case].shape)
    batches: list[list[str]] = []
    for _, group in groupby(by_size, key=lambda case: sources[case].shape):
        cases = list(group)
        batches += [cases[start : start + LARGEST_BATCH] for start in range(0, len(cases), LARGEST_BATCH)]
    return batches


def pictures_of(folder: Path) -> dict[str, Path]:
    """File stem -> picture of a folder.

    Raises:
        InputError: the path is not a folder or has no pictures.
    """
    if not isdir(folder):
        raise InputError(f"{folder} is not a folder: give a folder of pictures")
    files = {stem_of(file): file for file in sorted(folder.iterdir()) if suffix_of(file) in PICTURE_SUFFIXES}
    if not files:
        raise InputError(f"{folder} has no pictures: give a folder of pictures")
    return files
