"""Pictures of lesions: the slice through each, in the sources and in every method's result."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from monai.data import MetaTensor
from torch import Tensor

from monai_s3im.formats.writing import write_bytes
from monai_s3im.transforms.slices import ToSlices

from .lesions import LesionValue

_MARGIN = 24  # pixels around a lesion


@dataclass(frozen=True)
class LesionView:
    """The axial slice with the largest part of a lesion.

    Attributes:
        value: what was measured.
        images: ``A``, ``B`` and methods -> (1 or 3, rows, columns) in [0, 1].
        outline: bool (rows, columns).
    """

    value: LesionValue
    images: dict[str, Tensor]
    outline: Tensor


def view_of(shown: Mapping[str, Tensor], lesion: Tensor, affine: Tensor, value: LesionValue) -> LesionView:
    """Cut the view of a lesion out of volumes (1 or 3, X, Y, Z) on one grid."""
    to_slices = ToSlices("axial")
    mask = to_slices(MetaTensor(lesion[None].float(), affine=affine)).as_tensor()[0] > 0
    at = int(mask.sum((0, 1)).argmax())
    where = mask[..., at].nonzero()
    low, high = (where.amin(0) - _MARGIN).clamp(min=0).tolist(), (where.amax(0) + _MARGIN + 1).tolist()
    part = (slice(low[0], high[0]), slice(low[1], high[1]))
    images = {
        name: to_slices(MetaTensor(image, affine=affine)).as_tensor()[(slice(None), *part, at)].clamp(0, 1).clone()
        for name, image in shown.items()
    }
    return LesionView(value, images, mask[(*part, at)].clone())


def draw_lesions(views: Sequence[LesionView], path: str | Path) -> None:
    """Draw a row for each lesion: the sources, the first with the outline, and each method with its kept contrast.

    Raises:
        OutputError: the file cannot be written.
    """
    if not views:
        return
    titles = list(views[0].images)
    figure = Figure(figsize=(2.1 * len(titles), 2.35 * len(views) + 0.2), layout="constrained")
    grid = figure.subplots(len(views), len(titles), squeeze=False)
    for row, view in zip(grid, views, strict=True):
        contrasts = {"A": view.value.contrasts[0], "B": view.value.contrasts[1], **view.value.fused}
        for axes, title in zip(row, titles, strict=True):
            image = view.images[title].movedim(0, -1).squeeze(-1).numpy()
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if title == "A":
                axes.contour(view.outline.numpy(), levels=[0.5], colors="#ffb703", linewidths=0.8)
                axes.set_ylabel(f"{view.value.pair}\n{view.value.kind}", fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
            kept = "" if title in ("A", "B") else f", kept {view.value.kept(title):.2f}"
            axes.set_title(f"{title}\ncontrast {contrasts[title]:.1f}{kept}", fontsize=6.5)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    write_bytes(stream.getvalue(), path)
