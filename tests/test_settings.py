"""Every option of a fusion is defined once, in FusionSettings; each interface has it with that default."""

from dataclasses import asdict, fields, replace

import pytest
import typer
from sample_images import write_volume
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_parser
from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.inferers.slice_wise import SliceWiseInferer
from monai_s3im.modalities import AUTO_TASK, AUTO_WINDOW, CT_WINDOWS, TASKS
from monai_s3im.pipeline import Fuser, fuse
from monai_s3im.record import FusionRecord
from monai_s3im.settings import DEFAULTS, RECORDED, SLICE_PLANES, FusionSettings, choices_of, help_of
from monai_s3im.transforms import PLANES

NAMES = [option.name for option in fields(FusionSettings)]
IN_CONFIG = {name: "ckpt_path" if name == "weights" else name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_config_has_each_option_with_its_default(name):
    config = bundle_parser("inference").config
    if name == "device":  # the config itself chooses
        assert config["device"] == "$'cuda:0' if torch.cuda.is_available() else 'cpu'"
    else:
        assert config[IN_CONFIG[name]] == getattr(DEFAULTS, name)


def test_the_config_records_the_recorded_options_and_the_files():
    recorded = bundle_parser("inference").config["saving"]["settings"]
    of_files = {"weights", "color_map", "transform"}
    assert list(recorded) == [
        "_target_",
        "weights",
        *[name for name in NAMES if name in {*RECORDED, *of_files} - {"weights"}],
    ]
    assert all(value == f"@{name}" for name, value in recorded.items() if name not in {"_target_", "weights"})


@pytest.mark.parametrize("name", NAMES)
def test_the_command_has_each_option_with_its_default_and_help(name):
    command = typer.main.get_command(app).commands["fuse"]
    (option,) = [parameter for parameter in command.params if parameter.name == name]
    assert option.default == getattr(DEFAULTS, name)
    assert option.help == help_of(name)


def test_the_choices_are_those_of_what_uses_them():
    assert (*PLANES, "in-plane") == SLICE_PLANES
    assert choices_of("window") == (*CT_WINDOWS, AUTO_WINDOW)
    assert choices_of("task") == (AUTO_TASK, *TASKS)
    for precision in choices_of("precision"):
        SliceWiseInferer(precision=precision)
    with pytest.raises(InputError, match=f"use {', '.join(choices_of('precision'))}$"):
        SliceWiseInferer(precision="int8")


@pytest.mark.parametrize("name", NAMES)
def test_each_option_has_one_line_of_help(name):
    assert help_of(name).endswith(".")
    assert "\n" not in help_of(name)
    assert all(choice in help_of(name) for choice in choices_of(name))


def test_settings_and_keywords_fuse_the_same_way(tmp_path):
    images = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5)
    settings = FusionSettings(device="cpu", plane="coronal", gray=True)
    outputs = [tmp_path / f"{index}.nii.gz" for index in range(3)]
    fuse(*images, outputs[0], settings, modality_b="pet")
    fuse(*images, outputs[1], modality_b="pet", **asdict(settings))
    fuse(*images, outputs[2], replace(settings, plane="axial"), modality_b="pet", plane="coronal")
    assert len({output.read_bytes() for output in outputs}) == 1


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="smooth"):
        Fuser(smooth=True)


@pytest.mark.parametrize("gib", [0, -1.0, float("nan")])
def test_no_memory_is_refused(gib):
    with pytest.raises(InputError, match="more than 0"):
        FusionSettings(max_gib=gib)


@pytest.mark.parametrize("option", ["range_a", "range_b"])
def test_a_range_that_does_not_run_upwards_is_refused(option):
    with pytest.raises(InputError, match="unusable range '6,0'"):
        FusionSettings(**{option: "6,0"})


def test_the_record_has_the_ranges_and_the_command_takes_them(tmp_path):
    images = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5)
    options = ["--range-a", "-10,250", "--range-b", "0,120", "--modality-b", "pet", "--device", "cpu"]
    output = tmp_path / "fused.nii.gz"
    result = CliRunner().invoke(app, ["fuse", *map(str, images), "-o", str(output), *options])
    assert result.exit_code == 0, result.stderr
    record = FusionRecord.read(output)
    assert (record.settings.range_a, record.settings.range_b) == ("-10,250", "0,120")
    assert [record.sources[key].intensity_range for key in ("image_a", "image_b")] == [[-10, 250], [0, 120]]
    own = tmp_path / "own.nii.gz"
    fuse(*images, own, modality_b="pet", device="cpu")
    assert own.read_bytes() != output.read_bytes()
