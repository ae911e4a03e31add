"""Extensions of a NIfTI header: valid ones are skipped, and those that would exhaust memory are refused."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image, spatial_shape_of

HUGE = 24 * 2**20  # bytes; would be seen in the memory, and packs to 100 kB
PACKED = gzip.compress(bytes(HUGE), 1)


def nifti_with(extension: bytes, said: int, offset: int, kind: type = nib.Nifti1Image, order: str = "<") -> bytes:
    """A NIfTI file whose header has one extension, that says to be ``said`` bytes, and voxels from ``offset``."""
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    header = kind(voxels, np.diag([2.0, 2.0, 2.0, 1.0])).header.as_byteswapped(order)
    header.set_data_offset(offset)
    head = header.binaryblock + b"\1\0\0\0" + struct.pack(f"{order}ii", said, 6) + extension
    return head + bytes(max(min(offset, 1000) - len(head), 0)) + voxels.astype(f"{order}i2").tobytes(order="F")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "offset"), [(nib.Nifti1Image, 400), (nib.Nifti2Image, 592)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_extension_that_fits_is_read_past(tmp_path: Path, kind: type, offset: int, suffix: str, order: str) -> None:
    content = nifti_with(b"a comment" + bytes(31), 48, offset, kind, order)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    np.testing.assert_array_equal(read_image(path)[0], np.arange(60).reshape(3, 4, 5))
    np.testing.assert_array_equal(nib.load(path).get_fdata(), np.arange(60).reshape(3, 4, 5))


@pytest.mark.parametrize(
    ("said", "offset"),
    [(HUGE + 8, 400), (HUGE + 8, 2**27), *((said, offset) for said in (2**31 - 8, 0, -16, 7) for offset in (400, 0))],
)
def test_an_extension_that_does_not_fit_is_refused_without_being_read(tmp_path: Path, said: int, offset: int) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_with(b"", said, offset)) + PACKED)
    tracemalloc.start()
    try:
        for read in (spatial_shape_of, read_image):
            with pytest.raises(InputError, match=r"a\.nii\.gz has a damaged header \((an extension of|voxels from)"):
                read(path)
        assert tracemalloc.get_traced_memory()[1] < HUGE / 4
    finally:
        tracemalloc.stop()
