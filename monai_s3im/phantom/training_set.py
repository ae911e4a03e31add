"""The head phantom on disk: slices to train on as a MONAI datalist, and volumes to fuse as a list of pairs."""

import csv
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from torch import Tensor
from torch.nn import functional as F

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.atomic import temporary_folder
from monai_s3im.formats.paths import exists, isdir
from monai_s3im.formats.writing import put_in_place, write_image, write_json
from monai_s3im.functional import intensity_range
from monai_s3im.modalities import FUNCTIONAL, MODALITIES

from .imaging import HeadPhantom, head_phantom

MARKER = "phantom.json"
EDITION = 2  # raise it when the same arguments give different pictures
PICTURE = 256
SLICE_GRID = (192, 192, 30)
SLICE_SPACING_MM = (1.2, 1.2, 3.0)
SLICE_MARGIN = 4  # slices left out at either end, into which SPECT is blurred
VOLUMES_WORK = 6  # cost of the volumes, in heads of slices
PARTNERS = ("ct", "spect")  # of T1, alternating by slice
_COLORS_OF_PICTURES = "afmhot"  # of matplotlib; pseudo-colour as in the atlas of the paper
SLICE_MODALITIES = {"t1": "mr", "ct": "ct", "spect": "spect"}  # volume: modality
COARSE_GRIDS = {"pet": ((54, 60, 34), 3.2), "spect": ((44, 50, 26), 4.0)}  # size, spacing in mm: smaller than the head


