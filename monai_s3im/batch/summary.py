"""The table of a batch: one row for each case, for a spreadsheet."""

import csv
import io
import logging
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import exists
from monai_s3im.formats.writing import write_text
from monai_s3im.metrics import FUSION_METRICS

logger = logging.getLogger(__name__)

_COLUMNS = ["name", "status", "error", "warnings", "seconds", "output", "fused_sha256"]
_WRITE_EVERY = 10
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class CaseResult:
    """The outcome of one case of a batch.

    Attributes:
        name: of the pair.
        status: ``"fused"``; ``"skipped"``, finished earlier and verified; ``"failed"``, with the reason in ``error``.
        error: one sentence.
        output: the fused image.
        fused_sha256: SHA256 of its bytes.
        warnings: the warnings in its record.
        seconds: time spent on it.
        metrics: metric name -> value, if asked for.
    """

    name: str
    status: Literal["fused", "skipped", "failed"]
    error: str | None = None
    output: Path | None = None
    fused_sha256: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)


class Summary:
    """``summary.csv`` in the output folder of a batch, always rewritten whole.

    Args:
        output_dir: the folder, created if needed.
        names: all cases, in the order of the rows.
        metrics: whether the rows have the fusion metrics.

    Raises:
        InputError: if a ``summary.csv`` exists that no batch wrote.
    """

    def __init__(self, output_dir: str | Path, names: Iterable[str], metrics: bool = False) -> None:
        self.path = Path(output_dir) / "summary.csv"
        self._order = {name: index for index, name in enumerate(names)}
        self._metrics = list(FUSION_METRICS) if metrics else []
        self._results: list[CaseResult] = []
        if exists(self.path) and not self.path.read_bytes().startswith(",".join(_COLUMNS).encode()):
            raise InputError(
                f"{self.path} is not the summary of a batch and would be overwritten: choose another folder"
            )

    def add(self, result: CaseResult) -> CaseResult:
        """Add a result and return it; write the table after every tenth."""
        self._results.append(result)
        if len(self._results) % _WRITE_EVERY == 0:
            self.write()
        return result

    def write(self) -> None:
        """Write the table of the results so far; log a failure to write and continue."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*_COLUMNS, *self._metrics])
        for result in sorted(self._results, key=lambda result: self._order[result.name]):
            writer.writerow(map(_cell, self._row(result)))
        with suppress(OSError):  # the next line reports it
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_text(text.getvalue(), self.path)
        except OutputError as error:
            logger.warning("%s", error)

    def _row(self, result: CaseResult) -> list[str | float | None]:
        return [
            result.name,
            result.status,
            result.error,
            "; ".join(result.warnings),
            round(result.seconds, 3),
            result.output.name if result.output else None,
            result.fused_sha256,
            *[result.metrics.get(name) for name in self._metrics],
        ]


def read_summary(output_dir: str | Path) -> list[CaseResult]:
    """Read ``summary.csv`` back, in the order of its rows.

    Raises:
        InputError: if it is missing, or no batch wrote it.
    """
    path = Path(output_dir) / "summary.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file, restval="")
            rows = list(table)
        if (table.fieldnames or [])[: len(_COLUMNS)] != _COLUMNS:
            raise ValueError(table.fieldnames)
        return [_result_of(row, path.parent) for row in rows]
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: give the output folder of a batch") from error
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not the summary of a batch: give the output folder of one") from error


def _result_of(row: dict[str, str], folder: Path) -> CaseResult:
    name, error, warnings, output = (_text(row[column]) for column in ("name", "error", "warnings", "output"))
    status = row["status"]
    if status not in {"fused", "skipped", "failed"}:
        raise ValueError(status)
    return CaseResult(
        name,
        cast("Literal['fused', 'skipped', 'failed']", status),
        error or None,
        output=folder / Path(output).name if output else None,
        fused_sha256=row["fused_sha256"] or None,
        warnings=(warnings,) if warnings else (),
        seconds=float(row["seconds"]),
        metrics={metric: float(row[metric]) for metric in FUSION_METRICS if row.get(metric)},
    )


def _text(cell: str) -> str:
    """The value of a cell, without the apostrophe that keeps a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") and _is_risky(cell) else cell


def _is_risky(text: str) -> bool:
    return text.lstrip("'").startswith(_FORMULA)


def _cell(value: str | float | None) -> str:
    """The text of a cell: no formula that a spreadsheet would run, no nan, no infinity."""
    if isinstance(value, str):
        return f"'{value}" if _is_risky(value) else value
    return "" if value is None or not math.isfinite(value) else str(value)
