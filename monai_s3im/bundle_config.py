"""Locate the bundle and parse its configs."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_s3im.formats.paths import isdir

from .errors import InputError

_NOT_BY_NAME_ALONE = ("monai_s3im", "monai.apps", "monai.auto3dseg", "monai.fl")
"""Modules whose classes the configs name in full; this saves MONAI a slow search through them."""

_CODE = re.compile(r"^\s*[$@%]|[@%]#|::")  # text that a config would run or resolve


def bundle_root() -> Path:
    """The folder of the bundle: inside the installed package, or next to it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "bundle"
    return inside if isdir(inside) else package.parent / "bundle"


def nearest_bundle_root() -> str:
    """The default bundle folder for a config: the current folder if it is this bundle, else :func:`bundle_root`.

    MONAI can then make a workflow from a config in any folder.
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
        config: its name, such as ``"inference"``.
        **overrides: values of the config's top-level ids. Text is taken literally and never run.

    Raises:
        InputError: if a config would treat a value as code: an expression, a reference, a macro or a dictionary.
    """
    for name, value in overrides.items():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, list | dict) or (isinstance(part, str) and _CODE.search(part)):
                raise InputError(
                    f"the setting {name} cannot be {str(part)[:60]!r}, which a config would run: write a file as "
                    "./NAME; text must not begin with $, @ or %, or contain ::"
                )
    parser = ConfigParser(excludes=_NOT_BY_NAME_ALONE)
    parser.read_config(bundle_root() / "configs" / f"{config}.json")
    parser.update({"bundle_root": str(bundle_root()), **overrides})
    return parser


def inference_steps(
    *names: str, keys: Mapping[str, Sequence[str]] | None = None, **settings: Any
) -> list[Callable[[Any], dict[Any, Any]]]:
    """Transforms of the inference config, by their names in its ``steps``, to prepare images as for fusion.

    Args:
        *names: such as ``"load"``, ``"align"``.
        keys: step -> the images it applies to; by default those of the config.
        **settings: values of the config, as for :func:`bundle_parser`.

    Raises:
        InputError: if a setting cannot be used.
    """
    parser = bundle_parser("inference", **settings)
    for name, images in (keys or {}).items():
        parser[f"steps#{name}#keys"] = list(images)
    return [parser.get_parsed_content(f"steps#{name}") for name in names]
