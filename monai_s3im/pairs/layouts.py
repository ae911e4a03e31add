"""Find the pairs of the training data sets in their original folders."""

import logging
from pathlib import Path

from monai_s3im.errors import InputError
from monai_s3im.formats.paths import isdir, isfile
from monai_s3im.modalities import known_modality

from .lists import Pair, inside, match_folders, read_pairs, uniquely_named
from .rows import SECTIONS

_SECTION_FOLDERS = {"training": "train", "validation": "val", "test": "test"}
_HARVARD_DATALIST = "datalist_CT+SPECT-MRI.json"
_HARVARD_DEFAULT = ("CT-MRI", "SPECT-MRI")
_FOLDERS_A_B = (
    ("MRI", "CT"),
    ("MRI", "SPECT"),
    ("MRI", "PET"),
    ("vi", "ir"),
    ("crop_LR_visible", "cropinfrared"),
)
_KNOWN = (
    "a MONAI datalist (datalist.json), the Harvard layout ({CT,SPECT,PET}-MRI/{train,val,test}/{MRI,CT|SPECT|PET}) or "
    "a RoadScene layout ({train,val,test}/{vi,ir}, {vi,ir} or {crop_LR_visible,cropinfrared})"
)

logger = logging.getLogger(__name__)


def dataset_pairs(dataset_dir: str | Path, section: str, datalist: str | None = None) -> list[Pair]:
    """The pairs of one section of a data set, with image_a the MR or visible image.

    The first of these that exists is used:
        1. the given `datalist`,
        2. `datalist.json`,
        3. the Harvard collection: `datalist_CT+SPECT-MRI.json`, or the folders CT-MRI and SPECT-MRI, the two that the
           paper trains on (PET-MRI if it is the only one, or is the `dataset_dir`),
        4. the only `datalist*.json`,
        5. one set of Harvard, or RoadScene, by its folders. Without a `train` folder, all pairs are for training.

    Args:
        dataset_dir: the folder of the data set.
        section: 'training', 'validation' or 'test'.
        datalist: file name in `dataset_dir`, or a path; a list given this way may name files anywhere, a list found in
            the folder only files in `dataset_dir`.

    Raises:
        InputError: the folder is missing, empty or in an unknown layout, lacks the section, or has several datalists
            without precedence; or a datalist cannot be read, or one found in the folder leads out of it.
    """
    folder = Path(dataset_dir)
    if section not in SECTIONS:
        raise InputError(f"unknown section '{section}': use one of {', '.join(SECTIONS)}")
    if not isdir(folder):
        raise InputError(f"{folder} is not a folder: give the folder of {_KNOWN}")
    if datalist:
        return read_pairs(folder / datalist, section)
    for name in ("datalist.json", _HARVARD_DATALIST):
        if isfile(folder / name):
            return inside(folder, folder / name, read_pairs(folder / name, section))
    for names in (_HARVARD_DEFAULT, ("PET-MRI",)):
        if sets := [folder / name for name in names if isdir(folder / name)]:
            return uniquely_named([pair for one_set in sets for pair in _section_pairs(one_set, section)])
    datalists = sorted(file.name for file in folder.glob("datalist*.json"))
    if len(datalists) > 1:
        raise InputError(f"{folder} has several datalists: choose one of {', '.join(datalists)}")
    if datalists:
        return inside(folder, folder / datalists[0], read_pairs(folder / datalists[0], section))
    return _section_pairs(folder, section)


def _section_pairs(folder: Path, section: str) -> list[Pair]:
    present = {name: folder / sub for name, sub in _SECTION_FOLDERS.items() if isdir(folder / sub)}
    if not present and _two_folders(folder):
        present = {"training": folder}
    if not present:
        raise InputError(f"{folder} is empty or in an unknown layout: give the folder of {_KNOWN}")
    if section not in present:
        raise InputError(
            f"{folder} has no {section} pairs, only {', '.join(present)}: move some subjects to a folder "
            f"'{_SECTION_FOLDERS[section]}', or list them in a datalist.json"
        )
    folders = _two_folders(present[section])
    if folders is None:
        raise InputError(f"{present[section]} is in an unknown layout: give the folder of {_KNOWN}")
    modalities = [known_modality(sub.name) for sub in folders]
    pairs, unpaired = match_folders(*folders, *(found.name if found else None for found in modalities))
    if unpaired:
        logger.warning("left out of %s, without a partner: %s", present[section], ", ".join(f.name for f in unpaired))
    return pairs


def _two_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of image_a and image_b, by names in any case."""
    there = {sub.name.lower(): sub for sub in folder.iterdir() if isdir(sub)}
    found = [(a.lower(), b.lower()) for a, b in _FOLDERS_A_B if a.lower() in there and b.lower() in there]
    return (there[found[0][0]], there[found[0][1]]) if len(found) == 1 else None
