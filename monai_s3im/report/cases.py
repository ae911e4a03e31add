"""The cases of a report, read from the output folder of a batch, and the comparison of their metrics."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from monai_s3im.batch.summary import CaseResult, read_summary
from monai_s3im.formats.reading import is_volume
from monai_s3im.modalities import MODALITIES
from monai_s3im.record import FusionRecord

FEWEST_FOR_OUTLIERS = 8
_FURTHEST = 3.5  # modified z-score
_SIGMA_OF_MAD = 0.6745  # median absolute deviation of a normal distribution, in standard deviations

Attention = Literal["failed", "warning", "outlier", "clear"]
ATTENTIONS: tuple[Attention, ...] = ("failed", "warning", "outlier", "clear")
"""The states of a case, most urgent first; clear: no warnings, no outliers."""


@dataclass(frozen=True)
class Distribution:
    """The values of one metric in a group of similar cases.

    Attributes:
        values: finite.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return median(self.values)

    def is_outlier(self, value: float) -> bool:
        """Whether a value is far from the median: a modified z-score above 3.5.

        The score is 0.6745 (x - median) / MAD, MAD being the median absolute deviation. Fewer than 8 values, or values
        of which more than half are equal, have no outliers.

        References:
            B. Iglewicz, D. C. Hoaglin: How to Detect and Handle Outliers. ASQC Quality Press, 1993.
        """
        if len(self.values) < FEWEST_FOR_OUTLIERS:
            return False
        deviation = median(abs(other - self.median) for other in self.values)
        return _SIGMA_OF_MAD * abs(value - self.median) > _FURTHEST * deviation > 0


@dataclass(frozen=True)
class Case:
    """One case of a batch.

    Attributes:
        result: its row of the summary.
        record: how it was made; None if it failed, or the record is missing.
        outliers: metrics far from those of similar cases.
    """

    result: CaseResult
    record: FusionRecord | None
    outliers: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the record, else of the summary."""
        return tuple(self.record.warnings if self.record else self.result.warnings)

    @property
    def attention(self) -> Attention:
        """The state of the case."""
        if self.result.status == "failed":
            return "failed"
        return "warning" if self.warnings else "outlier" if self.outliers else "clear"

    @property
    def kind(self) -> str:
        """The kind of pair: ``"MR + CT volumes"``, empty if unknown; metrics are compared within one kind."""
        if self.record is None or self.result.output is None:
            return ""
        what = "volumes" if is_volume(self.result.output) else "pictures"
        return f"{self.modality('image_a')} + {self.modality('image_b')} {what}"

    def modality(self, key: str) -> str:
        """The label of a source's modality; empty if unknown."""
        name = self.record.sources[key].modality if self.record else ""
        return MODALITIES[name].label if name in MODALITIES else name


@dataclass(frozen=True)
class ReportedBatch:
    """The cases of a batch, the most urgent first, and the distributions of their metrics.

    Attributes:
        cases: all.
        distributions: kind of case -> metric -> distribution.
    """

    cases: tuple[Case, ...]
    distributions: dict[str, dict[str, Distribution]]

    @property
    def counts(self) -> dict[str, int]:
        """The number of cases in each state."""
        return {attention: sum(case.attention == attention for case in self.cases) for attention in ATTENTIONS}


def read_batch(output_dir: Path) -> ReportedBatch:
    """Read the cases of a batch from its output folder: ``summary.csv`` and the records.

    Raises:
        InputError: if the summary is missing, or no batch wrote it.
    """
    cases = [_case_of(result) for result in read_summary(output_dir)]
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.kind, []).append(case)
    distributions = {kind: _distributions(group) for kind, group in groups.items()}
    marked = [Case(case.result, case.record, _outliers(case, distributions[case.kind])) for case in cases]
    return ReportedBatch(tuple(sorted(marked, key=lambda case: ATTENTIONS.index(case.attention))), distributions)


def shared_settings(cases: Iterable[Case]) -> dict[str, Any]:
    """The common settings and versions in all records, and the weights of each task."""
    records = [case.record for case in cases if case.record is not None]
    first, *others = [record.shared for record in records] or [{}]
    weights = {f"weights of {record.task or 'all'}": record.weights_sha256 for record in records}
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)} | weights


def _case_of(result: CaseResult) -> Case:
    record = _record_of(result)
    if record is not None and record.fused_sha256 != result.fused_sha256:  # replaced since, and not measured
        result = replace(result, fused_sha256=record.fused_sha256, metrics={})
    return Case(result, record)


def _record_of(result: CaseResult) -> FusionRecord | None:
    """The record of a case; None if it is missing or unusable."""
    if result.output is None:
        return None
    try:
        record = FusionRecord.read(result.output)
        json.dumps(record and record.as_json(), ensure_ascii=False).encode()  # a page cannot contain half a character
    except ValueError:  # includes InputError
        return None
    return (
        record
        if record is not None and all(len(source.intensity_range) == 2 for source in record.sources.values())
        else None
    )


def _distributions(group: Sequence[Case]) -> dict[str, Distribution]:
    names = dict.fromkeys(name for case in group for name in case.result.metrics)
    return {
        name: Distribution(tuple(case.result.metrics[name] for case in group if name in case.result.metrics))
        for name in names
    }


def _outliers(case: Case, distributions: dict[str, Distribution]) -> tuple[str, ...]:
    return tuple(name for name, value in case.result.metrics.items() if distributions[name].is_outlier(value))
