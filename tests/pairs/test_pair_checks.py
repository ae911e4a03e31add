from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.pairs.checks import check_pairs
from monai_s3im.pairs.layouts import dataset_pairs
from monai_s3im.pairs.lists import Pair


def a_picture(path, width=6, height=5):
    Image.new("L", (width, height)).save(path)
    return path


def a_volume(path, shape=(3, 4, 5)):
    nib.save(nib.Nifti1Image(np.zeros(shape, dtype=np.uint8), np.eye(4)), path)
    return path


def problems_of(pairs):
    with pytest.raises(InputError) as raised:
        check_pairs(pairs)
    return str(raised.value).splitlines()


def test_good_pairs_pass(tmp_path):
    picture, volume = a_picture(tmp_path / "a.png"), a_volume(tmp_path / "a.nii.gz")
    larger = a_volume(tmp_path / "b.nii", (7, 8, 9))
    check_pairs([Pair("1", picture, picture, "visible", "infrared"), Pair("2", volume, larger, "mr", None)])


@pytest.mark.parametrize("modality", ["ct", "mr", "pet", "spect", "us", "dose", "visible", "infrared", "generic"])
def test_known_modalities_pass(tmp_path, modality):
    picture = a_picture(tmp_path / "a.png")
    check_pairs([Pair("1", picture, picture, modality, modality)])


def test_all_problems_are_reported_at_once(tmp_path):
    picture, volume = a_picture(tmp_path / "a.png"), a_volume(tmp_path / "a.nii.gz")
    wide = a_picture(tmp_path / "wide.png", width=7)
    (tmp_path / "text.nii.gz").write_text("no volume at all\n" * 50)
    pairs = [
        Pair("good", picture, picture, "mr", "ct"),
        Pair("missing", picture, tmp_path / "b.png"),
        Pair("unreadable", volume, tmp_path / "text.nii.gz"),
        Pair("sizes", picture, wide),
        Pair("ranks", picture, volume),
        Pair("twice", picture, picture),
        Pair("Twice", picture, picture),
        Pair("up/down", picture, picture),
        Pair("modality", picture, picture, "mr", "xray"),
    ]
    heading, *lines = problems_of(pairs)
    assert heading == "8 problem(s) in 9 pair(s), nothing was run:"
    assert len(lines) == 8
    for start, words in [
        ("- missing: ", f"{tmp_path / 'b.png'} does not exist"),
        ("- unreadable: ", f"{tmp_path / 'text.nii.gz'} is damaged"),
        ("- sizes: ", "6 x 5 and"),
        ("- ranks: ", f"{picture} is 2D and {volume} is 3D"),
        ("- twice: ", "2 pairs have this name"),
        ("- Twice: ", "2 pairs have this name"),
        ("- 'up/down'", "path separators"),
        ("- modality: ", "unknown modality 'xray': use one of ct, mr"),
    ]:
        assert [line for line in lines if line.startswith(start) and words in line], start


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", "", " ", "a:b", "a\nb"])
def test_name_that_cannot_name_a_file_is_refused(tmp_path, name):
    picture = a_picture(tmp_path / "a.png")
    assert "cannot name a file" in problems_of([Pair(name, picture, picture)])[1]


def test_long_lists_of_problems_are_cut_at_20_and_counted():
    lines = problems_of([Pair(str(n), Path("missing_a.png"), Path("missing_b.png")) for n in range(15)])
    assert len(lines) == 1 + 20 + 1
    assert lines[0].startswith("30 problem(s) in 15 pair(s)")
    assert lines[-1] == "- and 10 more"


def test_no_pair_is_refused():
    with pytest.raises(InputError, match="no pair"):
        check_pairs([])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.png"])
def test_only_headers_are_read(tmp_path, name):
    if name == "a.png":
        Image.effect_noise((64, 64), 50).save(tmp_path / name)
    else:
        noise = np.random.default_rng(0).normal(size=(30, 30, 30))
        nib.save(nib.Nifti1Image(noise, np.eye(4)), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    check_pairs([Pair("1", tmp_path / name, tmp_path / name)])


def test_real_data_sets_pass(shared_data):
    check_pairs(dataset_pairs(shared_data / "data" / "harvard", "training"))
    check_pairs(dataset_pairs(shared_data / "data" / "harvard", "validation"))
    check_pairs(dataset_pairs(shared_data / "data" / "roadscene", "training"))


def four_pairs(folder):
    """A good pair, and pairs with a truncated, an empty and a missing file."""
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), folder / "mr.nii.gz")
    nib.save(nib.Nifti1Image(noise[::-1], np.eye(4)), folder / "good.nii.gz")
    a_volume(folder / "empty.nii.gz", (20, 20, 20))
    content = (folder / "good.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    names = ("good", "cut", "empty", "none")
    rows = ["name,image_a,image_b", *[f"{name},mr.nii.gz,{name}.nii.gz" for name in names]]
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


def test_the_command_says_that_it_read_only_headers_and_how_to_read_more(tmp_path):
    result = CliRunner().invoke(app, ["data", "check", str(four_pairs(tmp_path))])
    assert result.exit_code == 2
    assert result.stdout == "4 pairs, 1 problems; only the headers were read, --deep reads the voxels\n"
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: none: ")


def test_the_deep_check_finds_what_a_fusion_would_refuse(tmp_path):
    result = CliRunner().invoke(app, ["data", "check", "--deep", str(four_pairs(tmp_path))])
    assert result.exit_code == 2
    assert result.stdout == "4 pairs, 3 problems; all voxels were read\n"
    cut, empty, none = result.stderr.splitlines()
    assert cut.startswith(f"error: cut: {tmp_path / 'cut.nii.gz'} is damaged")
    assert empty.startswith(f"error: empty: {tmp_path / 'empty.nii.gz'} has no content")
    assert none.startswith(f"error: none: {tmp_path / 'none.nii.gz'} does not exist")
