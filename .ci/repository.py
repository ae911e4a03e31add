"""Set the owner of the repository on GitHub in every file that names its address.

    python .ci/repository.py my-hospital

The address is that of `[project.urls]` in pyproject.toml. The extension's files repeat it, because Slicer's index reads
two of them as text and the module is installed without pyproject.toml; so does a command for users. A test holds all to
the same. See docs/project/releasing.md.
"""

import argparse
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_OWNER = "OWNER"  # until the repository is published
FILES = (
    "pyproject.toml",
    "CMakeLists.txt",
    "docs/install.md",
    "slicer_extension/S3IMFusion.json",
    "slicer_extension/S3IMFusion/S3IMFusionLib/paths.py",
)


def address(root: Path) -> str:
    """The address of the repository: host, owner and name."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def owner_of(root: Path) -> str:
    """The owner in the address."""
    return address(root).split("/")[3]


def set_owner(root: Path, owner: str) -> None:
    """Writes the owner instead of the previous one."""
    former = owner_of(root)
    for name in FILES:
        file = root / name
        text = re.sub(rf"(github(?:usercontent)?\.com)/{former}/", rf"\1/{owner}/", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8", newline="\n")


def checked(owner: str) -> str:
    """The name, if GitHub could have such an owner."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?", owner):
        raise argparse.ArgumentTypeError(f"{owner!r} cannot be the name of an owner on GitHub")
    return owner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("owner", type=checked, help="of the repository on GitHub")
    set_owner(ROOT, parser.parse_args().owner)
    print(address(ROOT))


if __name__ == "__main__":
    main()
