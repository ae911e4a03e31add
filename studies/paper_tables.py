"""The tables of the paper: CT-MRI (1), SPECT-MRI (2), the ablation (3) and infrared-visible (4), ours and others'.

Command:  python studies/paper_tables.py --harvard DIR --roadscene DIR --peers DIR --run runs/tables --out studies
          [--medical NAME=FILE,FILE,...] [--infrared NAME=FILE,...] [--ablation LOSS=FILE,FILE,...]
          [--curves TITLE=LOG,LOG,...]
Duration: about 8 minutes on two CPU cores; 3 more for each additional file of weights.
Result:   studies/paper_tables.md, .tex and .csv, with --curves studies/gallery/paper_tables.png too. In runs/tables,
          never to be published where the data may not be, the fused validation pictures.

A NAME with several files is one recipe trained with several seeds: its row has means and standard deviations over them.
The packaged weights are included by default; another NAME is added to them, the same NAME replaces them. The peers'
folder holds METHOD/MRI_CT, METHOD/MRI_SPECT and METHOD/RoadScene with fused pictures, which are measured by the same
code. The logs of --curves are what the trainings with the seeds 0, 1, 2 printed. A seed is trained by

    s3im train --seed SEED --patch_size 64 --dataset_dir DATA
        --network_def '{"_target_": "monai_s3im.networks.PyramidFusion", "in_channels": 2}'

and L_ab with --loss '{"_target_": "monai_s3im.losses.AblationLoss"}' too.
"""

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from loss_curves import draw_curves

from monai_s3im.bundle_config import bundle_root
from monai_s3im.evaluation import PAPER_METRICS, compare
from monai_s3im.evaluation.comparison import nan_last, pictures_of
from monai_s3im.evaluation.run import peers_of
from monai_s3im.formats.writing import sha256_of, write_text
from monai_s3im.modalities import TASKS, task_of
from monai_s3im.pipeline import Fuser

Row = dict[str, tuple[float, float | None]]  # metric -> mean, standard deviation over seeds


@dataclass(frozen=True)
class Split:
    """Validation pairs of one table.

    Attributes:
        number: of the table in the paper.
        title: what it shows.
        task: name of the peers' folders.
        folders: of the first and the second sources.
        modalities: of both.
    """

    number: int
    title: str
    task: str
    folders: tuple[Path, Path]
    modalities: tuple[str, str]


def splits(harvard: Path, roadscene: Path) -> list[Split]:
    """The three splits by the layout of the data sets."""
    ct, spect, scenes = harvard / "CT-MRI" / "val", harvard / "SPECT-MRI" / "val", roadscene / "val"
    return [
        Split(1, "CT-MRI", "MRI_CT", (ct / "MRI", ct / "CT"), ("mr", "ct")),
        Split(2, "SPECT-MRI", "MRI_SPECT", (spect / "MRI", spect / "SPECT"), ("mr", "spect")),
        Split(4, "infrared-visible", "RoadScene", (scenes / "vi", scenes / "ir"), ("visible", "infrared")),
    ]


def fuse_split(split: Split, weights: Path, folder: Path) -> Path:
    """Fuse the pairs of a split, unless already done with these weights."""
    mark = folder / "weights.sha256"
    if mark.is_file() and mark.read_text(encoding="utf-8") == sha256_of(weights):
        return folder
    fuser = Fuser(gray=True, weights=weights)
    first, second = (pictures_of(source) for source in split.folders)
    folder.mkdir(parents=True, exist_ok=True)
    for case in sorted(first.keys() & second.keys()):
        fuser(first[case], second[case], folder / f"{case}.png", *split.modalities)
    write_text(sha256_of(weights), mark)
    return folder