def write_phantom(
    folder: str | Path,
    subjects: int = 8,
    slices_per_subject: int = 6,
    seed: int = 0,
    volumes: bool = False,
    progress: Callable[[str, float], None] = lambda *_: None,
) -> Path:
    """Writes slices of several phantoms in the MONAI (Decathlon) datalist form, under 1 s per subject on one core.

    Pictures are PNG, 256 x 256 pixels of 0.9 mm, 8 bit, front up and the patient's right on the left. CT has the brain
    window, SPECT is RGB in the colours of its modality. Subjects in `validation` (the last quarter) are not in
    `training`. A folder that already has the same phantom is left unchanged.

    Args:
        folder: The folder to write: new, empty, or written by this function before.
        subjects: Number of heads, 2 or more.
        slices_per_subject: Axial slices of each, 1 to 22.
        seed: Of the whole set, 0 or more.
        volumes: Also write CT, T1, T2, SPECT and PET of the first subject as NIfTI, with `volumes/pairs.csv`. SPECT and
            PET have coarser grids that cover less than the head.
        progress: Called before each step with its name and the fraction done, 0 to 1.

    Returns:
        The path of `datalist.json`.

    Raises:
        InputError: An argument out of range, or a folder with other content.
        OutputError: The folder cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    most = SLICE_GRID[2] - 2 * SLICE_MARGIN
    if subjects < 2 or not 1 <= slices_per_subject <= most or seed < 0:
        raise InputError(
            f"{subjects} subjects of {slices_per_subject} slices with seed {seed} cannot be written to {folder}: "
            f"give 2 subjects or more, 1 to {most} slices and a seed of 0 or more"
        )
    made_of = {
        "phantom": EDITION,
        "subjects": subjects,
        "slices_per_subject": slices_per_subject,
        "seed": seed,
        "volumes": volumes,
    }
    if _holds(folder, made_of):
        return folder / "datalist.json"
    try:
        place = folder.absolute()  # "." has no name
        with temporary_folder(place) as temporary:
            new = temporary / place.name
            whole = subjects + VOLUMES_WORK * volumes
            _write_set(new, subjects, slices_per_subject, seed, lambda text, done: progress(text, done / whole))
            if volumes:
                progress("making a head in CT, T1, T2, SPECT and PET", subjects / whole)
                phantom = head_phantom(seed=_subject_seed(seed, 0))
                progress("writing its volumes", (subjects + VOLUMES_WORK / 2) / whole)
                _write_volumes(new / "volumes", phantom)
            write_json(made_of, new / MARKER)
            put_in_place(new, place, MARKER)
    except OutputError:
        raise
    except OSError as error:
        if _holds(folder, made_of):  # another process was faster
            return folder / "datalist.json"
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}): choose a folder that you may write to, with free space"
        ) from error
    return folder / "datalist.json"


def _holds(folder: Path, made_of: dict[str, Any]) -> bool:
    """Whether the phantom already exists.

    Raises:
        InputError: The folder has other content.
    """
    if not exists(folder) or (isdir(folder) and not any(folder.iterdir())):
        return False
    try:
        if json.loads((folder / MARKER).read_text(encoding="utf-8")) in (made_of, made_of | {"volumes": True}):
            return True
    except (OSError, ValueError):
        pass
    raise InputError(f"{folder} holds other files or another phantom: name a new folder or empty this one")


def _subject_seed(seed: int, subject: int) -> int:
    return seed * 1000 + subject


def _write_set(
    folder: Path, subjects: int, slices_per_subject: int, seed: int, progress: Callable[[str, float], None]
) -> None:
    for name in ("T1", *(partner.upper() for partner in PARTNERS)):
        (folder / name).mkdir(parents=True)
    sections: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    first_validation = subjects - max(1, subjects // 4)
    with ThreadPoolExecutor(2) as pool:  # much of a head is computed on one core
        heads = pool.map(lambda subject: _head_of_slices(_subject_seed(seed, subject)), range(subjects))
        for subject in range(subjects):
            progress(f"slices of head {subject + 1} of {subjects}", subject)
            section = "training" if subject < first_validation else "validation"
            sections[section] += _write_slices(folder, next(heads), f"s{subject:02}", slices_per_subject)
    description = "Slices of seeded head phantoms, made by monai_s3im: no patient data."
    write_json({"name": "S3IMFusion head phantom", "description": description, **sections}, folder / "datalist.json")


def _head_of_slices(seed: int) -> HeadPhantom:
    return head_phantom(SLICE_GRID, SLICE_SPACING_MM, seed, modalities=tuple(SLICE_MODALITIES))


def _write_slices(folder: Path, phantom: HeadPhantom, case: str, count: int) -> list[dict[str, str]]:
    bright = {modality: _unit_range(phantom.volumes[name], modality) for name, modality in SLICE_MODALITIES.items()}
    items = []
    heights = np.linspace(SLICE_MARGIN, SLICE_GRID[2] - 1 - SLICE_MARGIN, count).round().astype(int)
    for turn, z in enumerate(heights):
        partner = PARTNERS[turn % len(PARTNERS)]
        name = f"{case}_z{z:03}"
        item = {
            "name": name,
            "image_a": f"T1/{name}.png",
            "image_b": f"{partner.upper()}/{name}.png",
            "modality_a": "mr",
            "modality_b": partner,
            "case": case,
        }
        for image in "ab":
            modality = item[f"modality_{image}"]
            write_image(_picture(bright[modality][..., z], modality), folder / item[f"image_{image}"])
        items.append(item)
    return items


def _unit_range(volume: Tensor, modality: str) -> Tensor:
    lower, upper = intensity_range(volume, MODALITIES[modality])
    return ((torch.as_tensor(volume) - lower) / (upper - lower)).clamp_(0, 1)


def _picture(plane: Tensor, modality: str) -> Tensor:
    """One axial slice (1, X, Y) as a picture (1 or 3, 256, 256) in radiological orientation."""
    plane = plane.flip(1, 2).transpose(1, 2)  # (1, Y, X): rows from front to back, columns from right to left
    picture = F.interpolate(plane[None], (PICTURE, PICTURE), mode="bicubic", antialias=True)[0].clamp(0, 1)
    if modality not in FUNCTIONAL:
        return picture
    return torch.as_tensor(mpl.colormaps[_COLORS_OF_PICTURES](picture[0].numpy())[..., :3]).float().permute(2, 0, 1)


def _write_volumes(folder: Path, phantom: HeadPhantom) -> None:
    folder.mkdir()
    for name in ("ct", "t1", "t2", "spect", "pet"):
        volume = phantom.volumes[name]
        if name in COARSE_GRIDS:
            volume = _on_coarse_grid(volume, *COARSE_GRIDS[name])
        header = nibabel.Nifti1Header()
        header.set_xyzt_units("mm")
        image = nibabel.Nifti1Image(volume[0].numpy(), np.asarray(volume.affine), header)
        nibabel.save(image, folder / f"{name}.nii.gz")
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "image_a", "image_b", "modality_a", "modality_b"])
        rows.writerows([f"t1_{b}", "t1.nii.gz", f"{b}.nii.gz", "mr", b] for b in ("ct", "spect", "pet"))


def _on_coarse_grid(volume: MetaTensor, size: tuple[int, int, int], spacing_mm: float) -> MetaTensor:
    fine = np.asarray(volume.affine)
    centre = fine @ [*((np.asarray(volume.shape[1:]) - 1) / 2), 1]
    coarse = np.diag([spacing_mm] * 3 + [1.0])
    coarse[:3, 3] = centre[:3] - spacing_mm * (np.asarray(size) - 1) / 2
    resampled: MetaTensor = SpatialResample(mode="bilinear", align_corners=True)(volume, coarse, size)
    return resampled
