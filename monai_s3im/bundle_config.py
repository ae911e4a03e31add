"""The bundle: where it is, and its configs as parsers."""

from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser


def bundle_root() -> Path:
    """The folder of the bundle: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "bundle"
    return inside if inside.is_dir() else package.parent / "bundle"


def bundle_parser(config: str, **overrides: Any) -> ConfigParser:
    """A parser of one of the bundle's configs.

    Args:
        config: name, such as ``"inference"``.
        **overrides: values of the config's top-level ids.
    """
    parser = ConfigParser()
    parser.read_config(bundle_root() / "configs" / f"{config}.json")
    parser.update({"bundle_root": str(bundle_root()), **overrides})
    return parser
