"""The pairs to fuse."""

from dataclasses import replace
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import is_image_folder, stem_of
from monai_s3im.phantom import write_phantom
from monai_s3im.settings import MAX_GIB

from .checks import check_pairs
from .lists import Pair, datalist_items, match_folders, read_pairs

_MOST_NAMED = 10


def fusion_pairs(
    image_a: str | Path | None = None,
    image_b: str | Path | None = None,
    pairs: str | Path | None = None,
    modality_a: str | None = None,
    modality_b: str | None = None,
) -> list[Pair]:
    """The requested pairs: two files, two folders matched by file name, or a list.

    Args:
        image_a: file or folder.
        image_b: the same kind.
        pairs: CSV or datalist, see :func:`read_pairs`.
        modality_a: modality of ``image_a``, if the list does not give it.
        modality_b: modality of ``image_b``.

    Raises:
        InputError: if neither two images nor a list are given, or both; if a folder or list cannot be used; if an image
            of one folder has no partner in the other.
    """
    if (pairs is None) == (image_a is None) or (image_a is None) != (image_b is None):
        raise InputError("give two images, two folders, or a list of pairs with --pairs")
    if pairs is not None:
        return [
            replace(pair, modality_a=pair.modality_a or modality_a, modality_b=pair.modality_b or modality_b)
            for pair in read_pairs(pairs)
        ]
    first, second = Path(str(image_a)), Path(str(image_b))
    if not (is_image_folder(first) and is_image_folder(second)):
        return [Pair(stem_of(first), first, second, modality_a, modality_b)]
    matched, unpaired = match_folders(first, second, modality_a, modality_b)
    if unpaired:
        more = f" and {len(unpaired) - _MOST_NAMED} more" if len(unpaired) > _MOST_NAMED else ""
        named = ", ".join(map(str, unpaired[:_MOST_NAMED]))
        raise InputError(f"without a partner of the same name: {named}{more}: add the missing files or remove these")
    return matched


def inference_items(
    image_a: str | None = None,
    image_b: str | None = None,
    pairs: str | None = None,
    modality_a: str | None = None,
    modality_b: str | None = None,
    phantom_dir: str | Path = "phantom",
    max_gib: float = MAX_GIB,
) -> list[dict[str, str | None]]:
    """Items for a MONAI dataset of the pairs to fuse; without any, the volumes of the head phantom.

    Args:
        image_a: see :func:`fusion_pairs`.
        image_b: see :func:`fusion_pairs`.
        pairs: see :func:`fusion_pairs`.
        modality_a: see :func:`fusion_pairs`.
        modality_b: see :func:`fusion_pairs`.
        phantom_dir: folder for the phantom.
        max_gib: maximum memory that one image may take.

    Raises:
        InputError: as :func:`fusion_pairs`, and if any pair cannot be used.
    """
    if image_a is image_b is pairs is None:
        found = read_pairs(write_phantom(phantom_dir, subjects=2, volumes=True).parent / "volumes" / "pairs.csv")
    else:
        found = fusion_pairs(image_a, image_b, pairs, modality_a, modality_b)
    check_pairs(found, max_gib)
    return datalist_items(found)
