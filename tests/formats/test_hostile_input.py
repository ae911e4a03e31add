"""Inputs that the fuzzer got past the checks, each with its message."""

import json
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from dicom_samples import series_of, stored_volume, write_slices
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sample_images import write_volume

from monai_s3im.errors import InputError
from monai_s3im.evaluation.evaluate import evaluate
from monai_s3im.formats.reading import read_image, spatial_shape_of
from monai_s3im.networks import S3IMFusion, load_weights
from monai_s3im.pairs.checks import problems_of
from monai_s3im.pairs.lists import Pair, read_pairs
from monai_s3im.workflows import Training

NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nspace dimension: 3\nencoding: raw\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\n"


@pytest.mark.parametrize(
    "place", ["../x.raw", "/etc/passwd", "sub/../../x.raw", "-", "LIST\n/etc/passwd", r"C:\x.raw", r"..\x"]
)
@pytest.mark.parametrize(
    ("suffix", "line"), [(".nhdr", "data file:"), (".nrrd", "datafile:"), (".mhd", "ElementDataFile =")]
)
def test_header_that_takes_its_voxels_from_elsewhere_is_refused(tmp_path, suffix, line, place):
    (tmp_path / "x.raw").write_bytes(bytes(range(24)))
    (tmp_path / "inside").mkdir()
    file = tmp_path / "inside" / f"x{suffix}"
    file.write_text(f"{META if suffix == '.mhd' else NRRD}{line} {place}\n")
    for read in (read_image, spatial_shape_of):
        with pytest.raises(InputError, match=rf"x{suffix} takes its voxels from outside its folder"):
            read(file)


@pytest.mark.parametrize("place", [300 * "x", "%n%n%s%s", "%s.raw", "x%3$n.raw", "%d%d.raw"])
@pytest.mark.parametrize(("suffix", "line"), [(".nhdr", "data file:"), (".mhd", "ElementDataFile =")])
def test_a_name_of_voxels_that_could_crash_the_reader_is_refused(tmp_path, suffix, line, place):
    (tmp_path / f"x{suffix}").write_text(f"{META if suffix == '.mhd' else NRRD}{line} {place}\n")
    with pytest.raises(InputError, match=rf"x{suffix} names a data file that cannot be read"):
        read_image(tmp_path / f"x{suffix}")


def test_slices_in_numbered_files_are_read(tmp_path):
    for number in range(4):
        (tmp_path / f"x{number:02d}.raw").write_bytes(bytes(range(6 * number, 6 * number + 6)))
    (tmp_path / "x.mhd").write_text(f"{META}ElementDataFile = x%02d.raw 0 3 1\n")
    assert read_image(tmp_path / "x.mhd").flatten(1).T.sort(0).values.flatten().tolist() == list(range(24))


def test_where_voxels_are_is_not_hidden_behind_a_long_header(tmp_path):
    (tmp_path / "x.mhd").write_text(f"{META}Comment = {2**16 * 'x'}\nElementDataFile = /etc/passwd\n")
    with pytest.raises(InputError, match=r"x.mhd has a header of more than 64 KiB"):
        read_image(tmp_path / "x.mhd")


@pytest.mark.parametrize("place", ["x.raw", "./x.raw", "sub/x.raw"])
def test_voxels_next_to_or_below_their_header_are_read(tmp_path, place):
    (tmp_path / "sub").mkdir()
    (tmp_path / place).write_bytes(bytes(range(24)))
    (tmp_path / "x.mhd").write_text(f"{META}ElementDataFile = {place}\n")
    assert read_image(tmp_path / "x.mhd")[0, 1, 0, 0] == 1


@pytest.mark.parametrize("size", [1e30, 1e12, 1e-12])
def test_voxels_of_a_size_that_nothing_has_are_refused(tmp_path, size):
    file = write_volume(tmp_path / "a.nii", affine=np.diag([size, 1, 1, 1]))
    with pytest.raises(InputError, match=r"a.nii has an affine"):
        read_image(file)


@pytest.mark.parametrize("frames", [-1, 2_000_000_000])
def test_dicom_with_an_absurd_number_of_frames_is_refused(tmp_path, frames):
    write_slices(tmp_path / "ct", series_of(stored_volume(), NumberOfFrames=frames))
    with pytest.raises(InputError, match="NumberOfFrames that cannot be used"):
        spatial_shape_of(tmp_path / "ct")


def test_no_more_of_deflated_dicom_is_unpacked_than_its_header_declares(tmp_path):
    """A file of 0.1 MiB whose pixels, 4 x 5, are followed by 128 MiB of zeros."""
    (image, *_) = series_of(stored_volume())
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    folder = write_slices(tmp_path / "ct", [image])
    (file,) = folder.iterdir()
    content = file.read_bytes()
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = pack.compress(zlib.decompress(content[start:], -zlib.MAX_WBITS))
    packed += b"".join(pack.compress(bytes(2**20)) for _ in range(128)) + pack.flush()
    file.write_bytes(content[:start] + packed)
    tracemalloc.start()
    read_image(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 10_000, '{"a":' * 50_000])
def test_invalid_json_is_refused(tmp_path, text):
    (tmp_path / "datalist.json").write_text(text)
    with pytest.raises(InputError, match=r"datalist.json is not valid JSON") as raised:
        read_pairs(tmp_path / "datalist.json")
    assert len(str(raised.value)) < 500


def test_path_that_is_longer_than_any_is_refused_in_few_words(tmp_path):
    (tmp_path / "pairs.csv").write_text(f"image_a,image_b\n{'a/' * 3000}x.png,b.png\n")
    with pytest.raises(InputError, match="image_a of 6005 characters is not a path") as raised:
        read_pairs(tmp_path / "pairs.csv")
    assert len(str(raised.value)) < 500


def test_one_fault_of_many_pairs_is_reported_once(tmp_path):
    pairs = [Pair("one", tmp_path / "a.png", tmp_path / "b.png")] * 500
    (lines,) = problems_of(pairs).values()
    assert len(lines) == 3
    assert "too long to name a file" in problems_of([Pair("n" * 300, tmp_path, tmp_path)])["n" * 300][0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_numbers_are_refused(tmp_path, value):
    state = S3IMFusion().state_dict()
    state["stem.weight"] = torch.full_like(state["stem.weight"], value)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"x.pt holds NaN or infinite weights"):
        load_weights(S3IMFusion(), tmp_path / "x.pt")


@pytest.mark.parametrize("record", ["{", "[]", '{"sources": 3}', '{"sources": {"image_a": {}, "image_b": {}}}'])
def test_damaged_record_of_a_fused_volume_is_named(tmp_path, record):
    file = write_volume(tmp_path / "fused.nii.gz")
    (tmp_path / "fused.json").write_text(record)
    with pytest.raises(InputError, match=r"fused.json is damaged"):
        evaluate(file, file, file)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "3"])
def test_a_file_that_is_not_a_config_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"x.json cannot be read as a config"):
        Training(config_file=str(tmp_path / "x.json"))


@pytest.mark.parametrize("content", [{}, {"run": "@nowhere"}, {"run": ["$1/0"]}, {"run": {"_target_": "nowhere.Not"}}])
def test_config_that_cannot_be_run_is_reported_in_one_sentence(tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps(content))
    workflow = Training(config_file=str(tmp_path / "x.json"))
    with pytest.raises(InputError, match=r"x.json cannot be run \("):
        workflow.run()
