"""The record beside an output: written, read, refused, and described by its schema."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from sample_images import SMALLER, write_picture, write_volume

from monai_s3im.errors import InputError
from monai_s3im.formats.writing import sha256_of
from monai_s3im.pipeline import Fuser
from monai_s3im.record import ColorBar, FusionRecord, record_path
from monai_s3im.settings import FusionSettings

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((ROOT / "docs" / "data" / "record.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """Gray pictures, and a PET that was moved onto an MR, each with its sources."""
    folder = tmp_path_factory.mktemp("fused")
    pictures = write_picture(folder / "a.png", 0), write_picture(folder / "b.png", 5)
    volumes = write_volume(folder / "a.nii.gz", 0), write_volume(folder / "pet.nii.gz", 5, *SMALLER)
    fuser = Fuser(FusionSettings(device="cpu", window=(-160.0, 240.0), spacing=[4, 4, 4], register="rigid"))
    fuser(*volumes, folder / "volume.nii.gz", None, "pet")
    Fuser(device="cpu")(*pictures, folder / "picture.png", "mr", "ct")
    return {folder / "picture.png": pictures, folder / "volume.nii.gz": volumes}


def test_the_schema_is_that_of_the_types():
    spec = importlib.util.spec_from_file_location("record_schema", ROOT / ".ci" / "record_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "data" / "record.schema.json").read_text(encoding="utf-8") == module.text()


def test_real_records_are_valid_and_have_no_key_that_the_schema_lacks(fused):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    closed = {**SCHEMA, "additionalProperties": False}
    for output in fused:
        content = json.loads(record_path(output).read_text(encoding="utf-8"))
        jsonschema.validate(content, closed)
        assert list(content) == list(SCHEMA["properties"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**content, "plane": "oblique"}, closed)


def test_a_record_is_read_back_unchanged(fused, tmp_path):
    for output in fused:
        record = FusionRecord.read(output)
        record.write(tmp_path / output.name)
        assert record_path(tmp_path / output.name).read_bytes() == record_path(output).read_bytes()
        assert record.fused_sha256 == sha256_of(output)
    assert record.settings.spacing == [4, 4, 4]
    assert record.registration.kind == "rigid"
    assert record.sources["image_b"].modality == "pet"


def test_a_record_matches_its_sources_by_their_bytes(fused, tmp_path):
    for output, (image_a, image_b) in fused.items():
        record = FusionRecord.read(output)
        renamed = tmp_path / f"renamed-{image_b.name}"
        renamed.write_bytes(image_b.read_bytes())
        assert record.matches({"image_a": image_a, "image_b": renamed}, sha256_of)
        assert not record.matches({"image_a": image_b, "image_b": image_a}, sha256_of)


def test_a_record_without_a_version_is_read(fused):
    """Those of the first releases."""
    for output in fused:
        content = json.loads(record_path(output).read_text(encoding="utf-8"))
        del content["schema_version"]
        assert FusionRecord.from_json(content) == FusionRecord.read(output)


@pytest.mark.parametrize("version", [2, 99, "1", None])
def test_a_record_of_a_later_version_is_refused_with_what_to_do(fused, tmp_path, version):
    output = next(iter(fused))
    content = json.loads(record_path(output).read_text(encoding="utf-8"))
    (tmp_path / "later.json").write_text(json.dumps({**content, "schema_version": version}))
    with pytest.raises(
        InputError, match=rf"later.json cannot be used \(it is of schema version {version}, .*update monai"
    ):
        FusionRecord.read(tmp_path / "later.png")


DAMAGED = {
    "cut short": lambda content: json.dumps(content)[:100],
    "no object": lambda content: "[1]",
    "a source is gone": lambda content: json.dumps({**content, "sources": {"image_a": content["sources"]["image_a"]}}),
    "a source without its file": lambda content: json.dumps({**content, "sources": {"image_a": {}, "image_b": {}}}),
    "text for warnings": lambda content: json.dumps({**content, "warnings": "look"}),
    "a number for a plane": lambda content: json.dumps({**content, "plane": 3}),
    "yes for a number": lambda content: json.dumps({**content, "spacing": True}),
    "nothing fused": lambda content: json.dumps({key: content[key] for key in content if key != "fused_sha256"}),
    "nested too deep": lambda content: "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_refused_by_its_name(fused, tmp_path, damage):
    content = json.loads(record_path(next(iter(fused))).read_text(encoding="utf-8"))
    (tmp_path / "one.json").write_text(damage(content))
    with pytest.raises(InputError, match=r"one.json is damaged \(.*\): fuse again$"):
        FusionRecord.read(tmp_path / "one.png")


def test_a_record_without_a_colour_model_is_of_the_colours_of_its_time(fused, tmp_path):
    content = json.loads(record_path(next(iter(fused))).read_text(encoding="utf-8"))
    for own, expected in ((None, "afmhot"), ("jet", "jet")):
        former = {name: value for name, value in content.items() if name not in {"color_model", "color_bar"}}
        record = FusionRecord.from_json({**former, "color_map": own})
        assert (record.settings.color_model, record.color_map, record.color_bar) == ("ycbcr", expected, None)
    assert FusionRecord.from_json({**content, "color_map": None}).color_map is None


BAR = {"colors": [[level, 0, 255] for level in range(256)], "range": [0.0, 6.2], "unit": "SUV"}


def test_a_colour_bar_is_written_one_colour_per_line_and_read_back(fused, tmp_path):
    record = FusionRecord.read(next(iter(fused)))
    replace(record, color_bar=ColorBar(**BAR), warnings=["as [ 1, 2, 3 ]"]).write(tmp_path / "one.png")
    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), SCHEMA)
    assert json.loads(text)["color_bar"] == BAR
    assert "      [0, 0, 255],\n      [1, 0, 255],\n" in text
    found = FusionRecord.from_json({**json.loads(text), "fused": "one.png"})
    assert (found.color_bar, found.warnings) == (ColorBar(**BAR), ["as [ 1, 2, 3 ]"])


def test_where_there_is_no_record_there_is_none(tmp_path):
    assert FusionRecord.read(tmp_path / "one.png") is None
    (tmp_path / "file").touch()
    assert FusionRecord.read(tmp_path / "file" / "one.png") is None


@pytest.mark.parametrize(
    ("fused", "name"),
    [("x.nii.gz", "x.json"), ("x.y.png", "x.y.json"), ("series", "series.json"), ("series.1", "series.1.json")],
)
def test_the_record_is_next_to_its_image(fused, name, tmp_path):
    assert record_path(tmp_path / fused) == tmp_path / name


def test_a_volume_that_is_not_a_file_has_no_name(fused):
    content = replace(FusionRecord.read(next(iter(fused))), fused=None, fused_sha256=None).as_json()
    assert "fused" not in content
    jsonschema.validate(content, SCHEMA)
    assert FusionRecord.from_json(content).fused is None


def test_records_settings_and_modalities_need_no_torch():
    code = "import sys, monai_s3im.record, monai_s3im.settings, monai_s3im.modalities; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
