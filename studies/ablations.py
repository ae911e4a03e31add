"""Ablations: the paper's recipe with one thing changed at a time, each run by config, seed and hashes.

Command:  python studies/ablations.py --dataset_dir DATA --run runs/ablations --out studies
Duration: with the default 12 epochs about 4 minutes a run on one CPU core, 14 runs; --epochs 100 --patch_size 256 is
          the full recipe (on a GPU: --device cuda:0). Finished runs are skipped, so the command can be repeated.
Result:   DATA's validation pairs by task: studies/ablations.md and studies/data/ablations.json; what is in
          ablations.md from the heading "Reading" on is kept. In the folder of each run: weights.pt and result.json.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_s3im.bundle_config import bundle_root
from monai_s3im.evaluation import PAPER_METRICS, guard_values
from monai_s3im.evaluation.evaluate import read_luma
from monai_s3im.formats.writing import sha256_of, write_json, write_text
from monai_s3im.metrics import fusion_metrics
from monai_s3im.networks import S3IMFusion
from monai_s3im.pairs.layouts import dataset_pairs
from monai_s3im.pairs.lists import Pair
from monai_s3im.workflows import Training

REFERENCE = "L_total"
_BRANCHES = ("salient", "fine", "coarse")


class NoSalience(nn.Module):
    """Instead of the salient branch: zeros.

    Args:
        channels: of the branch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Zeros for the features and the saliency map, (B, channels, H, W) each."""
        empty = features.new_zeros(len(features), self.channels, *features.shape[-2:])
        return empty, empty


class NoDetail(NoSalience):
    """Instead of the two detail branches: zeros."""

    def forward(self, features: Tensor) -> Tensor:
        """Zeros, (B, 2 channels, H, W)."""
        return torch.cat(super().forward(features), dim=1)


class NoCorrelation(nn.Module):
    """Instead of the global-correlation module: adds nothing."""

    def relate(self, branches: Tensor) -> Tensor:
        """A zero for each channel."""
        return branches.new_zeros(*branches.shape[:2], 1, 1)

    def spread(self, context: Tensor, branches: Tensor) -> Tensor:
        """Zeros of the branches' size."""
        return context.expand(-1, -1, *branches.shape[-2:])


class AblatedS3IMFusion(S3IMFusion):
    """The network without one part; a missing branch also has no weight in the fusion.

    Args:
        without: ``"salient"``, ``"detail"`` or ``"transformer"``.

    Raises:
        ValueError: if there is no such part.
    """

    def __init__(self, without: str) -> None:
        super().__init__()
        channels = self.fusion.logits.shape[1]
        if without == "transformer":
            self.correlation = NoCorrelation()
            return
        if without == "salient":
            self.salient, gone = NoSalience(channels), ["salient"]
        elif without == "detail":
            self.detail, gone = NoDetail(channels), ["fine", "coarse"]
        else:
            raise ValueError(f"no part {without!r}: leave out salient, detail or transformer")
        with torch.no_grad():
            self.fusion.logits[[_BRANCHES.index(name) for name in gone]] = -torch.inf


def _loss(name: str = "S3IMFusionLoss", **arguments: Any) -> dict[str, Any]:
    return {"loss": {"_target_": f"monai_s3im.losses.{name}", **arguments}}


def _network(without: str) -> dict[str, Any]:
    return {"network_def": {"_target_": "ablations.AblatedS3IMFusion", "without": without}}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    REFERENCE: ("Eq. (8): 10 S3IM (M 10, k 4) + 5 texture + 1 smooth", {}),
    "L_ab": ("Eq. (9): ordinary SSIM (11 x 11, Gaussian) instead of S3IM", _loss("AblationLoss")),
    "no S3IM": ("5 texture + 1 smooth", _loss(gamma_1=0.0)),
    "no salient branch": ("the two detail branches alone", _network("salient")),
    "no detail branches": ("the salient branch alone", _network("detail")),
    "no transformer": ("branches joined as they are", _network("transformer")),
    "M = 1": ("one draw instead of 10", _loss(draws=1)),
    "M = 30": ("30 draws", _loss(draws=30)),
    "k = 2": ("windows of 2 x 2 instead of 4 x 4", _loss(kernel_size=2)),
    "k = 8": ("windows of 8 x 8", _loss(kernel_size=8)),
}
"""Name -> description, and overrides of the ids of configs/train.json."""


