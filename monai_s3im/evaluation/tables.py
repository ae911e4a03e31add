"""Write a comparison as tables: Markdown for people, CSV for programs, LaTeX for papers."""

import csv
import io
import math
from pathlib import Path

from monai_s3im.formats.writing import write_json, write_text

from .comparison import PAPER_METRICS, Comparison, nan_last
from .guards import GUARDS, Guard
from .readability import READING_GUARDS, ReadingGuard

_BOUNDS: dict[str, Guard | ReadingGuard] = {**GUARDS, **READING_GUARDS}


def write_tables(comparison: Comparison, output_dir: str | Path, title: str) -> list[Path]:
    """Write ``quality.md``, ``quality.tex``, ``quality.csv`` (a row for each method and case) and ``quality.json``.

    Args:
        comparison: what was measured; its first method is taken for the own one.
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
        }
        for method in comparison.values
    }
    intervals = {
        method: {name: [_number(end) for end in comparison.interval(method, name)] for name in comparison.names}
        for method in comparison.values
    }
    own, *others = comparison.values
    ahead = {
        method: {"metrics": comparison.ahead(own, method), "share": comparison.share_as_far_ahead(own, method)}
        for method in others
    }
    found = {"title": title, "patients": comparison.patients, "mean": means, "interval": intervals, "ahead": ahead}
    write_json(found, files[3])
    return files


def markdown(comparison: Comparison, title: str) -> str:
    """The tables of means, of guards, and of intervals, as Markdown."""
    own, *others = comparison.values
    cases, patients = len(comparison.patients), len(set(comparison.patients.values()))
    lines = [f"# {title}", "", f"{cases} pairs of {patients} patient{'s' if patients > 1 else ''}.", ""]
    lines += [f"| method | {' | '.join(PAPER_METRICS)} | mean rank | {own} ahead on |", "|---" * 11 + "|"]
    for method in sorted(comparison.values, key=comparison.mean_rank):
        cells = [_shown(comparison, method, name) for name in PAPER_METRICS]
        ahead = "" if method == own else _ahead_cell(comparison, own, method)
        name = f"**{method}**" if method == own else method
        lines.append(f"| {name} | {' | '.join(cells)} | {comparison.mean_rank(method):.2f} | {ahead} |")
    drawn = "patients" if comparison.has_several_patients else "images of the one patient"
    note = (
        "The best value of a column is bold. Rank 1 is the best of all methods. In brackets: in how many of the "
        f"bootstrap's resamples over {drawn} {own} is ahead on at least as many."
    )
    lines += ["", note, "", "## Guards", ""]
    guards = [name for name in comparison.names if name in _BOUNDS]
    further = [name for name in comparison.names if name not in _BOUNDS and name not in PAPER_METRICS]
    bounds = [
        f"{_BOUNDS[g].title}, {'at most' if _BOUNDS[g].is_upper else 'at least'} {_BOUNDS[g].bound:g}" for g in guards
    ]
    lines += [f"| method | {' | '.join([*bounds, *further])} |", "|---" * (1 + len(guards) + len(further)) + "|"]
    for method in comparison.values:
        kept = [_guard_cell(name, comparison.mean(method, name)) for name in guards]
        rest = [f"{comparison.mean(method, name):.3f}" for name in further]
        lines.append(f"| {method} | {' | '.join([*kept, *rest])} |")
    what = "patients" if comparison.has_several_patients else "images of the one patient, so too narrow,"
    lines += [
        "",
        f"## {own} less each method",
        "",
        f"Mean difference, with a 95 % bootstrap interval over {what} below.",
        "",
    ]
    lines += [f"| method | {' | '.join(PAPER_METRICS)} |", "|---" * 9 + "|"]
    for method in others:
        lines.append(f"| {method} | {' | '.join(_difference(comparison, own, method, n) for n in PAPER_METRICS)} |")
    return "\n".join(lines) + "\n"


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


def _ahead_cell(comparison: Comparison, own: str, other: str) -> str:
    ahead = len(comparison.ahead(own, other))
    sure = f" ({comparison.share_as_far_ahead(own, other):.0%})" if ahead else ""
    return f"{ahead} of {len(PAPER_METRICS)}{sure}"


def _guard_cell(name: str, value: float) -> str:
    if math.isnan(value):
        return "nothing to measure"
    return f"{value:.3f}" if _BOUNDS[name].holds(value) else f"{value:.3f} (broken)"


def _difference(comparison: Comparison, own: str, other: str, name: str) -> str:
    lower, upper = comparison.interval_of_difference(own, other, name)
    return f"{comparison.difference(own, other, name):+.3f} [{lower:+.3f}, {upper:+.3f}]"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in "&%$#_{}" else character for character in text)
