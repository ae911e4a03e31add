"""Write the weighted mean of several weights files of one network.

    python studies/average_weights.py a.pt=0.75 b.pt=0.25 -o mean.pt

Runs that continue from the same weights are in one basin, and their mean also behaves like a mixture of them (Wortsman
et al. 2022, https://doi.org/10.48550/arXiv.2203.05482).
"""

import argparse
from pathlib import Path

import torch

from monai_s3im.formats.atomic import write_file
from monai_s3im.networks import S3IMFusion, load_weights


def mean_weights(shares: dict[str, float]) -> dict[str, torch.Tensor]:
    """The mean of the state dicts of these files, by share; counters come from the first."""
    total = sum(shares.values())
    states = [(share / total, load_weights(S3IMFusion(), path).state_dict()) for path, share in shares.items()]
    first = states[0][1]
    return {
        name: sum(share * state[name].double() for share, state in states).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="FILE=SHARE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    shares = {path: float(share) for path, _, share in (text.rpartition("=") for text in arguments.weights)}
    mean = mean_weights(shares)
    write_file(arguments.output, lambda path: torch.save(mean, path), ".pt")
    print(f"wrote {arguments.output}")
