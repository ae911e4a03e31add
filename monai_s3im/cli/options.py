"""Options with known values: each value in one place, taken in any case, and completed by the shell."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from monai_s3im.modalities import AUTO_TASK, CT_WINDOWS, MODALITIES, TASKS

CHOICES = {
    "modality": tuple(MODALITIES),
    "plane": ("axial", "coronal", "sagittal", "in-plane"),
    "reference": ("a", "b", "finer"),
    "register": ("none", "rigid", "affine"),
    "window": tuple(CT_WINDOWS),
    "task": (AUTO_TASK, *TASKS),
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("float32", "bfloat16", "float16"),
    "engine": ("local", "ray"),
    "data set": ("harvard", "roadscene"),
    "config": ("train", "train_salient", "train_ct_mri", "train_spect_mri"),
}
"""The values of an option that the help names; the library, which may take more (LOWER,UPPER), checks them."""

MAX_GIB = Annotated[float, typer.Option(min=0, help="Most memory that one image may take; larger are refused.")]


def choice(kind: str, *names: str, help: str) -> Any:  # noqa: A002 (as typer names it)
    """An option with the values of :data:`CHOICES`.

    Args:
        kind: a key of :data:`CHOICES`.
        names: of the option; by default that of the parameter.
        help: what it does.
    """
    return typer.Option(*names, help=help, autocompletion=_starting(CHOICES[kind]), callback=_in_any_case(kind))


def chosen(kind: str, help: str) -> Any:  # noqa: A002
    """An argument with the values of :data:`CHOICES`; see :func:`choice`."""
    return typer.Argument(help=help, autocompletion=_starting(CHOICES[kind]), callback=_in_any_case(kind))


def examples(*lines: str) -> str:
    """What stands at the end of a command's help: whole lines that can be copied.

    Args:
        lines: what stands after ``s3im``.
    """
    return "\n\n".join(["Examples:", *(f"s3im {line}" for line in lines)])


def _starting(values: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        rest = len(incomplete)  # what is typed stays, as the shells want it
        return [incomplete + value[rest:] for value in values if value.startswith(incomplete.lower())]

    return complete


def _in_any_case(kind: str) -> Callable[[str | None], str | None]:
    def written_as_known(value: str | None) -> str | None:
        return value.lower() if value is not None and value.lower() in CHOICES[kind] else value

    return written_as_known
