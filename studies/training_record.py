"""Record a training run: its curves, its metrics on the validation split, and its comparison with other methods.

Command:  python studies/training_record.py --run runs/training --log runs/training.log --dataset_dir DATA
          --weights bundle/models/model.pt --config "recipe of the paper" --peers scores_val.json --out studies
Duration: about 4 minutes on two CPU cores for 46 pairs of 256x256 and 10 checkpoints.
Result:   studies/NAME.md, studies/data/NAME.json, studies/gallery/NAME.png (NAME: training_record); and, in the
          run's folder and never to be published where the data may not be, fused validation images and a montage.

The log is what `s3im train` or `python -m monai.bundle run training` printed. The scores of other methods are a JSON
file, task -> method -> metric -> mean, with the tasks MRI_CT and MRI_SPECT.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch

from monai_s3im.evaluation.evaluate import read_luma
from monai_s3im.formats.writing import sha256_of
from monai_s3im.metrics import fusion_metrics
from monai_s3im.networks import S3IMFusion, load_weights
from monai_s3im.pairs.layouts import dataset_pairs
from monai_s3im.pairs.lists import Pair
from monai_s3im.pipeline import Fuser

mpl.use("Agg")
from matplotlib import pyplot as plt

EIGHT = ("EN", "AG", "MI", "SSIM", "PSNR", "Qabf", "SCD", "SF")
TASKS = {"ct": "MRI_CT", "spect": "MRI_SPECT"}
_LOSS = re.compile(r"Epoch: (\d+)/(\d+), Iter: \d+/(\d+) -- train_loss: ([\d.]+)")


def loss_of_each_epoch(log: Path) -> dict[int, float]:
    """Mean training loss by epoch."""
    losses: dict[int, list[float]] = {}
    for match in _LOSS.finditer(log.read_text(encoding="utf-8")):
        losses.setdefault(int(match[1]), []).append(float(match[4]))
    return {epoch: float(np.mean(values)) for epoch, values in losses.items()}


def scores(fused: torch.Tensor, sources: torch.Tensor, task: str) -> dict[str, float]:
    """Metrics and guards of images on the 0..255 scale: (B, 1, H, W) and (B, 2, H, W), source 0 the MR."""
    result = {name: float(values.mean()) for name, values in fusion_metrics(fused, sources, data_range=255.0).items()}
    result["background"] = float(fused[(sources < 5).all(1, keepdim=True)].mean())
    kept = []
    for image, source in zip(fused[:, 0], sources[:, 1], strict=True):
        bright = source > 250 if task == "MRI_CT" else source >= torch.quantile(source, 0.99)
        if bright.any():
            whole = 255.0 if task == "MRI_CT" else source[bright].mean()
            kept.append(float(image[bright].mean() / whole))
    result["salient kept"] = float(np.mean(kept))
    return result


def network_scores(weights: dict[str, torch.Tensor], sources: dict[str, torch.Tensor]) -> dict[str, dict[str, float]]:
    """Scores of a state dict by task, the fused images rounded to 8 bits."""
    network = S3IMFusion()
    network.load_state_dict(weights)
    network.eval()
    result = {}
    for task, batch in sources.items():
        with torch.no_grad():
            fused = torch.cat([network(pair[None].float() / 255) for pair in batch]).clamp(0, 1)
        result[task] = scores((fused * 255).round().double(), batch, task)
    return result


def by_task(pairs: list[Pair], modalities: list[str]) -> dict[str, list[Pair]]:
    """Validation pairs by task."""
    return {TASKS[name]: [pair for pair in pairs if pair.modality_b == name] for name in modalities}


def draw_curves(losses: dict[int, float], history: dict[int, dict[str, dict[str, float]]], path: Path) -> None:
    """Loss by epoch, and for measured checkpoints Qabf and kept salience."""
    metrics = ("Qabf", "salient kept") if history else ()
    columns = 1 + len(metrics)
    figure, axes_of = plt.subplots(1, columns, figsize=(4 * columns, 3.4), layout="constrained", squeeze=False)
    axes_of[0, 0].plot(list(losses), list(losses.values()))
    axes_of[0, 0].set(title="training loss, mean of an epoch", xlabel="epoch")
    for axes, metric in zip(axes_of[0, 1:], metrics, strict=True):
        for task in next(iter(history.values())):
            axes.plot(list(history), [values[task][metric] for values in history.values()], marker="o", label=task)
        axes.set(title=f"{metric}, validation", xlabel="epoch")
        axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_montage(cases: list[tuple[str, torch.Tensor, torch.Tensor]], path: Path) -> None:
    """Rows of source A, source B and fused luma."""
    rows = [torch.cat([*sources, fused[0]], dim=1) for _, fused, sources in cases]
    plt.imsave(path, torch.cat(rows).numpy(), cmap="gray", vmin=0, vmax=255)


def table(own: dict[str, float], peers: dict[str, dict[str, float]]) -> list[str]:
    """Markdown rows: ours first, then the peers, with the number of the eight metrics on which ours is ahead."""
    lines = ["| method | " + " | ".join(EIGHT) + " | ours ahead on |", "|---" * (len(EIGHT) + 2) + "|"]
    lines.append("| **S3IMFusion** | " + " | ".join(f"{own[name]:.3f}" for name in EIGHT) + " | |")
    for method, values in sorted(peers.items()):
        ahead = sum(own[name] > values[name] for name in EIGHT)
        lines.append(f"| {method} | " + " | ".join(f"{values[name]:.3f}" for name in EIGHT) + f" | {ahead} of 8 |")
    return lines


def main() -> None:
    """Measure, draw and write."""
    arguments = _arguments()
    pairs = by_task(dataset_pairs(arguments.dataset_dir, "validation"), arguments.modalities)
    sources = {
        task: torch.stack([torch.cat([read_luma(p.image_a), read_luma(p.image_b)]) for p in found]).double()
        for task, found in pairs.items()
    }
    losses = loss_of_each_epoch(arguments.log)
    iterations = int(_LOSS.search(arguments.log.read_text(encoding="utf-8"))[3])  # type: ignore[index]
    history = _history(arguments, iterations, sources)
    final = _final_scores(arguments, pairs, sources)
    draw_curves(losses, history, arguments.out / "gallery" / f"{arguments.name}.png")
    training = [p for p in dataset_pairs(arguments.dataset_dir, "training") if p.modality_b in arguments.modalities]
    record = {
        "config": arguments.config,
        "training pairs": len(training),
        "training data SHA256": _digest(training),
        "steps": iterations * max(losses),
        "epochs": max(losses),
        "weights SHA256": sha256_of(arguments.weights),
        "parameters": sum(weight.numel() for weight in load_weights(S3IMFusion(), arguments.weights).parameters()),
        "loss by epoch": {str(epoch): round(loss, 4) for epoch, loss in losses.items()},
        "validation by epoch": {str(epoch): values for epoch, values in history.items()},
        "validation of the final weights": final,
    }
    (arguments.out / "data" / f"{arguments.name}.json").write_text(json.dumps(record, indent=1) + "\n")
    lines = _page(arguments, record, {task: len(found) for task, found in pairs.items()})
    (arguments.out / f"{arguments.name}.md").write_text("\n".join(lines) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "log", "dataset_dir", "peers", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="the final weights, as shipped", required=True)
    parser.add_argument("--config", required=True, help="config, overrides and seed of the run")
    parser.add_argument("--name", default="training_record", help="of the files that are written")
    parser.add_argument("--modalities", nargs="+", choices=TASKS, default=list(TASKS), help="of B in the training")
    parser.add_argument("--every", type=int, default=10, help="epochs between measured checkpoints")
    return parser.parse_args()


def _history(
    arguments: argparse.Namespace, iterations: int, sources: dict[str, torch.Tensor]
) -> dict[int, dict[str, float]]:
    """The validation scores of the checkpoints, by epoch."""
    history = {}
    for path in arguments.run.glob("checkpoints/checkpoint_iteration=*.pt"):
        epoch, rest = divmod(int(path.stem.partition("=")[2]), iterations)
        if rest == 0 and epoch % arguments.every == 0:
            state = torch.load(path, weights_only=True)
            history[epoch] = network_scores(state.get("ema", state["network"]), sources)
    return dict(sorted(history.items()))


def _final_scores(
    arguments: argparse.Namespace, pairs: dict[str, list[Pair]], sources: dict[str, torch.Tensor]
) -> dict[str, dict[str, float]]:
    """The validation scores of the final weights, by task; their fused images and a montage of them are written."""
    fuser = Fuser(device="cpu", gray=True, weights=arguments.weights)
    final, montage = {}, []
    for task, found in pairs.items():
        folder = arguments.run / "validation" / task
        folder.mkdir(parents=True, exist_ok=True)
        for pair in found:
            fuser(pair.image_a, pair.image_b, folder / f"{pair.image_a.stem}.png")
        fused = torch.stack([read_luma(folder / f"{pair.image_a.stem}.png") for pair in found]).double()
        final[task] = scores(fused, sources[task], task)
        middle = range(0, len(found), max(1, len(found) // 4))
        montage += [(found[i].name, fused[i], sources[task][i]) for i in middle]
    draw_montage(montage, arguments.run / "validation" / "montage.png")
    return final


def _digest(training: list[Pair]) -> str:
    digest = hashlib.sha256()
    for pair in training:
        digest.update((sha256_of(pair.image_a) + sha256_of(pair.image_b)).encode())
    return digest.hexdigest()


def _page(arguments: argparse.Namespace, record: dict[str, Any], counts: dict[str, int]) -> list[str]:
    """The lines of the page of the docs."""
    peers = json.loads(arguments.peers.read_text(encoding="utf-8"))
    lines = [
        f"# Training record of `{arguments.weights.name}`",
        "",
        *[f"- {key}: {record[key]}" for key in list(record)[:7]],
        "",
        f"![loss and validation metrics by epoch](gallery/{arguments.name}.png)",
    ]
    for task, count in counts.items():
        own = record["validation of the final weights"][task]
        lines += ["", f"## {task}: {count} validation pairs", "", *table(own, peers[task]), ""]
        lines.append(
            f"Salient structure kept: {own['salient kept']:.2f} of the source. Mean of the background: "
            f"{own['background']:.3f} of 255. SD {own['SD']:.1f}, VIF {own['VIF']:.3f}."
        )
    return lines


if __name__ == "__main__":
    main()
