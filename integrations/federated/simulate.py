"""Federated training on this machine: two clients with a phantom head each, by MONAI's MonaiAlgo.

    python integrations/federated/simulate.py OUTPUT --rounds 2     # two minutes on a CPU

Each client trains on its own pairs and sends the difference of its weights; the server adds the mean of the
differences. The clients see nothing of each other's images. With NVFlare, MonaiAlgo is what its MONAI integration runs
on each site, with the same arguments. Expect: a line for each round with the mean validation Qabf of the clients, and
OUTPUT/model.pt.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from monai_s3im.bundle_config import bundle_root
from monai_s3im.networks import S3IMFusion
from monai_s3im.phantom import write_phantom


def client_of(folder: Path, name: str, seed: int, settings: dict[str, Any]) -> MonaiAlgo:
    """A site with data of its own."""
    data = write_phantom(folder / name / "data", subjects=2, seed=seed).parent
    shared = {"dataset_dir": str(data), "output_dir": str(folder / name), "bundle_root": str(bundle_root()), **settings}
    algorithm = MonaiAlgo(
        bundle_root=str(bundle_root()),
        local_epochs=1,
        config_train_filename="configs/train.json",
        config_evaluate_filename=["configs/train.json", "configs/evaluate.json"],
        train_kwargs=dict(shared),
        eval_kwargs=dict(shared),
        eval_workflow_name="train",
    )
    algorithm.initialize(extra={ExtraItems.CLIENT_NAME: name})
    return algorithm


def run(folder: Path, rounds: int, **settings: Any) -> list[float]:
    """Train; the mean Qabf of the clients after each round."""
    torch.manual_seed(0)
    weights = S3IMFusion().state_dict()
    clients = [client_of(folder, name, seed, settings) for seed, name in enumerate(("hospital_a", "hospital_b"))]
    history = []
    for number in range(rounds):
        differences = []
        for client in clients:
            client.train(ExchangeObject(weights=weights))
            sent = client.get_weights()
            assert sent.weight_type == WeightType.WEIGHT_DIFF  # noqa: S101
            differences.append(sent.weights)
        weights = {
            name: value + torch.stack([sent[name].to(value) for sent in differences]).mean(0).to(value.dtype)
            if value.is_floating_point()
            else value
            for name, value in weights.items()
        }
        metrics = [client.evaluate(ExchangeObject(weights=weights)).metrics["Qabf"] for client in clients]
        history.append(sum(metrics) / len(metrics))
        print(
            f"round {number + 1}: Qabf {history[-1]:.4f} ({', '.join(f'{value:.4f}' for value in metrics)})", flush=True
        )
    for client in clients:
        client.finalize()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / "model.pt")
    return history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    run(arguments.output, arguments.rounds, device=arguments.device, patch_size=64, batch_size=4)


if __name__ == "__main__":
    main()
