"""Sample data: a head phantom in MR and CT, made locally without the network or PyTorch.

The head is painted with overlapping ellipsoids, and its cortex folded by smooth noise. Only additions, products,
quotients, square roots and raw generator bits are used, so the files are bit-identical on every machine, as the
checksums verify. It is only a sketch for display; training and tests use ``monai_s3im.phantom``.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

CATEGORY = "S3IMFusion"
SAMPLE_NAME = "S3IMFusionHead"
NODE_NAMES = ("MR head phantom", "CT head phantom")
FILE_NAMES = ("S3IMFusionHead-MR-1.nrrd", "S3IMFusionHead-CT-1.nrrd")
SHA256 = (
    "785671b5b1f4094603771ddff4cfc39921d50d0bf6aba381de8ee9ca8fb8a67f",
    "be02f4d99610e40d5262beef9ba4aab1e4c072f89b7d04b93e6f509aca9073ac",
)


class Grid(NamedTuple):
    """Voxels along x (to the right), y (to the front), z (to the top), and their size in mm; centred on the head."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


GRIDS = (Grid((136, 168, 88), (1.5, 1.5, 2.0)), Grid((120, 136, 56), (1.75, 1.75, 3.0)))


class _Part(NamedTuple):
    centre: tuple[float, float, float]  # mm; RAS
    axes: tuple[float, float, float]  # half axes in mm
    mr: float  # T1-weighted, arbitrary units
    ct: float  # HU


_OUTER = (
    _Part((0, 0, 0), (77, 97, 91), 450, 60),  # skin
    _Part((0, 0, 0), (74, 94, 88), 950, -90),  # fat
    _Part((0, 0, 0), (70, 90, 84), 40, 1300),  # outer table
    _Part((0, 0, 0), (68, 88, 82), 450, 650),  # diploe
    _Part((0, 0, 0), (66.5, 86.5, 80.5), 40, 1300),  # inner table
    _Part((0, 0, 0), (64.5, 84.5, 78.5), 140, 6),  # CSF
)
_BRAIN = _Part((0, 0, 0), (62, 82, 76), 800, 28)  # white matter
_GREY_MATTER, _CSF, _DURA = (540, 38), (140, 6), (450, 60)  # MR, CT
_SHELL_MM, _CORTEX_MM, _FOLD_MM = 27.0, 3.5, 6.5
_INNER = (
    *(_Part((side * 17, 6, 4), (8, 15, 11), 610, 38) for side in (-1, 1)),  # deep nuclei
    *(_Part((side * 9, 2, 14), (5, 27, 9), 140, 6) for side in (-1, 1)),  # ventricles
    _Part((0, -2, 2), (2.5, 13, 8), 140, 6),
    _Part((0, -30, 4), (3, 3, 3), 200, 320),  # pineal calcification
    _Part((-33, 26, 24), (17, 18, 15), 560, 20),  # oedema
    _Part((-34, 27, 25), (9, 9, 9), 420, 44),  # tumour
    _Part((30, -38, 20), (11, 14, 10), 700, 68),  # haemorrhage
    *(_Part((side * 28, 58, -31), (14, 18, 14), 900, -80) for side in (-1, 1)),  # orbital fat
    *(_Part((side * 28, 64, -31), (11.5, 11.5, 11.5), 160, 10) for side in (-1, 1)),  # eyes
    *(_Part((side * 11, 60, -46), (9, 14, 11), 0, -1000) for side in (-1, 1)),  # sinuses
)
_LATTICE_MM, _LATTICE = 9.0, 32
_NOISE = (16.0, 4.0)  # of MR and CT, in their units


