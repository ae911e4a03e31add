"""The cases, the intact files to damage, and the damage that applies to every format."""

import functools
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dicom_samples import series_of, write_slices
from PIL import Image
from sample_images import write_volume

from monai_s3im.phantom import head_phantom

SHAPE, SPACING_MM = (22, 26, 9), (8.0, 7.0, 12.0)
VOLUME_FORMATS = {
    "nifti": "x.nii",
    "nifti_gz": "x.nii.gz",
    "nrrd": "x.nrrd",
    "nrrd_detached": "x.nhdr",
    "metaimage": "x.mha",
    "metaimage_detached": "x.mhd",
}
PICTURE_FORMATS = {"png": "x.png", "jpeg": "x.jpg", "tiff": "x.tif", "bmp": "x.bmp"}


@dataclass(frozen=True)
class Case:
    """A damaged input.

    Attributes:
        format: a key of the counts.
        damage: what was done.
        main: the file or folder that is given to the program.
        files: their bytes by path relative to the folder of the case.
    """

    format: str
    damage: str
    main: str
    files: dict[str, bytes] = field(repr=False)

    def write(self, folder: Path) -> Path:
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return folder / self.main


@functools.cache
def phantom():
    """Modality -> array (X, Y, Z) of a coarse head, and its affine."""
    volumes = head_phantom(SHAPE, SPACING_MM, oblique_deg=10).volumes
    arrays = {name: volumes[name][0].numpy() for name in ("t1", "ct")}
    return {name: np.rint(array).astype(np.int16) for name, array in arrays.items()}, np.asarray(volumes["t1"].affine)


def picture_of(name: str) -> np.ndarray:
    """A slice of the phantom, 8 bit."""
    plane = phantom()[0][name][..., 4].T.astype(float)
    return np.rint(255 * (plane - plane.min()) / np.ptp(plane)).astype(np.uint8)


@functools.cache
def intact(format_: str, name: str = "ct") -> dict[str, bytes]:
    """The files of an intact image, by path."""
    arrays, affine = phantom()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if format_ == "dicom":
            slices = series_of(arrays[name].transpose(2, 1, 0)[:4], step=12.0, spacing=(7.0, 8.0))
            for index, image in enumerate(slices):
                image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{index}"
            write_slices(folder / "series", slices)
        elif format_ in PICTURE_FORMATS:
            pixels = picture_of(name)
            Image.fromarray(pixels).save(folder / PICTURE_FORMATS[format_])
        else:
            write_volume(folder / VOLUME_FORMATS[format_], array=arrays[name], affine=affine)
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def with_bits_flipped(content: bytes, random: np.random.Generator, count: int, within: int | None = None) -> bytes:
    """Flip bits at random, in the first `within` bytes."""
    damaged = bytearray(content)
    for position in random.integers(0, min(within or len(damaged), len(damaged)), count):
        damaged[position] ^= 1 << int(random.integers(0, 8))
    return bytes(damaged)


def gzipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0, compresslevel=6) as file:
        file.write(content)
    return stream.getvalue()


def zeros_deflated(mebibytes: int, head: bytes = b"") -> bytes:
    """A raw deflate stream of `head` and then zeros: about 1 KiB for each MiB, made at once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * mebibytes + packer.flush(zlib.Z_FINISH)


def gzip_bomb(mebibytes: int, head: bytes = b"") -> bytes:
    """A gzip file of `head` and zeros; its check sum is wrong, which only he who reads to the end can see."""
    return b"\x1f\x8b\x08\x00\0\0\0\0\x02\xff" + zeros_deflated(mebibytes, head) + bytes(8)


def truncated(format_: str, main: str, files: dict[str, bytes], borders: Iterator[tuple[str, int]]) -> Iterator[Case]:
    """The main file cut at each border, and one byte before."""
    for name, length in borders:
        for cut in {length, max(length - 1, 0)}:
            yield Case(format_, f"truncated at {name} ({cut})", main, {**files, main: files[main][:cut]})


def edited(format_: str, main: str, damage: str, content: bytes, others: dict[str, bytes] | None = None) -> Case:
    return Case(format_, damage, main, {**(others or {}), main: content})


def random_damage(random: np.random.Generator) -> Iterator[Case]:
    """Without end: a random image format, and random bits, bytes, cuts or repeats in it."""
    formats = [*VOLUME_FORMATS, *PICTURE_FORMATS, "dicom"]
    while True:
        format_ = formats[random.integers(len(formats))]
        files = dict(intact(format_, "t1" if random.integers(2) else "ct"))
        names = sorted(files)
        target = names[random.integers(len(names))]
        main = {**VOLUME_FORMATS, **PICTURE_FORMATS, "dicom": "series"}[format_]
        content, kind = files[target], int(random.integers(6))
        if kind == 0:
            content = with_bits_flipped(content, random, int(random.integers(1, 4)), within=512)
        elif kind == 1:
            content = with_bits_flipped(content, random, int(random.integers(1, 30)))
        elif kind == 2:
            content = content[: random.integers(len(content) + 1)]
        elif kind == 3:
            start, stop = sorted(random.integers(0, len(content), 2))
            content = content[:start] + random.bytes(int(min(stop - start, 64))) + content[stop:]
        elif kind == 4:
            start, stop = sorted(random.integers(0, len(content), 2))
            content = content[:stop] + content[start:]
        else:
            start = int(random.integers(0, min(len(content), 600)))
            content = content[:start] + random.bytes(int(random.integers(1, 9))) + content[start + 4 :]
        kinds = ("bits of the header", "bits", "a cut", "a stretch replaced", "a stretch repeated", "header bytes")
        yield Case(format_, f"random: {kinds[kind]} of {target}", main, {**files, target: content})
