"""The pairs to train and validate on: your own data set, or the phantom."""

from pathlib import Path

from monai_s3im.phantom import write_phantom

from .checks import check_pairs
from .layouts import dataset_pairs
from .lists import datalist_items


def training_items(
    dataset_dir: str | None, section: str, datalist: str | None = None, phantom_dir: str | Path = "phantom"
) -> list[dict[str, str | None]]:
    """Find and check the pairs of one section of a data set.

    Args:
        dataset_dir: folder of the data set; None: the head phantom, which is written to ``phantom_dir`` first.
        section: ``"training"`` or ``"validation"``.
        datalist: name of the datalist in ``dataset_dir``; found by the folder's layout if None.
        phantom_dir: folder for the phantom.

    Returns:
        Items for a MONAI dataset.

    Raises:
        InputError: if the folder is missing, empty or of an unknown layout, or a pair cannot be used.
    """
    folder = write_phantom(phantom_dir).parent if dataset_dir is None else Path(dataset_dir)
    pairs = dataset_pairs(folder, section, datalist)
    check_pairs(pairs)
    return datalist_items(pairs)
