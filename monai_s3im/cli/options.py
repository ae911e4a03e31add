"""Options with a fixed set of values: defined once, matched in any case, completed by the shell."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import Field, fields
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from monai_s3im.errors import InputError
from monai_s3im.modalities import MODALITIES
from monai_s3im.settings import FusionSettings, choices_of, help_of, least_of

from .common import fail

CHOICES = {
    "modality": tuple(MODALITIES),
    **{option.name: choices for option in fields(FusionSettings) if (choices := choices_of(option.name))},
    "engine": ("local", "ray"),
    "data set": ("harvard", "roadscene"),
    "config": ("train", "train_salient", "train_ct_mri", "train_spect_mri", "train_medical"),
}
"""The values that the help lists for an option; the library checks them and may accept more (LOWER,UPPER)."""

MAX_GIB = Annotated[float, typer.Option(min=0, help="Maximum memory in GiB for one image; larger images are refused.")]


def choice(kind: str, *names: str, help: str) -> Any:  # noqa: A002 (as typer names it)
    """An option with the values of :data:`CHOICES`.

    Args:
        kind: a key of :data:`CHOICES`.
        names: of the option; default: the parameter's name.
        help: help text.
    """
    return typer.Option(*names, help=help, autocompletion=_starting(CHOICES[kind]), callback=_in_any_case(kind))


def chosen(kind: str, help: str) -> Any:  # noqa: A002
    """An argument with the values of :data:`CHOICES`; see :func:`choice`."""
    return typer.Argument(help=help, autocompletion=_starting(CHOICES[kind]), callback=_in_any_case(kind))


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for each field of :class:`FusionSettings`, which it gets as ``settings``.

    Args:
        command: its parameter ``settings`` has no default.
    """
    options = [_parameter_of(option) for option in fields(FusionSettings)]

    @wraps(command)
    def run(**values: Any) -> None:
        try:
            settings = FusionSettings(**{option.name: values.pop(option.name) for option in options})
        except InputError as error:
            fail(error)
        command(**values, settings=settings)

    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    run.__annotations__ = {}  # typer asks the signature
    return run


def _parameter_of(option: "Field[Any]") -> inspect.Parameter:
    """A command's parameter for a setting; of several types, the one used on a command line."""
    name = option.name
    kind = get_type_hints(FusionSettings)[name]
    if kinds := get_args(kind):
        written = Path if Path in kinds else kinds[0]
        kind = written | None if NoneType in kinds else written
    names = (f"--{name.replace('_', '-')}",) if kind is bool else ()  # no --no-gray
    taken = (
        choice(name, *names, help=help_of(name))
        if choices_of(name)
        else typer.Option(*names, help=help_of(name), min=least_of(name))
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=Annotated[kind, taken]
    )


def examples(*lines: str) -> str:
    """The examples at the end of a command's help: whole lines to copy.

    Args:
        lines: text after ``s3im``.
    """
    return "\n\n".join(["Examples:", *(f"s3im {line}" for line in lines)])


def _starting(values: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        rest = len(incomplete)  # keep the typed part, as shells require
        return [incomplete + value[rest:] for value in values if value.startswith(incomplete.lower())]

    return complete


def _in_any_case(kind: str) -> Callable[[str | None], str | None]:
    def written_as_known(value: str | None) -> str | None:
        return value.lower() if value is not None and value.lower() in CHOICES[kind] else value

    return written_as_known
