"""Write a comparison as tables: Markdown for people, CSV for programs, LaTeX for papers."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_s3im.formats.writing import write_json, write_text

from .comparison import CONTENT_METRICS, PAPER_METRICS, Comparison, nan_last
from .content import SUFFIX
from .guards import GUARDS, Guard
from .readability import READING_GUARDS, ReadingGuard
from .shown import SHOWN

_BOUNDS: dict[str, Guard | ReadingGuard] = {**GUARDS, **READING_GUARDS}


def write_tables(comparison: Comparison, output_dir: str | Path, title: str) -> list[Path]:
    """Write ``quality.md``, ``quality.tex``, ``quality.csv`` (a row for each method and case) and ``quality.json``.

    Args:
        comparison: the measured values; the first method is yours.
        output_dir: an existing folder.
        title: heading, such as the name of the data.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written; none is left half-written.
    """
    folder = Path(output_dir)
    files = [folder / f"quality.{suffix}" for suffix in ("md", "tex", "csv", "json")]
    write_text(markdown(comparison, title), files[0])
    write_text(latex(comparison, title), files[1])
    write_text(_csv(comparison), files[2])
    means = {
        method: {
            **{name: _number(comparison.mean(method, name)) for name in comparison.names},
            "mean rank": comparison.mean_rank(method),
            "mean rank on content": comparison.mean_rank(method, CONTENT_METRICS),
        }
        for method in comparison.values
    }
    intervals = {
        method: {name: [_number(end) for end in comparison.interval(method, name)] for name in comparison.names}
        for method in comparison.values
    }
    own, *others = comparison.values
    ahead = {
        method: {
            "metrics": comparison.ahead(own, method),
            "share": comparison.share_as_far_ahead(own, method),
            "on content": comparison.ahead(own, method, CONTENT_METRICS),
        }
        for method in others
    }
    found = {"title": title, "patients": comparison.patients, "mean": means, "interval": intervals, "ahead": ahead}
    write_json(found, files[3])
    return files


def markdown(comparison: Comparison, title: str) -> str:
    """The tables of means, guards, visibility of the sources, metrics on the content, and intervals, as Markdown."""
    cases, patients = len(comparison.patients), len(set(comparison.patients.values()))
    lines = [f"# {title}", "", f"{cases} pairs of {patients} patient{'s' if patients > 1 else ''}.", ""]
    lines += _means(comparison, PAPER_METRICS)
    own = next(iter(comparison.values))
    drawn = "patients" if comparison.has_several_patients else "images of the one patient"
    note = (
        "The best value of a column is bold. Rank 1 is the best of all methods. In brackets: the share of the "
        f"bootstrap resamples over {drawn} in which {own} is ahead on at least as many."
    )
    lines += ["", note, "", "## Guards", ""]
    further = [name for name in comparison.names if not _is_tabled(name)]
    lines += _bounds(comparison, _BOUNDS, further)
    if any(name in SHOWN for name in comparison.names):
        lines += ["", "## Both sources are shown", "", *_bounds(comparison, SHOWN, [])]
    lines += [
        "",
        "## On the content only",
        "",
        "Every method's image is black where both sources are below 5 of 255, and EN is that of the other pixels.",
        "",
        *_means(comparison, CONTENT_METRICS),
        *_differences(comparison),
    ]
    return "\n".join(lines) + "\n"


def _is_tabled(name: str) -> bool:
    return name in _BOUNDS or name in SHOWN or name in PAPER_METRICS or name.endswith(SUFFIX)


def _means(comparison: Comparison, metrics: Sequence[str]) -> list[str]:
    """A row for each method, by mean rank, with its means and the metrics on which your method is ahead."""
    own = next(iter(comparison.values))
    titles = " | ".join(name.removesuffix(SUFFIX) for name in metrics)
    lines = [f"| method | {titles} | mean rank | {own} ahead on |", "|---" * (len(metrics) + 3) + "|"]
    ranks = {method: comparison.mean_rank(method, metrics) for method in comparison.values}
    for method in sorted(ranks, key=ranks.__getitem__):
        cells = [_shown(comparison, method, name) for name in metrics]
        ahead = "" if method == own else _ahead_cell(comparison, own, method, metrics)
        name = f"**{method}**" if method == own else method
        lines.append(f"| {name} | {' | '.join(cells)} | {ranks[method]:.2f} | {ahead} |")
    return lines


def _bounds(comparison: Comparison, table: Mapping[str, Guard | ReadingGuard], further: Sequence[str]) -> list[str]:
    """A row for each method with its guards; those not met are marked."""
    guards = [name for name in comparison.names if name in table]
    titles = [f"{table[g].title}, {'at most' if table[g].is_upper else 'at least'} {table[g].bound:g}" for g in guards]
    lines = [f"| method | {' | '.join([*titles, *further])} |", "|---" * (1 + len(guards) + len(further)) + "|"]
    for method in comparison.values:
        kept = [_guard_cell(table[name], comparison.mean(method, name)) for name in guards]
        rest = [f"{comparison.mean(method, name):.3f}" for name in further]
        lines.append(f"| {method} | {' | '.join([*kept, *rest])} |")
    return lines


def _differences(comparison: Comparison) -> list[str]:
    """A row for each other method: the difference from yours."""
    own, *others = comparison.values
    what = "patients" if comparison.has_several_patients else "images of the one patient, so too narrow,"
    lines = [
        "",
        f"## {own} minus each method",
        "",
        f"Mean difference, with a 95 % bootstrap interval over {what} below.",
        "",
        f"| method | {' | '.join(PAPER_METRICS)} |",
        "|---" * 9 + "|",
    ]
    cells = {other: [_difference(comparison, own, other, name) for name in PAPER_METRICS] for other in others}
    return [*lines, *(f"| {other} | {' | '.join(row)} |" for other, row in cells.items())]


def latex(comparison: Comparison, title: str) -> str:
    """The table of means for a paper, with booktabs rules; the best value of a column is bold."""
    lines = [
        "\\begin{table}",
        f"\\caption{{{_escaped(title)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(PAPER_METRICS)}r}}",
        "\\toprule",
        f"Method & {' & '.join(PAPER_METRICS)} & Rank \\\\",
        "\\midrule",
    ]
    for method in sorted(comparison.values, key=comparison.mean_rank):
        cells = [_shown(comparison, method, name, "\\textbf{", "}") for name in PAPER_METRICS]
        lines.append(f"{_escaped(method)} & {' & '.join(cells)} & {comparison.mean_rank(method):.2f} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _csv(comparison: Comparison) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "case", "patient", *comparison.names])
    for method, cases in comparison.values.items():
        for case, values in cases.items():
            row = [_number(value) for value in values.values()]
            writer.writerow([method, case, comparison.patients[case], *row])
    return text.getvalue()


def _shown(comparison: Comparison, method: str, name: str, before: str = "**", after: str = "**") -> str:
    value = comparison.mean(method, name)
    best = max(nan_last(comparison.mean(other, name)) for other in comparison.values)
    is_best = value >= best  # never of nan
    return f"{before}{value:.3f}{after}" if is_best else f"{value:.3f}"


def _ahead_cell(comparison: Comparison, own: str, other: str, metrics: Sequence[str]) -> str:
    ahead = len(comparison.ahead(own, other, metrics))
    sure = f" ({comparison.share_as_far_ahead(own, other, metrics):.0%})" if ahead else ""
    return f"{ahead} of {len(metrics)}{sure}"


def _guard_cell(guard: Guard | ReadingGuard, value: float) -> str:
    if math.isnan(value):
        return "nothing to measure"
    return f"{value:.3f}" if guard.holds(value) else f"{value:.3f} (broken)"


def _difference(comparison: Comparison, own: str, other: str, name: str) -> str:
    lower, upper = comparison.interval_of_difference(own, other, name)
    return f"{comparison.difference(own, other, name):+.3f} [{lower:+.3f}, {upper:+.3f}]"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in "&%$#_{}" else character for character in text)
