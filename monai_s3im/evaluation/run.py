"""The whole comparison: fuse, measure, write tables, draw."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import PICTURE_SUFFIXES, isdir, suffix_of
from monai_s3im.formats.reading import read_image
from monai_s3im.modalities import modality_named
from monai_s3im.pipeline import Fuser

from .comparison import TRIVIAL, Comparison, compare, pictures_of
from .pictures import draw_boxes, draw_montage, draw_radar
from .tables import write_tables

OWN = "S3IMFusion"


def run_quality(
    source_a: Path,
    source_b: Path,
    output_dir: Path,
    modality_b: str,
    *,
    modality_a: str | None = None,
    methods: Mapping[str, Path] | None = None,
    peers: Path | None = None,
    task: str | None = None,
    weights: Path | None = None,
    patient: str = r"(.+)\d{3}",
    cases: int = 3,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Compare methods on pairs of pictures and write the results.

    Args:
        source_a: folder of the MR or visible pictures.
        source_b: folder of the second pictures, with the same names.
        output_dir: gets ``quality.md``, ``.tex``, ``.csv``, ``.json``, ``radar.png``, ``boxes.png``, ``montage.png``,
            and, where this network fuses, its fused pictures.
        modality_b: modality of the second sources.
        modality_a: modality of the first sources; both select the weights. None: visible light for infrared, else MR.
        methods: name -> folder of fused pictures, your method first; empty: this network fuses.
        peers: folder with the other methods' folders, ``METHOD`` or ``METHOD/TASK``; those without fused pictures are
            skipped.
        task: the TASK in that path; needed if the peers' folders are divided by task.
        weights: weights of this network; None: those of the pair's task.
        patient: see :func:`compare`.
        cases: rows of the montage.
        progress: called with the name of the current step.

    Returns:
        The Markdown file.

    Raises:
        InputError: an input cannot be read, see :func:`compare`.
        OutputError: an output cannot be written.
    """
    found = dict(methods or {})
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output_dir} cannot be created ({error.strerror}): choose another folder") from error
    if not found:
        if progress is not None:
            progress(OWN)
        found[OWN] = _fuse_all(source_a, source_b, output_dir / OWN, modality_a, modality_b, weights)
    found |= {name: folder for name, folder in peers_of(peers, task).items() if name not in found}
    comparison = compare(found, source_a, source_b, modality_b=modality_b, patient=patient, progress=progress)
    title = f"{task or f'{source_a.name} and {source_b.name}'}: fusion quality"
    table = write_tables(comparison, output_dir, title)[0]
    draw_radar(comparison, output_dir / "radar.png")
    draw_boxes(comparison, output_dir / "boxes.png")
    draw_montage(_shown(comparison, found, source_a, source_b, cases), output_dir / "montage.png")
    return table


def _fuse_all(
    source_a: Path, source_b: Path, folder: Path, modality_a: str | None, modality_b: str, weights: Path | None
) -> Path:
    if modality_a is None:
        modality_a = "visible" if modality_named(modality_b).name in {"visible", "infrared"} else "mr"
    first, second = pictures_of(source_a), pictures_of(source_b)
    fuser = Fuser(gray=True, weights=weights)
    folder.mkdir(exist_ok=True)
    for case in sorted(first.keys() & second.keys()):
        fuser(first[case], second[case], folder / f"{case}.png", modality_a, modality_b)
    return folder


def peers_of(folder: Path | None, task: str | None) -> dict[str, Path]:
    """Method -> folder of its fused pictures, ``METHOD`` or ``METHOD/TASK``; those without pictures are skipped.

    Raises:
        InputError: the folder does not exist, or no method has fused pictures.
    """
    if folder is None:
        return {}
    if not isdir(folder):
        raise InputError(f"{folder} is not a folder: give the folder that holds a folder for each method")
    below = {path.name: path / task if task else path for path in sorted(folder.iterdir()) if isdir(path)}
    found = {
        name: path
        for name, path in below.items()
        if isdir(path) and any(suffix_of(file) in PICTURE_SUFFIXES for file in path.iterdir())
    }
    if not found:
        raise InputError(
            f"{folder} holds no fused pictures of any method: name the task with --task, or another folder"
        )
    return found


def _shown(
    comparison: Comparison, folders: Mapping[str, Path], source_a: Path, source_b: Path, cases: int
) -> dict[str, dict[str, Tensor]]:
    """The pictures of the montage: evenly spread cases, your method first, then the others by mean rank."""
    names = list(comparison.patients)
    chosen = [names[round(i)] for i in torch.linspace(0, len(names) - 1, min(cases, len(names)) + 2)[1:-1].tolist()]
    order = [name for name in sorted(comparison.values, key=comparison.mean_rank) if name not in TRIVIAL]
    own = next(iter(folders))
    columns = {"A": source_a, "B": source_b, own: folders[own], **{n: folders[n] for n in order if n != own}}
    files = {title: pictures_of(folder) for title, folder in columns.items()}
    return {case: {title: _picture(files[title][case]) for title in columns} for case in dict.fromkeys(chosen)}


def _picture(file: Path) -> Tensor:
    image = read_image(file)
    return image.as_tensor() * (255.0 / image.meta["value_range"])
