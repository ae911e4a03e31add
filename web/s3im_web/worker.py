"""The process that reads images and fuses them: ``python -m s3im_web.worker``.

A request is a line of JSON with a ``command``. Replies are lines with an ``event``: ``"progress"``, then ``"done"`` or
``"error"``. The process ends when its stdin closes.
"""

import contextlib
import gzip
import json
import logging
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from torch.nn.functional import interpolate

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.dicom.catalogue import catalogue_of
from monai_s3im.formats.dicom.series import is_series
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import write_image, write_transform
from monai_s3im.modalities import CT_WINDOWS, MODALITIES
from monai_s3im.phantom import head_phantom
from monai_s3im.pipeline import Fuser
from monai_s3im.record import FusionRecord
from monai_s3im.settings import FusionSettings
from monai_s3im.transforms import NormalizeModality, Register, colors_of
from monai_s3im.transforms.color_map import colors_by
from monai_s3im.transforms.movement import ras_to_lps

from .files import FileError, check_volume, find_volumes, unpack, without_upload

Send = Callable[..., None]
MOST_VOXELS = 24_000_000
"""Limit for display; a larger volume is shown in larger voxels, and fused at full size."""

_RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_SUV_RANGES = (("SUV 0 to 5", 0, 5), ("SUV 0 to 7", 0, 7), ("SUV 0 to 10", 0, 10), ("SUV 0 to 20", 0, 20))


def find(_: Send, folder: str, max_bytes: int) -> dict[str, Any]:
    """Unpack archives in an uploaded folder, and list its volumes and DICOM series."""
    root = Path(folder)
    unpack(root, max_bytes)
    with _sentences_without(str(root.parent)):
        return _found_below(root)


def _found_below(root: Path) -> dict[str, Any]:
    found = [{"path": str(path), "name": path.name, "kind": "file", "detail": ""} for path in find_volumes(root)]
    problems = []
    if any(is_series(path) for path in (root, *(each for each in root.rglob("*") if each.is_file()))):
        for entry in catalogue_of(root):
            if entry.size.startswith("cannot be used"):
                problems.append(_without_root(f"{entry.description or 'a series'} {entry.size}", str(root.parent)))
                continue
            if entry.size.endswith(" volumes"):
                continue  # each volume has its own entry
            name = entry.description or f"series {entry.name.rpartition('#')[2]}"
            found.append(
                {"path": entry.name, "name": name, "kind": "dicom", "detail": f"{entry.modality} {entry.size}"}
            )
    if not found and not problems:
        raise FileError(
            "There is no volume among these files: choose NIfTI (.nii, .nii.gz) or NRRD files, a DICOM folder, or a "
            "ZIP archive of these"
        )
    if not found:
        raise FileError("; ".join(problems))
    return {"found": found, "problems": problems}


def open_volume(
    _: Send, path: str, output: str, max_bytes: int, modality: str | None, root: str, partner: str | None
) -> dict[str, Any]:
    """Read a source as ``s3im fuse`` does, and write the volume for display."""
    is_dicom = is_series(path)
    remarks = [] if is_dicom else check_volume(Path(path), max_bytes)
    with _sentences_without(root):
        image = read_image(path, max_bytes * 4 / 2**30)
        if image.ndim != 4:
            raise FileError(f"{Path(path).name} is a picture: use s3im fuse, this page takes volumes only")
        normal = NormalizeModality(modality)(image, partner=partner)
    meta = normal.meta
    low, high = (float(end) for end in meta["intensity_range"])
    unit, factor = meta.get("unit"), 1.0
    if image.meta.get("suv_factor"):
        unit, factor = "SUV", float(image.meta["suv_factor"])
    shown, is_reduced = _small_enough(image)
    _write_shown(shown, Path(output), factor)
    size = " x ".join(str(extent) for extent in image.shape[1:])
    voxel = " x ".join(f"{length:.3g}" for length in np.linalg.norm(image.affine.cpu().numpy()[:3, :3], axis=0))
    name = meta["modality"]
    return {
        "modality": name,
        "label": MODALITIES[name].label,
        "isGuessed": bool(meta["modality_guessed"]),
        "low": low * factor,
        "high": high * factor,
        "unit": unit,
        "hasSuv": factor != 1.0,
        "isColor": image.shape[0] == 3,
        "isUptake": MODALITIES[name].color_map is not None and image.shape[0] == 1,
        "presets": _presets(name, unit),
        "colors": _ramp(name),
        "detail": f"{size} voxels of {voxel} mm" + (", shown in larger voxels" if is_reduced else ""),
        "remarks": [without_upload(sentence) for sentence in dict.fromkeys([*remarks, *meta.get("warnings", ())])],
        "isDicom": is_dicom,
    }


