"""Fuse two series of a DICOM study of 1,280 files, and count how often headers are read.

Command:  python benchmarks/dicom_study.py
Duration: about ten seconds on two CPU cores.
Result:   the header of each file is read once. Seconds for the headers, for reading both volumes, and for dcm2niix on
          the same folder, where that is installed: the headers take about three times as long as dcm2niix needs for all
          of it (0.9 s and 0.3 s), since pydicom parses in Python.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from monai_s3im.formats.dicom.series import series_files, series_shape
from monai_s3im.formats.reading import read_image

SERIES, SLICES, SIZE = 20, 64, 64


def write_study(folder: Path) -> None:
    """20 series of 64 slices in one folder."""
    random = np.random.default_rng(0)
    for series in range(1, SERIES + 1):
        uid = generate_uid()
        for index in range(SLICES):
            image = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
            image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.SeriesInstanceUID, image.StudyInstanceUID, image.SeriesNumber = uid, "1.2.3", series
            image.Modality, image.InstanceNumber, image.Rows, image.Columns = "CT", index + 1, SIZE, SIZE
            image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
            image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
            image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 2 * index], [1, 0, 0, 0, 1, 0]
            image.PixelSpacing, image.SliceThickness = [1, 1], 2
            image.PixelData = random.integers(-1000, 1000, (SIZE, SIZE), dtype="<i2").tobytes()
            image.save_as(folder / f"{series:02}_{index:03}.dcm", enforce_file_format=True)


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print what it takes."""
    with tempfile.TemporaryDirectory() as place:
        study = Path(place, "study")
        study.mkdir()
        write_study(study)
        pair = f"{study}#1", f"{study}#2"
        reads, dcmread = [], pydicom.dcmread
        pydicom.dcmread = lambda file, *given, **options: (  # a count
            reads.append(options.get("stop_before_pixels", False)) or dcmread(file, *given, **options)
        )
        first = seconds_of(lambda: series_shape(pair[0]))
        again = seconds_of(lambda: [(series_shape(each), series_files(each)) for each in pair * 2])
        volumes = seconds_of(lambda: [read_image(each) for each in pair])
        count = len(list(study.iterdir()))
        print(f"{count} files: {sum(reads)} headers read in {first:.1f} s; asked for 8 times more: {again:.1f} s")
        print(f"both volumes read: {volumes:.1f} s")
        if shutil.which("dcm2niix"):
            Path(place, "out").mkdir()
            command = ["dcm2niix", "-o", f"{place}/out", str(study)]
            took = seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))
            print(f"dcm2niix, all {SERIES} series: {took:.1f} s")


if __name__ == "__main__":
    main()
