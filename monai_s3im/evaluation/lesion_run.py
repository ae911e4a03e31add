"""Fuse volumes with lesions by the network and the baselines, and report how well each keeps them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_s3im.bundle_config import bundle_parser
from monai_s3im.errors import OutputError, own_errors
from monai_s3im.formats.writing import write_json, write_text
from monai_s3im.pipeline import choose_device
from monai_s3im.settings import DEFAULTS
from monai_s3im.transforms import RestoreGridd, SplitChrominanced, in_color

from .baselines import BASELINES
from .lesion_cases import LesionCase
from .lesion_pictures import LesionView, draw_lesions, view_of
from .lesions import LEAST_CONTRAST, LEAST_KEPT, LEAST_KEPT_OF_A_KIND, LesionValue, lesion_contrast, summarize
from .run import OWN


def run_lesions(
    cases: Iterable[LesionCase],
    output_dir: Path,
    *,
    weights: Path | None = None,
    task: str = DEFAULTS.task,
    color: str = DEFAULTS.color,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Fuse volumes with lesions, measure each lesion, and write the results.

    Args:
        cases: the volumes, see :mod:`monai_s3im.evaluation.lesion_cases`.
        output_dir: gets ``lesions.md``, ``lesions.json`` with every lesion, and ``lesions.png`` with the worst-kept
            lesion of each pair.
        weights: weights of the network; None: those of the task.
        task: which weights to use, as :class:`monai_s3im.FusionSettings` has it.
        color: what colour shows, as there.
        device: to fuse on.
        progress: called with the name of the current step.

    Returns:
        The Markdown file.

    Raises:
        InputError: an input cannot be read.
        OutputError: an output cannot be written.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output_dir} cannot be created ({error.strerror}): choose another folder") from error
    fuse = Methods(weights, task, color, choose_device(device))
    values: list[LesionValue] = []
    views: dict[str, tuple[float, LesionView]] = {}
    for case in cases:
        if progress is not None:
            progress(f"{case.pair}, {case.name}")
        shown = fuse(case)
        for kind, masks in case.lesions.items():
            for mask in masks:
                value = measured(case, kind, mask, shown)
                if value is None:
                    continue
                values.append(value)
                kept = value.kept(OWN)
                if value.is_seen and kept < views.get(case.pair, (math.inf,))[0]:
                    views[case.pair] = kept, view_of(shown, mask, case.images[0].affine, value)
    draw_lesions([view for _, view in views.values()], output_dir / "lesions.png")
    write_json(
        {"summary": _summaries(values), "lesions": [_row(value) for value in values]}, output_dir / "lesions.json"
    )
    write_text(markdown(values), output_dir / "lesions.md")
    return output_dir / "lesions.md"


class Methods:
    """The pipeline of the bundle's inference config, with the network and with each baseline instead of it."""

    def __init__(self, weights: Path | None, task: str, color: str, device: str) -> None:
        own = str(weights) if weights is not None else None
        parser = bundle_parser("inference", ckpt_path=own, task=task, color=color, device=device, output_dir=".")
        with own_errors():
            steps = parser.get_parsed_content("preprocessing").transforms
            at = next(index for index, step in enumerate(steps) if isinstance(step, SplitChrominanced))
            self._before, self._after = steps[:at], steps[at:]
            self._inferer = parser.get_parsed_content("inferer")
            self._restoring = parser.get_parsed_content("restoring")
            self._networks: dict[str, Callable[..., torch.Tensor]] = {OWN: parser.get_parsed_content("task_networks")}
        for name, rule in BASELINES.items():
            self._networks[name] = partial(_by_rule, rule)

    @torch.no_grad()
    def __call__(self, case: LesionCase) -> dict[str, torch.Tensor]:
        """``A``, ``B`` and each method -> what is shown, on A's grid: (1, X, Y, Z), or all of them (3, X, Y, Z)."""
        item: dict[Any, Any] = dict(zip(("image_a", "image_b"), case.images, strict=True))
        item |= dict(zip(("modality_a", "modality_b"), case.modalities, strict=True))
        with own_errors():
            for step in self._before:
                item = step(item)
            keys = ("image_a", "image_b")
            colored = RestoreGridd(keys)({**item, **{key: in_color(item[key]) for key in keys}})
            found: dict[str, MetaTensor] = {"A": colored["image_a"], "B": colored["image_b"]}
            for step in self._after:
                item = step(item)
            batch = item["image"].as_tensor()[None]
            for name, network in self._networks.items():
                pred = self._inferer(batch, network, task=item["task"])[0]
                found[name] = self._restoring({**item, "pred": pred, "fused_by": item["task"]})["pred"]
        channels = max(len(image) for image in found.values())
        return {name: image.as_tensor().expand(channels, -1, -1, -1) for name, image in found.items()}


