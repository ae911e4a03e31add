"""Write fused images and reports: a file is either complete or missing."""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from monai_s3im.errors import InputError
from monai_s3im.formats.dicom.series import is_series, series_files

from .atomic import write_file
from .paths import frame_of, isdir, suffix_of
from .quiet import quiet_stderr
from .reading import LPS_TO_RAS, stem_of

OUTPUT_SUFFIXES = (".png", ".nii.gz", ".nii", ".nrrd", ".mha")

_RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_ALIGNED = 2


def write_image(image: torch.Tensor, path: str | Path, affine: ArrayLike | None = None) -> None:
    """Write a fused image in the format of the suffix.

    | suffix          | one channel      | RGB                     |
    |-----------------|------------------|-------------------------|
    | .png            | 8 bit, round(255 x) | 8 bit, round(255 x)  |
    | .nii .nii.gz    | float32          | RGB24, round(255 x)     |
    | .nrrd .mha      | float32          | uint8 vector, round(255 x) |

    The same input gives the same bytes on every run: no time stamp is written.

    Args:
        image: (1 or 3, H, W) for .png, (1 or 3, X, Y, Z) for a volume; values in [0, 1].
        path: the file to write or to replace; its folder exists.
        affine: 4 x 4, voxel index -> RAS mm; None: that of `image` if it is a MetaTensor, else identity.

    Raises:
        InputError: the suffix is none of `OUTPUT_SUFFIXES` (.jpg loses detail), or does not fit a 2D or 3D image.
        ValueError: `image` has another number of channels or values outside [0, 1], or `affine` is not 4 x 4.
        OutputError: the file cannot be written; nothing is left behind, and an existing file is unchanged.
    """
    path = Path(path)
    suffix = output_suffix(path, rank=image.ndim - 1)
    if affine is None:
        affine = image.affine if isinstance(image, MetaTensor) else np.eye(4)
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"affine must be 4 x 4, got {matrix.shape}")
    array = unit_range(image)
    if suffix == ".png":
        write_bytes(_png(array), path)
    elif suffix in {".nii", ".nii.gz"}:
        _write_beside(path, lambda temporary: _write_nifti(array, matrix, temporary))
    else:
        _write_beside(path, lambda temporary: _write_itk(array, matrix, temporary))


def write_json(data: Any, path: str | Path) -> None:
    """Write `data` as indented UTF-8 JSON, complete or not at all.

    Raises:
        TypeError, ValueError: `data` holds values that JSON cannot, such as NaN; nothing is written.
        OutputError: the file cannot be written; nothing is left behind.
    """
    write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


def write_text(text: str, path: str | Path) -> None:
    """Write `text` as UTF-8, complete or not at all; undecodable bytes of file names are escaped.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    write_bytes(text.encode(errors="backslashreplace"), path)


def write_transform(matrix: ArrayLike, path: str | Path) -> None:
    """Write a linear transform as ITK text (.tfm), as Slicer and SimpleITK read it, complete or not at all.

    Args:
        matrix: 4 x 4, LPS mm, from points of the reference to points of the moved image.
        path: the file to write or to replace; its folder exists.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    array = np.asarray(matrix, dtype=np.float64)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(array[:3, :3].ravel().tolist())
    transform.SetTranslation(array[:3, 3].tolist())

    def write(temporary: Path) -> None:
        try:
            sitk.WriteTransform(transform, str(temporary))
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error)) from error

    _write_beside(Path(path), write)


