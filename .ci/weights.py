"""Put weights into the bundle, and update their manifest, which lists the SHA256 of each and a known answer.

    python .ci/weights.py                             # update the manifest of all bundle/models/*.pt as they are
    python .ci/weights.py model=runs/mine/model.pt    # first copy state dicts: NAME=FILE, any number

A few seconds. Every file is loaded like a user's weights, and fuses the known pair of ``s3im doctor``.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import torch

from monai_s3im.bundle_config import bundle_parser, bundle_root
from monai_s3im.doctor import known_answer
from monai_s3im.errors import InputError
from monai_s3im.formats.atomic import write_file
from monai_s3im.formats.writing import write_json
from monai_s3im.networks import load_weights
from monai_s3im.networks.weights import MANIFEST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", help="NAME=FILE")
    parser.add_argument("--models", type=Path, default=bundle_root() / "models", help="folder of the weights")
    arguments = parser.parse_args()
    try:
        update_weights(arguments.models, dict(text.split("=", 1) for text in arguments.weights))
    except (InputError, ValueError) as error:
        sys.exit(f"error: {error}")


def update_weights(models: Path, new: dict[str, str]) -> None:
    """Copy new weights, and write the manifest.

    The old manifest is removed first, once the new weights are known to fit, or it would refuse the replacements.

    Raises:
        InputError: if a file has no weights of this network; then nothing is changed.
    """
    states = {name: load_weights(_network(), file).state_dict() for name, file in new.items()}
    (models / MANIFEST).unlink(missing_ok=True)
    for name, state in states.items():
        write_file(models / f"{name}.pt", lambda path, state=state: torch.save(state, path), ".pt")
    manifest = {}
    for file in sorted(models.glob("*.pt")):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        manifest[file.name] = {"sha256": sha256, "bytes": file.stat().st_size, "answer": known_answer(file)}
        print(f"{file.name} {sha256}")
    write_json(manifest, models / MANIFEST)


def _network() -> torch.nn.Module:
    return bundle_parser("inference").get_parsed_content("network_def")


if __name__ == "__main__":
    main()
