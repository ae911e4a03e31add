"""A list found in a folder may name only files in it; a list that the user names may point anywhere."""

import json

import pytest
from sample_images import write_picture
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.pairs.layouts import dataset_pairs
from monai_s3im.pairs.lists import read_pairs

OUTSIDE = ["../private/a.png", "sub/../../private/a.png", "{root}/private/a.png", "../data2/a.png"]


@pytest.fixture
def root(tmp_path):
    """A data set, and foreign files next to it."""
    for folder in ("data", "data2", "private"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "a.png", 0)
        write_picture(tmp_path / folder / "b.png", 5)
    return tmp_path


def write_list(root, image_a, name="datalist.json"):
    image_a = image_a.format(root=root)
    file = root / "data" / name
    if file.suffix == ".csv":
        file.write_text(f"image_a,image_b\n{image_a},b.png\n")
    else:
        file.write_text(json.dumps({"training": [{"image_a": image_a, "image_b": "b.png"}]}))
    return file


@pytest.mark.parametrize("name", ["pairs.csv", "mine.csv", "datalist.json", "datalist_1.json"])
@pytest.mark.parametrize("image_a", OUTSIDE)
def test_a_list_that_is_found_in_a_folder_does_not_lead_out_of_it(root, image_a, name):
    file = write_list(root, image_a, name)
    with pytest.raises(InputError, match=r"leads out of its folder, to .*: if this is intended, name the list itself"):
        read_pairs(root / "data")
    assert [pair.image_a.resolve().name for pair in read_pairs(file)] == ["a.png"]


@pytest.mark.parametrize("name", ["datalist.json", "datalist_CT+SPECT-MRI.json", "datalist_1.json"])
@pytest.mark.parametrize("image_a", OUTSIDE)
def test_the_datalist_of_a_data_set_does_not_lead_out_of_it_unless_it_is_named(root, image_a, name):
    write_list(root, image_a, name)
    with pytest.raises(InputError, match="leads out of its folder"):
        dataset_pairs(root / "data", "training")
    assert len(dataset_pairs(root / "data", "training", datalist=name)) == 1


@pytest.mark.parametrize("image_a", ["a.png", "./a.png", "../data/a.png", "{root}/data/a.png"])
def test_a_list_that_stays_in_its_folder_is_read(root, image_a, monkeypatch):
    write_list(root, image_a)
    assert len(dataset_pairs(root / "data", "training")) == 1
    monkeypatch.chdir(root)
    assert len(read_pairs("data")) == 1


def test_a_folder_may_be_made_of_links(root):
    (root / "data" / "linked.png").symlink_to(root / "private" / "a.png")
    write_list(root, "linked.png")
    assert len(dataset_pairs(root / "data", "training")) == 1


def test_the_command_refuses_a_found_list_and_takes_a_named_one(root):
    file = write_list(root, "../private/a.png", "pairs.csv")
    found, named = (
        CliRunner().invoke(app, ["fuse", "--pairs", str(path), "-o", str(root / "out"), "--device", "cpu"])
        for path in (root / "data", file)
    )
    assert found.exit_code == 2
    assert found.stderr.startswith("error: ")
    assert "leads out of its folder" in found.stderr
    assert named.exit_code == 0, named.output
    assert (root / "out" / "a.png").is_file()


@pytest.mark.parametrize("name", ["../../escaped", "/{root}/escaped", "..", "a\\b", "sub/escaped", "C:escaped"])
def test_the_name_of_a_pair_does_not_lead_out_of_the_output_folder(root, name):
    name = name.format(root=root)
    (root / "data" / "pairs.csv").write_text(f"name,image_a,image_b\n{name},a.png,b.png\n")
    before = sorted(root.rglob("*"))
    result = CliRunner().invoke(app, ["fuse", "--pairs", str(root / "data"), "-o", str(root / "out" / "fused")])
    assert result.exit_code == 2
    assert "cannot name a file" in result.stderr
    assert {file.name for file in set(root.rglob("*")) - set(before)} <= {"out", "fused", "summary.csv"}
