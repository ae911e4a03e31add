"""The pairs that a command is about: two images or folders, a list, or what patterns find."""

from pathlib import Path
from typing import Any

import typer

from .common import fail


def find_pairs(
    image_a: Path | None,
    image_b: Path | None,
    pairs: Path | None,
    root: Path | None,
    pattern_a: str | None,
    pattern_b: str | None,
    modality_a: str | None = None,
    modality_b: str | None = None,
) -> tuple[list[Any], dict[str, str]]:
    """The pairs, and by name why others are none; tell what has no partner.

    Raises:
        InputError: if there is no pair, or a list or folder cannot be used.
    """
    if root is None and pattern_a is None and pattern_b is None:
        from monai_s3im.data.inference import fusion_pairs

        return fusion_pairs(image_a, image_b, pairs, modality_a, modality_b), {}
    if root is None or pattern_a is None or pattern_b is None or image_a is not None or pairs is not None:
        fail("--root, --pattern-a and --pattern-b go together, without images or --pairs")
    from monai_s3im.data.patterns import match_patterns

    match = match_patterns(root, pattern_a, pattern_b, modality_a, modality_b)
    for file in match.unpaired:
        typer.echo(f"note: {file} has no partner", err=True)
    return match.pairs, match.ambiguous