def rows_of(split: Split, recipes: Mapping[str, Sequence[Path]], peers: Path | None, run: Path) -> dict[str, Row]:
    """Rows of a table by method, ours first; of several seeds means and standard deviations."""
    ours = {
        f"{recipe} {seed}": fuse_split(split, weights, run / split.task / f"{recipe}-{seed}")
        for recipe, files in recipes.items()
        for seed, weights in enumerate(files)
    }
    others = peers_of(peers, split.task) if peers is not None else {}
    comparison = compare({**ours, **others}, *split.folders, modality_b=split.modalities[1])
    names = [name for name in comparison.names if name not in {"SD", "VIF"} and not name.endswith("on content")]
    names = [*PAPER_METRICS, *[name for name in names if name not in PAPER_METRICS]]
    rows: dict[str, Row] = {}
    for recipe, files in recipes.items():
        seeds = [[comparison.mean(f"{recipe} {seed}", name) for name in names] for seed in range(len(files))]
        rows[f"S3IMFusion, {recipe}"] = row_of(names, seeds)
    for method in comparison.values:
        if method not in ours:
            rows[method] = row_of(names, [[comparison.mean(method, name) for name in names]])
    return rows


def row_of(names: Sequence[str], seeds: Sequence[Sequence[float]]) -> Row:
    """Means and, of several seeds, standard deviations (n - 1)."""
    values = np.array(seeds)
    spread = values.std(0, ddof=1) if len(seeds) > 1 else [None] * len(names)
    return {
        name: (float(mean), None if sd is None else float(sd))
        for name, mean, sd in zip(names, values.mean(0), spread, strict=True)
    }


def ablation_rows(split: Split, recipes: Mapping[str, Sequence[Path]], run: Path) -> dict[str, Row]:
    """The paper's metrics of each loss on one split of Table 3."""
    rows = rows_of(split, recipes, None, run)
    return {name: {metric: rows[f"S3IMFusion, {name}"][metric] for metric in PAPER_METRICS} for name in recipes}


def cells(row: Row, rows: Mapping[str, Row], bold: tuple[str, str], plus_minus: str) -> list[str]:
    """A row's values, the best of a paper's metric in bold."""
    texts = []
    for name, (mean, spread) in row.items():
        text = f"{mean:.3f}" if spread is None else f"{mean:.3f}{plus_minus}{spread:.3f}"
        text = "" if np.isnan(mean) else text  # nothing to measure
        is_best = name in PAPER_METRICS and mean >= max(nan_last(other[name][0]) for other in rows.values())
        texts.append(f"{bold[0]}{text}{bold[1]}" if is_best else text)
    return texts


def mean_rank(method: str, rows: Mapping[str, Row]) -> float:
    """Mean over the paper's metrics of the rank among all rows, 1 the best; a row without a value is the last."""
    ranks = []
    for name in PAPER_METRICS:
        value = nan_last(rows[method][name][0])
        ranks.append(1 + sum(nan_last(other[name][0]) > value for other in rows.values()))
    return float(np.mean(ranks))


