"""Assemble the stand-alone bundle `s3im_fusion` for the MONAI model zoo.

    python .ci/bundle.py FOLDER     # writes FOLDER/s3im_fusion; half a minute

It is the bundle of this repository plus the part of the library that its configs use, so it runs without monai-s3im:
only the packages in its metadata are needed. `models/model.ts` is the network with the general weights as TorchScript,
with metadata and inference config in it: what MONAI Deploy looks for.
"""

import argparse
import json
import shutil
from pathlib import Path

from monai.bundle import ckpt_export

ROOT = Path(__file__).resolve().parents[1]
NAME = "s3im_fusion"
NOT_NAMED_BY_CONFIGS = {"__main__.py", "batch", "cli", "doctor", "evaluation", "report", "viewer", "pairs/download.py"}


def assemble(folder: Path) -> Path:
    """Write the bundle into a folder, replacing an earlier one."""
    bundle = folder / NAME
    if bundle.exists():
        shutil.rmtree(bundle)
    shutil.copytree(ROOT / "bundle", bundle, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "monai_s3im", bundle / "monai_s3im", ignore=_left_out)
    file = bundle / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    del metadata["required_packages_version"]["monai-s3im"]
    file.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    ckpt_export(
        "network_def",
        filepath=str(bundle / "models" / "model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(file),
        config_file=[str(bundle / "configs" / "inference.json")],
        bundle_root=str(bundle),
    )
    return bundle


def _left_out(folder: str, names: list[str]) -> set[str]:
    room = Path(folder).relative_to(ROOT / "monai_s3im")
    return {name for name in names if (room / name).as_posix() in NOT_NAMED_BY_CONFIGS or name == "__pycache__"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(assemble(parser.parse_args().folder))
