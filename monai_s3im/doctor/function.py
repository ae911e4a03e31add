"""Check the function: read each kind of DICOM file, and fuse a known pair to a known result."""

import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

from monai_s3im.formats.paths import isfile

from .environment import Found, devices

BOUND = 1 / 510  # of a fused value in [0, 1]: half a gray level of 8 bits
_INSTALL_AGAIN = "install the package again"


def known_answer(weights: str | Path, device: str = "cpu") -> list[float]:
    """Fuse the known pair, MR and CT of a small head phantom, by the whole pipeline.

    Args:
        weights: file of weights.
        device: to compute on.

    Returns:
        120 fused values in [0, 1]: every fourth voxel along both axes of one slice.

    Raises:
        InputError: if the weights or the device cannot be used.
    """
    from monai_s3im.phantom import head_phantom
    from monai_s3im.pipeline import Fuser

    phantom = head_phantom((40, 48, 6), (4.8, 4.8, 20.0)).volumes
    fused = Fuser(device=device, gray=True, weights=weights)(phantom["t1"], phantom["ct"], None, "mr", "ct")
    return [round(float(value), 6) for value in fused[0, ::4, ::4, 2].flatten()]


def codecs() -> Found:
    """Write a DICOM file in each compression and read it back."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    from monai_s3im.formats.reading import read_image

    pixels = np.arange(32 * 32, dtype=np.int16).reshape(1, 32, 32)
    unread = {}
    for name in ("none", "JPEG", "JPEG2000", "RLE"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "slice.dcm"
            try:
                _write_dicom(sitk.GetImageFromArray(pixels), file, name)
                if not np.array_equal(read_image(file)[0, :, :, 0].numpy().T, pixels[0]):
                    unread[name] = "other values"
            except Exception as error:
                unread[name] = f"{type(error).__name__}: {error}"
    if unread:
        reported = ", ".join(f"{name} ({reason})" for name, reason in unread.items())
        yield "failed", f"DICOM cannot be read in the compression {reported}: install pydicom and SimpleITK again"
    else:
        yield "ok", "DICOM uncompressed, JPEG lossless, JPEG 2000 and RLE are read as written"


def _write_dicom(image: Any, file: Path, compression: str) -> None:
    import SimpleITK as sitk  # noqa: N813
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    for tag, value in {
        "0008|0060": "CT",
        "0018|0050": "1",
        "0020|0032": "0\\0\\0",
        "0020|0037": "1\\0\\0\\0\\1\\0",
    }.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(file))
    if compression.startswith("JPEG"):
        writer.UseCompressionOn()
        writer.SetCompressor(compression)
    writer.Execute(image)
    if compression == "RLE":
        stored = dcmread(file)
        stored.compress(RLELossless, generate_instance_uid=False)
        stored.save_as(file)


def weights(models: Path) -> Found:
    """Check the weight files against their manifest."""
    from monai_s3im.networks import read_manifest

    manifest = read_manifest(models)
    if not manifest:
        yield "failed", f"the list of the weights' SHA256 is missing: {_INSTALL_AGAIN}"
    for name, entry in manifest.items():
        if not isfile(models / name):
            yield "failed", f"{name} is missing: {_INSTALL_AGAIN}"
            continue
        found = hashlib.sha256((models / name).read_bytes()).hexdigest()
        if found == entry["sha256"]:
            yield "ok", f"{name} {found}"
        else:
            yield "failed", f"{name} is damaged or different (SHA256 {found}): {_INSTALL_AGAIN}"
    for file in sorted(models.glob("*.pt")):
        if file.name not in manifest:
            yield "note", f"{file.name} is not part of this package"


def answers(models: Path) -> Found:
    """Fuse the known pair with each weight file on each device."""
    from monai_s3im.networks import read_manifest

    for name, entry in read_manifest(models).items():
        for device in devices():
            start = time.monotonic()
            found = known_answer(models / name, device)
            difference = max(abs(a - b) for a, b in zip(found, entry["answer"], strict=True))
            reported = f"{name} on {device}: largest difference {difference:.1e} in {time.monotonic() - start:.2f} s"
            if difference <= BOUND:
                yield "ok", reported
            else:
                yield "failed", f"{reported}, more than {BOUND:.1e}: do not use the results"
