"""The bundle: where it is, and its configs as parsers."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_s3im.formats.paths import isdir

from .errors import InputError

_NOT_BY_NAME_ALONE = ("monai_s3im", "monai.apps", "monai.auto3dseg", "monai.fl")
"""Modules whose classes the configs name in full, so that MONAI does not search (and load) them, which takes time."""

_CODE = re.compile(r"^\s*[$@%]|[@%]#|::")  # what a config does not take for mere text


def bundle_root() -> Path:
    """The folder of the bundle: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "bundle"
    return inside if isdir(inside) else package.parent / "bundle"


def nearest_bundle_root() -> str:
    """The folder of the bundle that a config belongs to where none was named: the current one, if it is this bundle.

    Else it is :func:`bundle_root`, so that MONAI can make a workflow of a config from any folder.
    """
    try:
        metadata = json.loads(Path("configs", "metadata.json").read_text(encoding="utf-8"))
        here = metadata["name"] == "S3IMFusion"
    except (OSError, ValueError, KeyError, TypeError):
        here = False
    return "." if here else str(bundle_root())


def bundle_parser(config: str, **overrides: Any) -> ConfigParser:
    """A parser of one of the bundle's configs.

    Args:
        config: name, such as ``"inference"``.
        **overrides: values of the config's top-level ids. Text is text: none of it is run, as a config would.

    Raises:
        InputError: if a value is one that a config takes for code: text of an expression, a reference or a macro, or a
            dictionary.
    """
    for name, value in overrides.items():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, list | dict) or (isinstance(part, str) and _CODE.search(part)):
                raise InputError(
                    f"the setting {name} cannot be {str(part)[:60]!r}, which a config would run: a file is ./NAME; "
                    "no text may begin with $ @ %, or have :: in it"
                )
    parser = ConfigParser(excludes=_NOT_BY_NAME_ALONE)
    parser.read_config(bundle_root() / "configs" / f"{config}.json")
    parser.update({"bundle_root": str(bundle_root()), **overrides})
    return parser


def inference_steps(
    *names: str, keys: Mapping[str, Sequence[str]] | None = None, **settings: Any
) -> list[Callable[[Any], dict[Any, Any]]]:
    """Transforms of the inference config, by their names in its ``steps``, for what prepares images as fusing does.

    Args:
        *names: such as ``"load"``, ``"align"``.
        keys: step -> images that it is for; those of the config where a step is not named.
        **settings: values of the config, as for :func:`bundle_parser`.

    Raises:
        InputError: if a setting cannot be used.
    """
    parser = bundle_parser("inference", **settings)
    for name, images in (keys or {}).items():
        parser[f"steps#{name}#keys"] = list(images)
    return [parser.get_parsed_content(f"steps#{name}") for name in names]
