"""From the command to the written file: each header is read once, the output checked once."""

from collections import Counter
from pathlib import Path

import nibabel as nib
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_samples import series_of, stored_volume, write_slices
from PIL import Image
from sample_images import write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.transforms import output


@pytest.fixture
def opened(monkeypatch):
    """How often a library opened each file for its header, by name."""
    count = Counter()

    def spy(module, name, path_of):
        real = getattr(module, name)

        def counting(*arguments, **options):
            count[Path(path_of(arguments)).name] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    spy(nib, "load", lambda arguments: arguments[0])
    spy(Image, "open", lambda arguments: arguments[0].name)
    spy(sitk.ImageFileReader, "ReadImageInformation", lambda arguments: arguments[0].GetFileName())
    real = pydicom.dcmread

    def dcmread(file, *arguments, **options):
        if options.get("stop_before_pixels") and len(options.get("specific_tags", ())) > 2:  # two: is it of one patient
            count[Path(getattr(file, "name", file)).name] += 1
        return real(file, *arguments, **options)

    monkeypatch.setattr(pydicom, "dcmread", dcmread)
    return count


@pytest.fixture
def checked(monkeypatch):
    """The outputs that were checked."""
    paths = []
    real = output.check_output

    def spy(path, *arguments):
        paths.append(path)
        return real(path, *arguments)

    monkeypatch.setattr(output, "check_output", spy)
    return paths


def fuse(*arguments):
    return CliRunner().invoke(app, ["fuse", *map(str, arguments), "--device", "cpu"])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".png"])
def test_one_fusion_opens_each_file_once_and_checks_its_output_once(suffix, opened, checked, tmp_path):
    write = write_picture if suffix == ".png" else write_volume
    paths = [write(tmp_path / f"{name}{suffix}", seed) for seed, name in enumerate("ab")]
    result = fuse(*paths, "-o", tmp_path / f"fused{suffix}")
    assert result.exit_code == 0, result.output
    assert {path.name: opened[path.name] for path in paths} == {path.name: 1 for path in paths}
    assert checked == [tmp_path / f"fused{suffix}"]


def test_one_fusion_reads_each_header_of_a_series_once(opened, checked, tmp_path):
    write_slices(tmp_path / "mr", series_of(stored_volume((6, 12, 14)), modality="MR"))
    stored = stored_volume((6, 12, 14))
    write_slices(tmp_path / "ct", series_of(stored.max() - stored, modality="CT"))
    for file in list((tmp_path / "ct").iterdir()):
        file.rename(file.with_name(f"ct_{file.name}"))
    result = fuse(tmp_path / "mr", tmp_path / "ct", "-o", tmp_path / "fused.nii.gz")
    assert result.exit_code == 0, result.output
    slices = [path.name for folder in ("mr", "ct") for path in (tmp_path / folder).iterdir()]
    assert len(slices) == 12
    assert {name: opened[name] for name in slices} == dict.fromkeys(slices, 1)
    assert len(checked) == 1


def test_the_bundle_refuses_an_output_before_it_reads_a_source(monkeypatch, tmp_path):
    from monai_s3im.bundle_config import bundle_parser
    from monai_s3im.errors import OutputError

    monkeypatch.setattr("monai_s3im.transforms.loading.read_image", None)
    (tmp_path / "taken.nii.gz").mkdir()
    steps = bundle_parser("inference", device="cpu", output_dir=str(tmp_path)).get_parsed_content("preprocessing")
    name_the_sources, check = steps.transforms[:2]
    item = {"name": "taken", "image_a": tmp_path / "a.nii.gz", "image_b": tmp_path / "b.nii.gz"}
    with pytest.raises(OutputError, match="is a folder: name the file to write"):
        check(name_the_sources(item))
