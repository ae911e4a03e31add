"""Draw what a reader sees against what the metrics say, of the candidates in studies/experiments.md.

Command:  python studies/findings_front.py
Duration: 2 s
Result:   studies/gallery/findings.png, from studies/data/findings.json
"""

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

STUDIES = Path(__file__).resolve().parent
PANELS = (
    ("CT Qabf", "CT uneven bone", 14.0, "Qabf, CT-MRI", "deviation within bone, of 255 (14 at most)"),
    ("SPECT Qabf", "SPECT shown", 0.75, "Qabf, SPECT-MRI", "correlation with SPECT uptake (0.75 or more)"),
    ("CT Qabf", "T1 + CT haemorrhage", 0.6, "Qabf, CT-MRI", "haemorrhage of T1 + CT kept (0.6 or more)"),
)
COLORS = {"general": "#d1495b", "findings": "#00798c"}


def main() -> None:
    """Draw."""
    runs = json.loads((STUDIES / "data" / "findings.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(1, len(PANELS), figsize=(12, 3.8), layout="constrained")
    for panel, (x, y, bound, x_title, y_title) in zip(axes, PANELS, strict=True):
        for name, values in runs.items():
            if values.get(x) is None or values.get(y) is None:
                continue
            panel.plot(values[x], values[y], "o", color=COLORS.get(name, "#8d99ae"))
            panel.annotate(name, (values[x], values[y]), xytext=(5, 4), textcoords="offset points", fontsize=8)
        panel.axhline(bound, color="#555", linewidth=0.8, linestyle="--")
        panel.margins(x=0.25, y=0.15)
        panel.set_xlabel(x_title)
        panel.set_ylabel(y_title, fontsize=8)
    figure.savefig(STUDIES / "gallery" / "findings.png", dpi=110)


if __name__ == "__main__":
    main()