def _presets(modality: str, unit: str | None) -> list[list[Any]]:
    if modality == "ct" and unit == "HU":
        names = [name for name in CT_WINDOWS if "+" not in name]
        return [[name.replace("_", " "), *CT_WINDOWS[name]] for name in names] + [["lung", -1350.0, 150.0]]
    return [list(each) for each in _SUV_RANGES] if unit == "SUV" else []


def _ramp(modality: str) -> list[list[int]] | None:
    """The colours in which the page shows a source of this modality; None: gray."""
    if MODALITIES[modality].color_map is None:
        return None
    table = colors_by(MODALITIES[modality].color_map, "lab").table
    colors = colors_of(torch.linspace(0, 1, 256)[None, None], table)[:, 0].T
    return (255 * colors.clamp(0, 1)).round().int().tolist()


def _small_enough(image: MetaTensor) -> tuple[MetaTensor, bool]:
    """The same field of view in at most :data:`MOST_VOXELS` voxels, and whether it was reduced."""
    voxels = image[0].numel()
    if voxels <= MOST_VOXELS:
        return image, False
    ratio = (voxels / MOST_VOXELS) ** (1 / 3)
    shape = [max(1, int(extent / ratio)) for extent in image.shape[1:]]
    content = interpolate(image.as_tensor().nan_to_num(0)[None].float(), size=shape, mode="area")[0]
    scale = torch.tensor(image.shape[1:]).double() / torch.tensor(shape)
    to_old = torch.diag(torch.cat([scale, torch.ones(1)])).double()
    to_old[:3, 3] = (scale - 1) / 2
    return MetaTensor(content, affine=image.affine.double() @ to_old), True


def _write_shown(image: MetaTensor, path: Path, factor: float = 1.0) -> None:
    """Write a gzipped NIfTI: RGB24, or 16 bits from the smallest to the largest value."""
    array = image.as_tensor().cpu().numpy()
    if len(array) == 3:
        levels = np.moveaxis(array / image.meta.get("value_range", 1.0), 0, -1).clip(0, 1)
        shown = nib.Nifti1Image(
            np.ascontiguousarray(np.rint(255 * levels).astype(np.uint8)).view(_RGB24)[..., 0], image.affine.numpy()
        )
    else:
        values = np.nan_to_num(array[0].astype(np.float64) * factor, nan=float(np.nanmin(array)) * factor)
        lower, upper = float(values.min()), float(values.max())
        is_whole = lower >= -32768 and upper <= 32767 and np.array_equal(values, np.rint(values))
        slope, inter = (1.0, 0.0) if is_whole else ((upper - lower) / 65535 or 1.0, (upper + lower) / 2)
        stored = np.rint((values - inter) / slope).clip(-32768, 32767).astype(np.int16)
        shown = nib.Nifti1Image(stored, image.affine.cpu().numpy())
        shown.header.set_slope_inter(slope, inter)
    shown.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(shown.to_bytes(), 1, mtime=0))


def fuse(
    send: Send,
    paths: list[str],
    modalities: list[str | None],
    settings: dict[str, Any],
    movement: list[list[float]] | None,
    output: str,
    root: str,
    **_: Any,
) -> dict[str, Any]:
    """Fuse two sources; write the result, its record and the volume for display to the folder ``output``."""
    folder = Path(output)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fused = folder / "fused.nii.gz"
    with _sentences_without(root):
        options = dict(settings)
        if movement is not None:
            options["transform"] = folder / "registration.tfm"
            write_transform(ras_to_lps(np.array(movement)), options["transform"])
        chosen = _settings(options)
        result = Fuser(chosen, progress=_steps(send))(*paths, fused, *modalities)
        write_image(result, folder / "fused.nrrd")
        del result
        record = FusionRecord.read(fused)
        image = read_image(fused)
    shown, _ = _small_enough(image)
    _write_shown(shown, folder / "shown.nii.gz")
    bar = record.color_bar
    sources = [record.sources[key] for key in ("image_a", "image_b")]
    return {
        "warnings": [without_upload(text) for text in record.warnings],
        "ranges": [source.intensity_range for source in sources],
        "units": [source.unit for source in sources],
        "isColor": image.shape[0] == 3,
        "bar": None if bar is None else {"colors": bar.colors, "barEnds": bar.range, "barUnit": bar.unit},
    }


