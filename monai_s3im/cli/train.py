"""The command ``s3im train``."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import isfile

from .common import fail, show_log
from .options import choice, examples
from .progress import steps

logger = logging.getLogger(__name__)

EXAMPLES = examples(
    "train --dataset_dir harvard --output_dir run",
    "train --config train_salient --epochs 20 --batch_size 8",
    "train --output_dir run --resume latest",
)

# Ids whose values are paths: a number is taken as a name.
_PATHS = {"dataset_dir", "datalist", "output_dir", "resume", "init_weights", "bundle_root"}

# Each config is merged over train and over those listed here.
_BETWEEN = {f"train_{name}": ["train_salient", "train_one_task"] for name in ("ct_mri", "spect_mri", "medical")}


def train(
    context: typer.Context,
    config: Annotated[
        str,
        choice(
            "config",
            help="train (the paper's recipe), train_salient (merged over it), train_ct_mri, train_spect_mri or "
            "train_medical (merged over both and train_one_task), or a JSON file.",
        ),
    ] = "train",
    trust_config: Annotated[
        bool, typer.Option("--trust-config", help="Allow a JSON file as config: it can run any code, so read it first.")
    ] = False,
) -> None:
    """Train the network with a config of the bundle; any other --ID VALUE overrides an id of the config.

    Without --dataset_dir it trains on the embedded head phantom.
    """
    show_log()
    logging.getLogger().setLevel(logging.INFO)
    with steps():
        from monai_s3im.workflows import Training

    files = _config_files(config, trust_config)
    defaults = _merged(files)
    overrides = _overrides(context.args, defaults)
    _refuse_unknown(overrides, defaults)
    _refuse_none(overrides)
    workflow = None
    losses, printing = logging.getLogger("monai.handlers.StatsHandler"), _Printing()
    losses.addHandler(printing)  # MONAI adds its own only to a logger that it makes itself
    losses.addFilter(_without_traceback)
    try:
        workflow = Training(config_file=files, **overrides)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except (InputError, OutputError) as error:
        fail(error)
    except Exception as error:
        if not overrides or _has_trained(workflow):
            raise
        logger.debug("the config failed", exc_info=True)
        fail(f"the settings {' '.join(context.args)} cannot be used: {_innermost(error)}")
    finally:
        losses.removeFilter(_without_traceback)
        losses.removeHandler(printing)


def _config_files(config: str, is_trusted: bool) -> list[str]:
    """The files of a config, each merged over those before it."""
    from monai_s3im.bundle_config import bundle_root

    configs = bundle_root() / "configs"
    own = {file.stem: str(file) for file in configs.glob("*.json")}
    if Path(config).resolve().parent == configs.resolve():
        config = Path(config).stem
    if config not in own and not isfile(config):
        fail(f"{config} is neither a config of the bundle nor a file: s3im train --help names the configs")
    if config not in own and not is_trusted:
        fail(f"{config} is not part of this package and a config can run any code: read it, then add --trust-config")
    layers = ["train", *_BETWEEN.get(config, []), config]
    return [own[name] for name in dict.fromkeys(layers)] if config in own else [config]


def _merged(files: list[str]) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    try:
        config = ConfigParser.load_config_files(files)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return {}  # the workflow reports the problem with the file
    return config if isinstance(config, dict) else {}


def _overrides(arguments: list[str], defaults: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in zip(arguments[::2], [*arguments[1::2], None], strict=False):
        if not name.startswith("--") or text is None:
            fail(f"{name} is not an option with a value: write --ID VALUE")
        default = defaults.get(name[2:])
        is_text = name[2:] in _PATHS or (isinstance(default, str) and not default.startswith(("$", "@", "%")))
        value = _value(text)
        values[name[2:]] = text if is_text and isinstance(value, int | float) else value
    return values


def _value(text: str) -> Any:
    import json

    for read in (json.loads, float):  # .001 is not JSON
        try:
            return read(text)
        except ValueError:
            pass
    return text


def _refuse_unknown(overrides: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Refuse a misspelt id: it would be taken as a new one, and have no effect on the training."""
    from difflib import get_close_matches

    from monai.bundle import ConfigParser

    if not defaults:
        return
    config = ConfigParser({**defaults, "logging_file": None, "meta_file": None, "tracking": None})
    for name, value in overrides.items():
        keys = name.replace("::", "#").split("#")
        node: Any = config.get()
        for depth, key in enumerate(keys):
            known = _ids_in(node)
            if known is None or (depth and isinstance(value, dict)):
                break  # a component may be added to a part
            if key not in known:
                near = [] if depth else _ids_that_end_with(keys, config.get())
                near = near or [
                    "#".join([*keys[:depth], match]) for match in get_close_matches(key, sorted(known), n=1)
                ]
                fail(f"--{name} is not an id of the config{f': did you mean --{near[0]}?' if near else ''}")
            node = node[int(key)] if isinstance(node, list) else node.get(key)
        config[name] = value


def _ids_that_end_with(keys: list[str], part: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Ids deeper in the config with the given end: ``train#trainer#max_epochs`` for ``trainer#max_epochs``."""
    if not isinstance(part, dict):
        return []
    found = ["#".join([*path, *keys])] if path and _is_in(part, keys) else []
    return found + [id_ for name, inner in part.items() for id_ in _ids_that_end_with(keys, inner, (*path, name))]


def _is_in(part: Any, keys: list[str]) -> bool:
    for key in keys:
        if key not in (_ids_in(part) or ()):
            return False
        part = part.get(key) if isinstance(part, dict) else None
    return True


def _ids_in(part: Any) -> set[str] | None:
    """The names that may follow an id in a part of the config; None for any."""
    import inspect
    from pydoc import ErrorDuringImport, locate

    from monai.bundle.config_item import ConfigComponent

    if isinstance(part, list):
        return {str(index) for index in range(len(part))}
    if not isinstance(part, dict):
        return set()
    if not ConfigComponent.is_instantiable(part):
        return set(part)
    try:
        parameters = inspect.signature(locate(ConfigComponent(part).resolve_module_name())).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError, ErrorDuringImport):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return {*part, *parameters, *ConfigComponent.non_arg_keys}


def _refuse_none(overrides: dict[str, Any]) -> None:
    """Refuse zero epochs and empty batches."""
    for name in ("epochs", "batch_size"):
        value = overrides.get(name, 1)
        is_code = isinstance(value, str) and value.startswith(("$", "@", "%"))
        if not is_code and not (isinstance(value, int) and value >= 1):
            fail(f"--{name} {value} cannot be used: give a whole number, 1 or more")


class _Printing(logging.Handler):
    """Print records on the standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"{record.levelname} - {self.format(record)}")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Silence MONAI's traceback of the error that ends a training; the raised error repeats it."""
    record.exc_info = None
    return True


def _has_trained(workflow: Any) -> bool:
    """Whether at least one step was done, which proves the settings usable."""
    resolved = workflow.parser.ref_resolver.resolved_content if workflow else {}
    trainer = resolved.get("train::trainer")
    return trainer is not None and trainer.state.iteration > 1


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
