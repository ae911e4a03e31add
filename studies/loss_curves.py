"""Draw the training loss by epoch from the logs of `s3im train`.

    python studies/loss_curves.py "CT-MRI" "first run=runs/a.log,second run=runs/b.log" -o curves.png

A title and its lines (LABEL=LOG,LABEL=LOG) for each panel, any number of both. Two seconds.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from training_record import loss_of_each_epoch

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw_curves(panels: Mapping[str, Mapping[str, Path]], path: Path) -> None:
    """Training loss by epoch, a panel for each title, a line for each log."""
    figure, axes_of = plt.subplots(
        1, len(panels), figsize=(4.5 * len(panels), 3.2), layout="constrained", squeeze=False
    )
    for axes, (title, logs) in zip(axes_of[0], panels.items(), strict=True):
        for label, log in logs.items():
            losses = loss_of_each_epoch(log)
            axes.plot(list(losses), list(losses.values()), linewidth=1, label=label)
        axes.set(title=f"{title}: training loss", xlabel="epoch")
        axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panels", nargs="+", metavar="TITLE LABEL=LOG,...")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    titles, lines = arguments.panels[::2], arguments.panels[1::2]
    draw_curves(
        {
            title: {label: Path(log) for label, _, log in (item.partition("=") for item in line.split(","))}
            for title, line in zip(titles, lines, strict=True)
        },
        arguments.output,
    )