def train_one(variant: str, seed: int, settings: Mapping[str, Any], folder: Path) -> S3IMFusion:
    """Train by configs/train.json with the overrides of a variant; the network after the last epoch."""
    overrides = {"seed": seed, "output_dir": str(folder), **settings}
    overrides["train#validation_interval"] = settings["epochs"] + 1  # no validation
    workflow = Training(logging_file=False, **overrides, **VARIANTS[variant][1])
    workflow.initialize()
    workflow.run()
    network: S3IMFusion = workflow.parser.get_parsed_content("network")
    workflow.finalize()
    return network.cpu().eval()


def validation_sources(pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """Modality of the second source -> pairs, (B, 2, H, W) on the 0..255 scale; the pictures of one size."""
    return {
        str(modality): torch.stack(
            [torch.cat([read_luma(p.image_a), read_luma(p.image_b)]) for p in pairs if p.modality_b == modality]
        )
        for modality in sorted({str(pair.modality_b) for pair in pairs})
    }


def measured(network: S3IMFusion, sources: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """Means of metrics and guards by task, of fused images rounded to 8 bits."""
    found = {}
    for modality, batch in sources.items():
        with torch.no_grad():
            fused = torch.cat([network(pair[None].float() / 255) for pair in batch]).clamp(0, 1)
        rounded = (fused * 255).round().double()
        values = {**fusion_metrics(rounded, batch, data_range=255.0), **guard_values(rounded, batch, modality)}
        found[modality] = {name: float(column.nanmean()) for name, column in values.items()}
    return found


def data_sha256(pairs: Sequence[Pair]) -> str:
    """One hash of all images, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update((sha256_of(pair.image_a) + sha256_of(pair.image_b)).encode())
    return digest.hexdigest()


def folder_of(root: Path, variant: str, seed: int) -> Path:
    """The folder of a run."""
    return root / f"{variant.replace(' ', '_')}-{seed}"


def run_all(
    runs: Sequence[tuple[str, int]], settings: Mapping[str, Any], root: Path, datalist: str | None
) -> list[dict[str, Any]]:
    """Results of all runs; those in their folders with the same settings are reused."""
    folder = Path(settings["dataset_dir"])
    sources = validation_sources(dataset_pairs(folder, "validation", datalist))
    training = dataset_pairs(folder, "training", datalist)
    hashes = {
        "training data SHA256": data_sha256(training),
        "config SHA256": sha256_of(bundle_root() / "configs" / "train.json"),
    }
    shown = {name: value for name, value in settings.items() if name not in {"dataset_dir", "datalist", "device"}}
    results = []
    for variant, seed in runs:
        described = {"variant": variant, "seed": seed, "overrides": {**shown, **VARIANTS[variant][1]}, **hashes}
        place = folder_of(root, variant, seed)
        file = place / "result.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if any(found.get(name) != value for name, value in described.items()):
            network = train_one(variant, seed, settings, place)
            torch.save(network.state_dict(), place / "weights.pt")
            found = {
                **described,
                "training pairs": len(training),
                "steps": settings["epochs"] * -(-len(training) // settings["batch_size"]),
                "parameters": sum(weight.numel() for weight in network.parameters()),
                "weights SHA256": sha256_of(place / "weights.pt"),
                "validation": measured(network, sources),
            }
            write_json(found, file)
        results.append(found)
        print(f"{variant}, seed {seed}: done", flush=True)
    return results


def is_inverted(result: Mapping[str, Any]) -> bool:
    """Whether training ended with a negative image: what the sources add correlates negatively on every task."""
    return all(values["SCD"] < 0 for values in result["validation"].values())


def table(results: Sequence[Mapping[str, Any]], modality: str) -> list[str]:
    """A row for each run: its difference from the mean of L_total, bold if more than twice L_total's spread."""
    first = results[0]["validation"][modality]
    names = [*PAPER_METRICS, *[name for name in first if name in {"bone", "uptake"}]]
    sound = [r["validation"][modality] for r in results if r["variant"] == REFERENCE and not is_inverted(r)]
    reference = {name: np.array([values[name] for values in sound]) for name in names}
    lines = [f"| run | seed | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for result in results:
        values, cells = result["validation"][modality], []
        for name in names:
            difference = values[name] - reference[name].mean()
            has_spread = len(sound) > 1 and result["variant"] != REFERENCE
            mark = "**" if has_spread and abs(difference) > 2 * reference[name].std(ddof=1) else ""
            reported = "" if result["variant"] == REFERENCE else f" ({mark}{difference:+.3f}{mark})"
            cells.append(f"{values[name]:.3f}{reported}")
        inverted = ", inverted" if is_inverted(result) else ""
        lines.append(f"| {result['variant']}{inverted} | {result['seed']} | {' | '.join(cells)} |")
    return lines


def page(results: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> str:
    """The generated part of studies/ablations.md."""
    first = results[0]
    settings = ", ".join(f"{name} {value}" for name, value in first["overrides"].items())
    how = (
        "The paper's recipe (`bundle/configs/train.json`) with one thing changed at a time, by "
        f"`python studies/ablations.py`. Each run: {settings}; {first['steps']} steps on {first['training pairs']} "
        "pairs, the weights after the last step, no choice among epochs."
    )
    values = (
        "Values are means over the validation pairs, fused images rounded to 8 bits; in brackets the difference from "
        "the mean of L_total over its seeds, bold where it is more than twice their standard deviation. A run is "
        "called inverted where the network learned a negative image (SCD below 0 on both); it is left out of that mean."
    )
    lines = ["# Ablations", "", how, "", values, "", "| run | what is changed | parameters |", "|---|---|---|"]
    parameters = {result["variant"]: result["parameters"] for result in results}
    lines += [f"| {name} | {VARIANTS[name][0]} | {count:,} |" for name, count in parameters.items()]
    for modality, count in counts.items():
        lines += ["", f"## MR and {modality.upper()}, {count} pairs", "", *table(results, modality)]
    return "\n".join([*lines, ""])


def main() -> None:
    """Train the missing runs, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dataset_dir", "run", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--datalist", help="name of the datalist in DATA; found by the folder's layout if not given")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--patch_size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--finished", action="store_true", help="train nothing, write what is done")
    parser.add_argument("--seeds", type=int, default=3, help=f"of {REFERENCE} and L_ab; the others have one")
    arguments = parser.parse_args()

    settings = {name: getattr(arguments, name) for name in ("epochs", "patch_size", "batch_size", "device")}
    settings |= {"dataset_dir": str(arguments.dataset_dir), "datalist": arguments.datalist}
    runs = [(variant, 0) for variant in arguments.variants]
    several = [variant for variant in (REFERENCE, "L_ab") if variant in arguments.variants]
    runs += [(variant, seed) for seed in range(1, arguments.seeds) for variant in several]
    if arguments.finished:
        runs = [run for run in runs if (folder_of(arguments.run, *run) / "result.json").is_file()]
    results = run_all(runs, settings, arguments.run, arguments.datalist)
    results.sort(key=lambda result: list(VARIANTS).index(result["variant"]))
    pairs = dataset_pairs(arguments.dataset_dir, "validation", arguments.datalist)
    counts = {m: sum(pair.modality_b == m for pair in pairs) for m in results[0]["validation"]}
    write_json({"runs": results}, arguments.out / "data" / "ablations.json")
    document = arguments.out / "ablations.md"
    before = document.read_text(encoding="utf-8") if document.is_file() else ""
    reading = before[before.index("\n## Reading") :] if "\n## Reading" in before else ""
    write_text(page(results, counts) + reading, document)


if __name__ == "__main__":
    main()
