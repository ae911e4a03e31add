"""The pairs that a command works on: two images or folders, a list, or images found by patterns."""

import os
from pathlib import Path
from typing import Any

from .common import fail, tell


def lone_images(image_a: Path | None, image_b: Path | None) -> tuple[Path | None, Path | None]:
    """A folder given with an image stands for the only image in it; report which one."""
    from monai_s3im.formats.dicom.series import is_series
    from monai_s3im.formats.paths import suffix_of
    from monai_s3im.formats.reading import is_image_folder

    if image_a is None or image_b is None:
        return image_a, image_b
    is_folder_a, is_folder_b = is_image_folder(image_a), is_image_folder(image_b)
    if is_folder_a and not is_folder_b and (suffix_of(image_b) or is_series(image_b)):
        return _only_image_in(image_a, image_b), image_b
    if is_folder_b and not is_folder_a and (suffix_of(image_a) or is_series(image_a)):
        return image_a, _only_image_in(image_b, image_a)
    return image_a, image_b


def _only_image_in(folder: Path, partner: Path) -> Path:
    from monai_s3im.formats.dicom.series import is_series
    from monai_s3im.formats.paths import isfile, suffix_of

    images = [file for file in sorted(folder.iterdir()) if (suffix_of(file) if isfile(file) else is_series(file))]
    if len(images) != 1:
        if not images:
            _refuse_tree(folder)
        such = f" of {len(images)} images" if images else " without images"
        fail(f"{folder} is a folder{such} and {partner} is one image: name one image, or two folders")
    tell(f"note: {images[0]} is the only image in {folder}")
    return images[0]


def _refuse_tree(folder: Path) -> None:
    from monai_s3im.errors import InputError
    from monai_s3im.formats.dicom.tree import refuse_tree

    try:
        refuse_tree(folder)
    except InputError as error:
        fail(error)


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
    """The pairs, and the reason per name for refused ones; report files without a partner.

    Raises:
        InputError: if no pair is found, or a list or folder cannot be used.
    """
    if root is None and pattern_a is None and pattern_b is None:
        from monai_s3im.pairs.inference import fusion_pairs

        found = fusion_pairs(image_a, image_b, pairs, modality_a, modality_b)
        _warn_of_one_image_twice(found)
        return found, {}
    if root is None or pattern_a is None or pattern_b is None or image_a is not None or pairs is not None:
        fail("--root, --pattern-a and --pattern-b go together, without images or --pairs")
    from monai_s3im.pairs.patterns import match_patterns

    match = match_patterns(root, pattern_a, pattern_b, modality_a, modality_b)
    for file in match.unpaired:
        tell(f"note: {file} has no partner")
    return match.pairs, match.ambiguous


def _warn_of_one_image_twice(pairs: list[Any]) -> None:
    """Warn before the work begins if images would be fused with themselves, as when one folder is named twice."""
    twice = [pair for pair in pairs if os.path.realpath(pair.image_a) == os.path.realpath(pair.image_b)]
    if not twice or len(pairs) == 1:  # the pipeline warns about one pair
        return
    if len(twice) == len(pairs):
        tell(f"warning: in all {len(pairs)} pairs image A and image B are the same file, such as {twice[0].image_a}")
    else:
        tell(
            f"warning: in {len(twice)} of {len(pairs)} pairs image A and image B are the same file, "
            f"such as {twice[0].name}"
        )
