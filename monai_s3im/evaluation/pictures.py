"""Draw a comparison: radar, box plots, and a montage with the region of most detail enlarged."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from monai_s3im.formats.writing import write_bytes
from monai_s3im.functional import sobel_magnitude
from monai_s3im.record import ColorBar

from .comparison import PAPER_METRICS, Comparison

_OWN_COLOR = "#c1121f"
_ZOOM = 0.22


def draw_radar(comparison: Comparison, path: str | Path) -> None:
    """Draw the means of the paper's metrics as a radar, each axis from the worst (centre) to the best (rim) method.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(PAPER_METRICS), endpoint=False)
    table = np.array([[comparison.mean(method, name) for name in PAPER_METRICS] for method in comparison.values])
    lowest, highest = np.nanmin(table, 0), np.nanmax(table, 0)
    scaled = (table - lowest) / np.where(highest > lowest, highest - lowest, 1.0)
    for index, (method, row) in enumerate(zip(comparison.values, scaled, strict=True)):
        axes.plot(np.append(angles, angles[0]), np.append(row, row[0]), label=method, **_style(index))
    axes.set_xticks(angles, PAPER_METRICS)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], [])
    axes.set_ylim(0, 1.05)
    figure.legend(loc="outside right upper", frameon=False)
    _save(figure, path)


def draw_boxes(comparison: Comparison, path: str | Path) -> None:
    """Draw a box plot over the cases for each of the paper's metrics, with the methods by mean rank.

    Raises:
        OutputError: the file cannot be written.
    """
    methods = sorted(comparison.values, key=comparison.mean_rank)
    own = next(iter(comparison.values))
    figure = Figure(figsize=(14, 3.1 * 2 + 1.2), layout="constrained")
    for axes, name in zip(figure.subplots(2, 4).flat, PAPER_METRICS, strict=True):
        columns = [comparison.of(method, name) for method in methods]
        drawn = axes.boxplot([column[np.isfinite(column)] for column in columns], patch_artist=True, widths=0.7)
        for method, box in zip(methods, drawn["boxes"], strict=True):
            box.set(facecolor=_OWN_COLOR if method == own else "#dfe3e8", edgecolor="#33373d", linewidth=0.7)
        for line in drawn["medians"]:
            line.set(color="#111111")
        axes.set_title(name)
        axes.set_xticks(range(1, len(methods) + 1), methods, rotation=90, fontsize=8)
    _save(figure, path)


def draw_montage(
    pictures: Mapping[str, Mapping[str, Tensor]], path: str | Path, color_bar: ColorBar | None = None
) -> None:
    """Draw a row for each case, with a column for each source and method, and the region of most detail enlarged below.

    Args:
        pictures: case -> column's title -> (1 or 3, H, W) on the 0..255 scale; the first two columns are the sources.
        path: the PNG to write.
        color_bar: the colour scale, drawn below.

    Raises:
        OutputError: the file cannot be written.
    """
    titles = list(next(iter(pictures.values())))
    figure = Figure(figsize=(1.45 * len(titles), 2.9 * len(pictures) + 0.3), layout="constrained")
    grid = figure.subplots(2 * len(pictures), len(titles), squeeze=False)
    for row, (case, columns) in enumerate(pictures.items()):
        images = list(columns.values())
        top, left, height, width = region_of_most_detail(images[0], images[1])
        for column, (title, image) in enumerate(columns.items()):
            shown = image.clamp(0, 255).byte().movedim(0, -1).squeeze(-1).numpy()
            whole, zoomed = grid[2 * row, column], grid[2 * row + 1, column]
            style: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255}
            whole.imshow(shown, interpolation="antialiased", **style)
            frame: dict[str, Any] = {"fill": False, "edgecolor": "#ffb703", "linewidth": 1.2}
            whole.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, **frame))
            zoomed.imshow(shown[top : top + height, left : left + width], interpolation="nearest", **style)
            for axes in (whole, zoomed):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(axes is zoomed)
                axes.spines[:].set_color("#ffb703")
            if row == 0:
                whole.set_title(title, fontsize=8)
            if column == 0:
                whole.set_ylabel(case, fontsize=8)
    if color_bar is not None:
        lower, upper = color_bar.range
        colors = ScalarMappable(Normalize(lower, upper), ListedColormap(np.array(color_bar.colors) / 255))
        bar = figure.colorbar(colors, ax=grid, location="bottom", aspect=50, shrink=0.6, pad=0.01)
        bar.ax.tick_params(labelsize=7)
        bar.set_label(color_bar.unit or "uptake", fontsize=8)
    _save(figure, path)


def region_of_most_detail(first: Tensor, second: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window in which both sources (C, H, W) have the strongest edges together."""
    edges = [sobel_magnitude(image.double().mean(0, keepdim=True)[None]) for image in (first, second)]
    height, width = (max(8, round(_ZOOM * side)) for side in first.shape[-2:])
    means = [F.avg_pool2d(edge, (height, width), stride=1)[0, 0] for edge in edges]
    best = int(torch.minimum(*[mean / mean.max().clamp(min=1e-12) for mean in means]).argmax())
    top, left = divmod(best, means[0].shape[1])
    return top, left, height, width


def _style(index: int) -> dict[str, Any]:
    if index == 0:
        return {"color": _OWN_COLOR, "linewidth": 2.6, "zorder": 10}
    return {"color": f"C{index}", "linewidth": 0.9, "alpha": 0.75, "linestyle": "-" if index <= 10 else "--"}


def _save(figure: Figure, path: str | Path) -> None:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, bbox_inches="tight")
    write_bytes(stream.getvalue(), path)