def markdown(title: str, rows: Mapping[str, Row], has_ranks: bool) -> list[str]:
    """A table with its heading."""
    names = [*next(iter(rows.values())), *(["mean rank"] if has_ranks else [])]
    lines = ["", f"## {title}", "", f"| method | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for method, row in rows.items():
        rank = [f"{mean_rank(method, rows):.2f}"] if has_ranks else []
        lines.append(f"| {method} | {' | '.join([*cells(row, rows, ('**', '**'), ' ± '), *rank])} |")
    return lines


def latex(title: str, rows: Mapping[str, Row]) -> list[str]:
    """A table of the paper's metrics, for booktabs."""
    lines = [
        "\\begin{table}",
        f"\\caption{{{title}}}",
        f"\\begin{{tabular}}{{l{'r' * len(PAPER_METRICS)}}}",
        "\\toprule",
    ]
    lines += [f"Method & {' & '.join(PAPER_METRICS)} \\\\", "\\midrule"]
    eight = {method: {name: row[name] for name in PAPER_METRICS} for method, row in rows.items()}
    for method, row in eight.items():
        values = cells(row, eight, ("\\textbf{", "}"), "$\\pm$")
        lines.append(f"{method.replace('_', chr(92) + '_')} & {' & '.join(values)} \\\\")
    return [*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""]


def recipes_of(texts: Sequence[str]) -> dict[str, list[Path]]:
    """NAME=FILE,FILE,... by name."""
    return {name: [Path(file) for file in files.split(",")] for name, files in (text.split("=", 1) for text in texts)}


def of_the_package(modalities: tuple[str, str]) -> dict[str, list[Path]]:
    """The packaged weights for a pair, and those by the recipe of the paper if they apply."""
    models, task = bundle_root() / "models", TASKS[task_of(*modalities) or ""]
    by_paper = (
        {} if "infrared" in modalities else {"recipe of the paper, network of Fig. 2": [models / "model_paper.pt"]}
    )
    return {**by_paper, "weights of the task": [models / task.weights]}


def main() -> None:
    """Fuse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("harvard", "roadscene", "peers", "run", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--medical", action="append", help="NAME=FILE,FILE,... of weights, any number")
    parser.add_argument("--infrared", action="append", help="the same for infrared and visible light")
    parser.add_argument("--ablation", action="append", help="LOSS=FILE,FILE,... of weights: makes Table 3")
    parser.add_argument("--curves", action="append", help="TITLE=LOG,LOG,... of a recipe's seeds: draws their losses")
    arguments = parser.parse_args()
    (arguments.out / "data").mkdir(parents=True, exist_ok=True)
    tables: dict[str, dict[str, Row]] = {}
    chosen = {}
    for split in splits(arguments.harvard, arguments.roadscene):
        given = arguments.infrared if split.modalities[1] == "infrared" else arguments.medical
        chosen[split.title] = {**of_the_package(split.modalities), **recipes_of(given or [])}
        rows = rows_of(split, chosen[split.title], arguments.peers, arguments.run)
        ours = [name for name in rows if name.startswith("S3IMFusion")]
        order = [*ours, *sorted((name for name in rows if name not in ours), key=lambda m: mean_rank(m, rows))]
        tables[f"Table {split.number}: {split.title}"] = {name: rows[name] for name in order}
        if arguments.ablation and split.modalities[1] != "infrared":
            losses = recipes_of(arguments.ablation)
            chosen[f"ablation, {split.title}"] = losses
            tables[f"Table 3: ablation, {split.title}"] = ablation_rows(split, losses, arguments.run)
    if arguments.curves:
        (arguments.out / "gallery").mkdir(exist_ok=True)
        logs = recipes_of(arguments.curves)
        panels = {title: {f"seed {seed}": log for seed, log in enumerate(files)} for title, files in logs.items()}
        draw_curves(panels, arguments.out / "gallery" / "paper_tables.png")
    write_tables(dict(sorted(tables.items())), chosen, arguments.out)


def write_tables(
    tables: Mapping[str, Mapping[str, Row]], recipes: Mapping[str, Mapping[str, Sequence[Path]]], out: Path
) -> None:
    """Write the three files."""
    lines = [
        "# The tables of the paper",
        "",
        "By `python studies/paper_tables.py`: validation splits, fused pictures rounded to 8 bits, every method",
        "measured by the same code; the best value of each of the eight metrics is bold, rank 1 the best. The trivial",
        "methods Average and Max stand among the others: they win the metrics that reward copies and means.",
        "",
        "| pairs | weights | file | SHA256 |",
        "|---|---|---|---|",
    ]
    for pairs, group in recipes.items():
        for recipe, files in group.items():
            lines += [
                f"| {pairs} | {recipe} | {file.parent.name}/{file.name} | `{sha256_of(file)[:16]}` |" for file in files
            ]
    if (out / "gallery" / "paper_tables.png").is_file():
        lines += ["", "![Training loss by epoch of the recipe of the paper](gallery/paper_tables.png)"]
    text, stream = [], io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["table", "method", "metric", "mean", "standard deviation over seeds"])
    for title, rows in tables.items():
        is_ablation = title.startswith("Table 3")
        lines += markdown(title, rows, has_ranks=not is_ablation)
        text += latex(title, rows)
        for method, row in rows.items():
            told = {name: (None if np.isnan(mean) else mean, spread) for name, (mean, spread) in row.items()}
            writer.writerows([title, method, name, *values] for name, values in told.items())
    write_text("\n".join([*lines, ""]), out / "paper_tables.md")
    write_text("\n".join(text), out / "data" / "paper_tables.tex")
    write_text(stream.getvalue(), out / "data" / "paper_tables.csv")


if __name__ == "__main__":
    main()