def sha256_of(path: str | Path) -> str:
    """The SHA256 of a file's bytes, in hexadecimal.

    For one frame of a 4D file, it is that of the whole file. For a DICOM series, it is that of the sorted lines of its
    files' SHA256, and so does not depend on file names.

    Raises:
        InputError: the file cannot be read.
    """
    if is_series(path):
        lines = sorted(f"{_sha256_of_file(file)}\n" for file in series_files(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return _sha256_of_file(frame_of(path)[0])


def _sha256_of_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error


def output_suffix(path: Path, rank: int) -> str:
    """The suffix of an output of 2 or 3 dimensions.

    Raises:
        InputError: it is none of `OUTPUT_SUFFIXES`, or does not fit the rank.
    """
    suffix = suffix_of(path)
    if suffix in {".jpg", ".jpeg"}:
        raise InputError(f"{path} would lose detail as JPEG: name it {stem_of(path)}.png")
    if path.suffix.lower() in {".dcm", ".ima"}:
        raise InputError(f"{path} would be one DICOM file: add --dicom (dicom=True) and name a folder for the series")
    if suffix not in OUTPUT_SUFFIXES:
        raise InputError(f"{path} has no suffix of an output format: use one of {' '.join(OUTPUT_SUFFIXES)}")
    if rank not in {2, 3}:
        raise ValueError(f"image must be (C, H, W) or (C, X, Y, Z), got {rank + 1} axes")
    if (suffix == ".png") != (rank == 2):
        fitting = ".png" if rank == 2 else " ".join(OUTPUT_SUFFIXES[1:])
        raise InputError(f"{path} cannot hold a {rank}D image: use {fitting}")
    return suffix


def unit_range(image: torch.Tensor) -> NDArray[np.float32]:
    """The values of an image as float32, checked to lie in [0, 1].

    Raises:
        ValueError: `image` has another number of channels than 1 or 3, or values outside [0, 1].
    """
    if image.shape[0] not in {1, 3}:
        raise ValueError(f"image must have 1 or 3 channels, got {image.shape[0]}")
    array: NDArray[np.float32] = torch.as_tensor(image).detach().to("cpu", torch.float32).numpy()
    if not (array.min() >= -1e-6 and array.max() <= 1 + 1e-6):
        raise ValueError(f"image must lie in [0, 1], got {array.min()} to {array.max()}")
    return array if array.min() >= 0 and array.max() <= 1 else array.clip(0.0, 1.0)


def _to_uint8(array: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Channels last, round(255 x)."""
    pixels = np.empty((*array.shape[1:], array.shape[0]), dtype=np.uint8)
    for index in range(array.shape[1]):  # row by row, to avoid another float copy of a volume
        pixels[index] = np.moveaxis(np.rint(255 * array[:, index]), 0, -1)
    return pixels


def _png(array: NDArray[np.float32]) -> bytes:
    pixels = _to_uint8(array)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if array.shape[0] == 1 else pixels).save(stream, format="PNG")
    return stream.getvalue()


def _write_nifti(array: NDArray[np.float32], affine: NDArray[np.float64], path: Path) -> None:
    voxels = array[0] if array.shape[0] == 1 else _to_uint8(array).view(_RGB24)[..., 0]
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=_ALIGNED)
    image.set_qform(affine, code=_ALIGNED)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        image.set_qform(affine, code=0)  # sheared axes do not fit a quaternion, so only the sform is valid
    image.header.set_xyzt_units("mm")
    with path.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
                image.to_stream(compressed)
        else:
            image.to_stream(file)


def _write_itk(array: NDArray[np.float32], affine: NDArray[np.float64], path: Path) -> None:
    is_rgb = array.shape[0] == 3
    voxels = _to_uint8(array).transpose(2, 1, 0, 3) if is_rgb else array[0].T
    image = sitk.GetImageFromArray(voxels, isVector=is_rgb)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        with quiet_stderr():
            sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        is_full = shutil.disk_usage(path.parent).free < voxels.nbytes
        raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write a temporary file next to it, then rename.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    _write_beside(Path(path), lambda temporary: temporary.write_bytes(content))


def put_in_place(new: Path, folder: Path, last: str) -> None:
    """Rename a new folder to a path that is empty or missing.

    The working folder and links are kept and get the content instead, with the file ``last`` at the end.

    Raises:
        OSError: the folder cannot be written, or is not empty.
    """
    if folder.is_symlink() or (isdir(folder) and folder.samefile(".")):
        for child in sorted(new.iterdir(), key=lambda child: (child.name == last, child.name)):
            shutil.move(child, folder / child.name)
        return
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()
    new.replace(folder)


def _write_beside(path: Path, write: Callable[[Path], object]) -> None:
    write_file(path, write, suffix_of(path) or path.suffix)
