"""How well the fusion of 8-bit slices carries over to volumes: other units, curves, noise, bias and interpolation.

Command:  python studies/intensity_shift.py --harvard DIR --out studies/data/volumes_shift.json [--slices 6]
Duration: about a minute on one CPU core.
Result:   a table on the standard output, and the values as JSON.

Slices of the validation pairs are stacked to volumes: CT in HU (air -1000, the brain window of 0 to 80 on what is not
black), MR and SPECT in units of their own. One thing is changed at a time, and the pair goes through the whole
pipeline, which scales each volume by its modality again. Metrics and guards are of the fused slices and the sources as
the pipeline scaled them; "change" is the mean absolute difference from the fused slices of the unchanged volumes, on
the 0..255 scale.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import Tensor

from monai_s3im.evaluation import PAPER_METRICS, guard_values
from monai_s3im.evaluation.comparison import pictures_of
from monai_s3im.evaluation.evaluate import read_luma
from monai_s3im.formats.writing import write_json
from monai_s3im.metrics import fusion_metrics
from monai_s3im.pipeline import Fuser
from monai_s3im.transforms import NormalizeModality

AFFINE = torch.tensor([[0.0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]], dtype=torch.float64)  # axes P, L, S


def rician(volume: Tensor) -> Tensor:
    """Rician noise, as in a magnitude image, 3 % of the largest value."""
    random = torch.Generator().manual_seed(0)
    sigma = 0.03 * volume.max()
    real, imaginary = (sigma * torch.randn(volume.shape, generator=random) for _ in range(2))
    return torch.hypot(volume + real, imaginary)


def gaussian(volume: Tensor) -> Tensor:
    """Noise of 3 % of the range."""
    random = torch.Generator().manual_seed(1)
    return volume + 0.03 * 80 * torch.randn(volume.shape, generator=random)


def biased(volume: Tensor) -> Tensor:
    """A smooth field of 0.7 to 1.3 from one side to the other."""
    return volume * torch.linspace(0.7, 1.3, volume.shape[1])[:, None]


def interpolated(volume: Tensor) -> Tensor:
    """Resampled to 0.6 of the pixels and back, like a volume on another grid."""
    small = F.interpolate(volume.movedim(-1, 1), scale_factor=0.6, mode="bilinear", align_corners=False)
    back = F.interpolate(small, size=volume.shape[1:3], mode="bilinear", align_corners=False)
    return back.movedim(1, -1)


def same(volume: Tensor) -> Tensor:
    """Unchanged."""
    return volume


Change = Callable[[Tensor], Tensor]
CHANGES: dict[str, tuple[Change, Change]] = {
    "as it is": (same, same),
    "MR in other units, 7.3 x + 120": (lambda mr: 7.3 * mr + 120, same),
    "MR darker, x^1.4": (lambda mr: 255 * (mr / 255) ** 1.4, same),
    "MR brighter, x^0.7": (lambda mr: 255 * (mr / 255) ** 0.7, same),
    "a few MR voxels 3 times as bright": (lambda mr: torch.where(mr >= mr.max() - 1, 3 * mr, mr), same),
    "MR with Rician noise, 3 %": (rician, same),
    "both noisy, 3 %": (rician, gaussian),
    "MR with a bias field, 0.7 to 1.3": (biased, same),
    "both interpolated": (interpolated, interpolated),
}


def volumes_of(folder: Path, second: str, count: int) -> tuple[Tensor, Tensor]:
    """MR, 0..255, and CT in HU or the luma of SPECT, 0..255; (1, H, W, D) each, slices spread over one patient."""
    first, other = pictures_of(folder / "MRI"), pictures_of(folder / second)
    cases = sorted(first.keys() & other.keys())
    patient = [case for case in cases if case[:-3] == cases[-1][:-3]]
    chosen = [patient[round(i)] for i in torch.linspace(0, len(patient) - 1, min(count, len(patient))).tolist()]
    mr, b = (torch.stack([read_luma(files[case]).float() for case in chosen], dim=-1) for files in (first, other))
    return mr, torch.where(b > 0, b / 255 * 80, -1000.0) if second == "CT" else b


def measure(fuser: Fuser, mr: Tensor, b: Tensor, modality: str) -> tuple[Tensor, dict[str, float]]:
    """The fused slices (D, 1, H, W), 0..255, and their values."""
    pair = [MetaTensor(volume, affine=AFFINE) for volume in (mr, b)]
    fused = fuser(*pair, None, "mr", modality).as_tensor().movedim(-1, 0)
    scaled = [NormalizeModality(name)(image).as_tensor() for name, image in zip(("mr", modality), pair, strict=True)]
    sources = torch.cat(scaled).clamp(0, 1).movedim(-1, 0)
    images, pairs = (255 * fused).round().double(), (255 * sources).round().double()
    values = {**fusion_metrics(images, pairs, data_range=255.0), **guard_values(images, pairs, modality)}
    return images, {name: float(column.nanmean()) for name, column in values.items()}


def main() -> None:
    """Measure every change, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harvard", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    fuser = Fuser(device=arguments.device, color_map="gray", gray=True)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for modality in ("ct", "spect"):
        name = modality.upper()
        mr, b = volumes_of(arguments.harvard / f"{name}-MRI" / "val", name, arguments.slices)
        reference, rows = None, {}
        for title, (of_mr, of_b) in CHANGES.items():
            # keep air in a CT
            changed = torch.where(b > -500, of_b(b.clamp(min=0)), b) if modality == "ct" else of_b(b)
            images, values = measure(fuser, of_mr(mr), changed, modality)
            reference = images if reference is None else reference
            rows[title] = {**values, "change": float((images - reference).abs().mean())}
        found[modality] = rows
        columns = [*PAPER_METRICS, *[n for n in rows["as it is"] if n not in {*PAPER_METRICS, "SD", "VIF"}]]
        print(f"\n| MR and {name} | {' | '.join(columns)} |\n{'|---' * (len(columns) + 1)}|")
        for title, values in rows.items():
            print(f"| {title} | {' | '.join(f'{values[column]:.3f}' for column in columns)} |")
    write_json(found, arguments.out)


if __name__ == "__main__":
    main()