def head_phantom(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The head in MR and CT on one grid: two arrays (z, y, x) of int16."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(grid.shape, grid.spacing, strict=True)]
    x, y, z = axes[0][None, None, :], axes[1][None, :, None], axes[2][:, None, None]
    softness = sum(grid.spacing) / 3
    images = [np.zeros(grid.shape[::-1]), np.full(grid.shape[::-1], -1000.0)]

    def paint(mr: float, ct: float, distance: np.ndarray) -> None:
        weight = np.clip(0.5 - distance / softness, 0, 1)
        for index, value in enumerate((mr, ct)):
            images[index] += weight * (value - images[index])

    for part in (*_OUTER, _BRAIN):
        paint(part.mr, part.ct, _distance(part, x, y, z))
    depth = -_distance(_BRAIN, x, y, z)  # below the surface of the brain
    sulcus = np.abs(_smooth_noise(axes)) * _FOLD_MM  # approximate distance to one
    outside_shell = np.maximum(depth - _SHELL_MM, -depth)
    paint(*_GREY_MATTER, np.maximum(np.minimum(sulcus - _CORTEX_MM, depth - _CORTEX_MM), outside_shell))
    paint(*_CSF, np.maximum(sulcus - 0.8, outside_shell))
    paint(*_DURA, np.maximum(np.abs(x) - 0.8, np.maximum(28 - z, -depth)))  # falx
    for part in _INNER:
        paint(part.mr, part.ct, _distance(part, x, y, z))
    images[0] *= 1 + 0.0008 * y - 0.0006 * z  # the coil
    for index, noise in enumerate(_NOISE):
        images[index] += noise * _normal(images[index].shape, seed=index + 1)
    mr, ct = (np.rint(image).astype("<i2") for image in images)
    return np.maximum(mr, 0), np.maximum(ct, -1024)


def write_sample_data(folder: Path) -> list[Path]:
    """Writes the MR and the CT as NRRD unless they exist; about 2 s.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in FILE_NAMES]
    for index, (file, grid, checksum) in enumerate(zip(files, GRIDS, SHA256, strict=True)):
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == checksum:
            continue
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(_nrrd(head_phantom(grid)[index], grid))
        unfinished.replace(file)
    return files


def register_sample_data(cache_folder: Path, thumbnail: Path) -> None:
    """Registers the pair with the module Sample Data; it is made on request, from the panel or a script.

    Args:
        cache_folder: folder for the files.
        thumbnail: a picture of the pair.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        thumbnailFileName=str(thumbnail),
        uris=_MadeWhenRead(cache_folder),
        fileNames=list(FILE_NAMES),
        nodeNames=list(NODE_NAMES),
        checksums=[f"SHA256:{checksum}" for checksum in SHA256],
    )


class _MadeWhenRead(list[str]):
    """The URLs of the two files, which are made when the URLs are read, not while Slicer starts.

    Sample Data iterates over the URLs in ``SampleDataLogic.downloadFromSource``, both for its panel and for
    ``downloadSamples``; it calls a ``customDownloader`` only for its panel.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__((folder / name).absolute().as_uri() for name in FILE_NAMES)
        self._folder = folder

    def __iter__(self) -> Iterator[str]:
        write_sample_data(self._folder)
        return super().__iter__()


def _distance(part: _Part, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Approximate distance to an ellipsoid in mm, negative inside."""
    (cx, cy, cz), (ax, ay, az) = part.centre, part.axes
    unit = np.sqrt((x - cx) * (x - cx) / (ax * ax) + (y - cy) * (y - cy) / (ay * ay) + (z - cz) * (z - cz) / (az * az))
    return (unit - 1) * min(part.axes)


def _smooth_noise(axes: list[np.ndarray]) -> np.ndarray:
    """Smooth noise (z, y, x) about 0, interpolated from a fixed lattice: the same on every grid."""
    values = _normal((_LATTICE,) * 3, seed=3)
    for axis, positions in zip((2, 1, 0), axes, strict=True):
        at = positions / _LATTICE_MM + _LATTICE / 2
        below = np.floor(at).astype(int)
        shape = [-1 if axis == a else 1 for a in range(3)]
        weight = (at - below).reshape(shape)
        weight = weight * weight * (3 - 2 * weight)
        values = values.take(below, axis) * (1 - weight) + values.take(below + 1, axis) * weight
    return values


def _normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Approximately normal noise of mean 0 and deviation 1: sums of eight bytes of raw bits, which never change."""
    count = int(np.prod(shape))
    raw = np.random.PCG64(seed).random_raw(count)
    total = raw.view(np.uint8).reshape(count, 8).sum(axis=1, dtype=np.int64)
    return ((total - 1020) / 209.0).reshape(shape)


def _nrrd(image: np.ndarray, grid: Grid) -> bytes:
    (nx, ny, nz), (sx, sy, sz) = grid
    origin = [-(n - 1) / 2 * step for n, step in zip(grid.shape, grid.spacing, strict=True)]
    header = [
        "NRRD0004",
        "type: int16",
        "dimension: 3",
        "space: right-anterior-superior",
        f"sizes: {nx} {ny} {nz}",
        f"space directions: ({sx},0,0) (0,{sy},0) (0,0,{sz})",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        "space origin: ({},{},{})".format(*origin),
    ]
    return ("\n".join(header) + "\n\n").encode("ascii") + image.tobytes()