def _by_rule(rule: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, **_: object) -> torch.Tensor:
    return rule(image)


def measured(case: LesionCase, kind: str, mask: torch.Tensor, shown: Mapping[str, torch.Tensor]) -> LesionValue | None:
    """Measure a lesion in all images; None if there is too little tissue around it."""
    found = {name: lesion_contrast(image, mask, case.tissue) for name, image in shown.items()}
    if not all(math.isfinite(contrast) for contrast in found.values()):
        return None
    contrasts = (found.pop("A"), found.pop("B"))
    return LesionValue(case.pair, kind, case.name, contrasts, found)


def markdown(values: Sequence[LesionValue]) -> str:
    """How well each method keeps lesions, by pair and kind, as Markdown."""
    seen = [value for value in values if value.is_seen]
    note = (
        f"{len(seen)} of {len(values)} lesions have a contrast of {LEAST_CONTRAST:g} or more in a source. Kept: the "
        "contrast in the fused volume divided by the larger one in the sources, at most 1; means."
    )
    lines = ["# Lesions", "", note, ""]
    if not seen:
        return "\n".join([*lines, "There is nothing to measure.", ""])
    methods = list(seen[0].fused)
    summaries = {method: summarize(values, method) for method in methods}
    lines += [
        f"| pair | lesion | number | contrast in the better source | {' | '.join(methods)} |",
        "|---" * (4 + len(methods)) + "|",
    ]
    for pair, kind in summaries[methods[0]].of_kinds:
        group = [value for value in seen if (value.pair, value.kind) == (pair, kind)]
        best = sum(max(value.contrasts) for value in group) / len(group)
        cells = [_cell(summaries[method].of_kinds[pair, kind], LEAST_KEPT_OF_A_KIND) for method in methods]
        lines.append(f"| {pair} | {kind} | {len(group)} | {best:.1f} | {' | '.join(cells)} |")
    means = [_cell(summaries[method].mean, LEAST_KEPT) for method in methods]
    lines += [f"| **all** | | {len(seen)} | | {' | '.join(means)} |", ""]
    lines.append(
        f"Guard *lesion kept*: {LEAST_KEPT:g} or more of all, {LEAST_KEPT_OF_A_KIND:g} or more of each kind in a pair. "
        f"It holds for: {', '.join(name for name in methods if summaries[name].holds) or 'none'}."
    )
    return "\n".join([*lines, ""])


def _cell(value: float, bound: float) -> str:
    return f"{value:.2f}" if value >= bound else f"{value:.2f} (broken)"


def _summaries(values: Sequence[LesionValue]) -> dict[str, Any]:
    found = {}
    for method in values[0].fused if values else ():
        summary = summarize(values, method)
        kinds = [{"pair": pair, "kind": kind, "kept": kept} for (pair, kind), kept in summary.of_kinds.items()]
        mean = summary.mean if math.isfinite(summary.mean) else None
        found[method] = {"kept": mean, "holds": summary.holds, "kinds": kinds}
    return found


def _row(value: LesionValue) -> dict[str, Any]:
    return {
        "pair": value.pair,
        "kind": value.kind,
        "case": value.case,
        "contrast_a": value.contrasts[0],
        "contrast_b": value.contrasts[1],
        **{f"contrast in {name}": contrast for name, contrast in value.fused.items()},
    }
