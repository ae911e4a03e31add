"""The bundle: where it is, and its configs as parsers."""

import re
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from .errors import InputError

_CODE = re.compile(r"^\s*[$@%]|[@%]#|::")  # what a config does not take for mere text


def bundle_root() -> Path:
    """The folder of the bundle: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "bundle"
    return inside if inside.is_dir() else package.parent / "bundle"


def bundle_parser(config: str, **overrides: Any) -> ConfigParser:
    """A parser of one of the bundle's configs.

    Args:
        config: name, such as ``"inference"``.
        **overrides: values of the config's top-level ids. Text is text: none of it is run, as a config would.

    Raises:
        InputError: if a value is text that a config takes for an expression, a reference or a macro.
    """
    for name, value in overrides.items():
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str) and _CODE.search(text):
                raise InputError(
                    f"the setting {name} cannot be {text!r}, which a config would run: for a file write ./NAME, and "
                    "leave out the signs $ @ % at the beginning and :: anywhere"
                )
    parser = ConfigParser()
    parser.read_config(bundle_root() / "configs" / f"{config}.json")
    parser.update({"bundle_root": str(bundle_root()), **overrides})
    return parser