def register(
    send: Send, paths: list[str], modalities: list[str | None], kind: str, root: str, **_: Any
) -> dict[str, Any]:
    """Register B to A; the 4 x 4 matrix maps A's points to B's, in RAS mm."""
    with _sentences_without(root):
        send("progress", stage="reading", done=0, total=0)
        a, b = (NormalizeModality(modality)(read_image(path)) for path, modality in zip(paths, modalities, strict=True))
        send("progress", stage="registering", done=0, total=0)
        found = Register(kind)(b, a).meta["registration"]
    return {
        "matrix": ras_to_lps(np.array(found["matrix_lps"])).tolist(),
        "information": found["mutual_information"],
        "faults": [f"A and B {fault}: look at them before you accept" for fault in found["faults"]],
    }


def export(
    send: Send,
    fused: str,
    output: str,
    root: str,
    paths: list[str],
    modalities: list[str | None],
    settings: dict[str, Any],
    **_: Any,
) -> dict[str, Any]:
    """Fuse again with the same transform, and write the result as a DICOM series in a ZIP archive."""
    target = Path(output)
    with _sentences_without(root):
        options = dict(settings)
        transform = Path(fused).with_name("registration.tfm")
        if transform.is_file():
            options["transform"] = transform
        series = target.with_suffix("")
        Fuser(_settings({**options, "dicom": True}), progress=_steps(send))(*paths, series, *modalities)
    unfinished = target.with_suffix(".part")  # left by a job that is cancelled here
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(series.iterdir()):
            archive.write(file, f"fused/{file.name}")
    unfinished.replace(target)
    shutil.rmtree(series)
    return {}


def sample(send: Send, output: str) -> dict[str, Any]:
    """Write T1 and PET volumes of the head phantom."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    send("progress", stage="making the sample", done=0, total=0)
    volumes = head_phantom((112, 136, 96), (1.7, 1.7, 2.0)).volumes
    for name in ("t1", "pet"):
        voxels = volumes[name].as_tensor().numpy()[0].astype(np.float32)
        nib.save(nib.Nifti1Image(voxels, volumes[name].affine.numpy()), folder / f"sample_{name}.nii.gz")
    return {}


def warm(_: Send) -> dict[str, Any]:
    """Do nothing: starting the process has imported the libraries."""
    return {}


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "find": find,
    "open": open_volume,
    "fuse": fuse,
    "register": register,
    "export": export,
    "sample": sample,
    "warm": warm,
}


def _settings(options: dict[str, Any]) -> FusionSettings:
    names = {option.name for option in fields(FusionSettings)}
    return FusionSettings(**{name: value for name, value in options.items() if name in names})


def _steps(send: Send) -> Callable[[str, int, int], None]:
    return lambda stage, done, total: send("progress", stage=stage, done=done, total=total)


@contextlib.contextmanager
def _sentences_without(root: str) -> Any:
    """Remove the server's folders from error messages, so that they name files as the user knows them."""
    try:
        yield
    except (InputError, OutputError) as error:
        raise FileError(_without_root(str(error), root)) from error


def _without_root(sentence: str, root: str) -> str:
    """A message without the folders of the session and its uploads."""
    for folder in sorted((path for path in Path(root).glob("*") if path.is_dir()), key=lambda path: -len(str(path))):
        sentence = sentence.replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)
    return without_upload(sentence.replace(f"{root}{os.sep}", ""))


def main() -> None:
    """Answer requests until stdin closes."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries may print

    def send(event: str, **content: Any) -> None:
        stream.write(json.dumps({"event": event, **content}) + "\n")
        stream.flush()

    logging.basicConfig(level=logging.WARNING)
    for line in sys.stdin:
        request = json.loads(line)
        action = partial(COMMANDS[request.pop("command")], send)
        try:
            send("done", **action(**request))
        except (FileError, InputError, OutputError) as error:
            send("error", message=str(error))
        except MemoryError:
            send("error", message="The volume does not fit into the server's memory: crop or resample it")
        except Exception as error:
            logging.getLogger(__name__).exception("a job failed")
            send("error", message=f"Unexpected {type(error).__name__}: see the documentation on how to report it")


if __name__ == "__main__":
    main()
