"""The command ``s3im train``."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError

from .common import fail, show_log

# A config lies over train and over those named here.
_BETWEEN = {f"train_{task}_mri": ["train_salient", "train_one_task"] for task in ("ct", "spect")}


def train(
    context: typer.Context,
    config: Annotated[
        str,
        typer.Option(
            help="train (the paper's recipe), train_salient (laid over it), train_ct_mri or train_spect_mri (laid over "
            "both, and over train_one_task), or a JSON file."
        ),
    ] = "train",
    trust_config: Annotated[
        bool, typer.Option("--trust-config", help="Run a JSON file as config: it is a program, so read it first.")
    ] = False,
) -> None:
    """Train the network by a config of the bundle; every further --ID VALUE overrides an id of the config.

    Without --dataset_dir it trains on the embedded head phantom.
    """
    show_log()
    logging.getLogger().setLevel(logging.INFO)
    from monai_s3im.bundle_config import bundle_root
    from monai_s3im.workflows import Training

    configs = bundle_root() / "configs"
    own = {file.stem: str(file) for file in configs.glob("*.json")}
    if Path(config).resolve().parent == configs.resolve():
        config = Path(config).stem
    if config not in own and not Path(config).is_file():
        fail(f"{config} is neither a config of the bundle nor a file: s3im train --help names the configs")
    if config not in own and not trust_config:
        fail(f"{config} is not of this package, and a config can run any code: read it, then add --trust-config")
    layers = ["train", *_BETWEEN.get(config, []), config]
    files = [own[name] for name in dict.fromkeys(layers)] if config in own else [config]
    overrides = _overrides(context.args)
    _refuse_unknown(overrides, files)
    try:
        workflow = Training(config_file=files, **overrides)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except (InputError, OutputError) as error:
        fail(error)


def _overrides(arguments: list[str]) -> dict[str, Any]:
    import json

    values: dict[str, Any] = {}
    for name, text in zip(arguments[::2], [*arguments[1::2], None], strict=False):
        if not name.startswith("--") or text is None:
            fail(f"{name} is no --ID VALUE")
        try:
            values[name[2:]] = json.loads(text)
        except ValueError:
            values[name[2:]] = text
    return values


def _refuse_unknown(overrides: dict[str, Any], files: list[str]) -> None:
    """A misspelt id would be taken for a new one, and the training run with the value of the right one."""
    import json
    from difflib import get_close_matches

    try:
        keys = {key for file in files for key in json.loads(Path(file).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, RecursionError):
        return  # the workflow tells what is wrong with the file
    known = {key.split("#")[0] for key in keys} | {"logging_file", "meta_file", "tracking"}
    for name in overrides:
        key = name.replace("::", "#").split("#")[0]
        if key not in known:
            near = get_close_matches(key, sorted(known), n=1)
            fail(f"--{name} is no id of the config{f': did you mean --{near[0]}?' if near else ''}")
