"""The network in other runtimes: written, read, and used as the weights of a fusion."""

import sys

import pytest
import torch
from sample_images import write_volume
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.errors import InputError, OutputError
from monai_s3im.networks import EXPORT_FORMATS, S3IMFusion, export_network, load_exported, load_weights
from monai_s3im.pipeline import Fuser

UNSEEN = [(1, 2, 17, 33), (3, 2, 64, 8), (1, 2, 1, 1)]


@pytest.fixture(scope="module")
def network():
    return load_weights(S3IMFusion(), bundle_root() / "models" / "model.pt")


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return {name: export_network(network, folder / f"model{suffix}") for name, suffix in EXPORT_FORMATS.items()}


@torch.no_grad()
@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_an_exported_network_fuses_as_the_network_does(network, files, name):
    exported = load_exported(files[name])
    for size in UNSEEN:
        image = torch.rand(size)
        torch.testing.assert_close(exported(image), network(image), rtol=0, atol=1e-5)


def test_two_results_of_a_runtime_do_not_share_memory(files):
    exported = load_exported(files["openvino"])
    first = exported(torch.zeros(1, 2, 8, 8))
    kept = first.clone()
    exported(torch.ones(1, 2, 8, 8))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_a_volume_fused_by_an_exported_network_has_the_same_voxels(files, name, tmp_path):
    pair = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5)
    expected = Fuser(device="cpu", task="figure-2")(*pair)
    torch.testing.assert_close(Fuser(device="cpu", weights=files[name])(*pair), expected, rtol=0, atol=1e-5)


def test_the_command_exports_what_the_command_takes(tmp_path):
    file = tmp_path / "model.ts"
    result = CliRunner().invoke(app, ["export", str(file)])
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["model.ts"]
    assert load_exported(file)(torch.zeros(1, 2, 8, 8)).shape == (1, 1, 8, 8)


def test_another_suffix_is_refused_by_the_command(tmp_path):
    result = CliRunner().invoke(app, ["export", str(tmp_path / "model.engine")])
    assert result.exit_code == 2
    assert "give a file that ends in .ts, .onnx, .xml" in " ".join(result.output.split())


def test_an_export_into_a_missing_folder_is_reported(network, tmp_path):
    with pytest.raises(OutputError, match=r"missing/model.ts cannot be written \(No such file or directory\)"):
        export_network(network, tmp_path / "missing" / "model.ts")


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_a_damaged_export_is_refused(tmp_path, name):
    file = tmp_path / f"model{EXPORT_FORMATS[name]}"
    file.write_bytes(b"no network")
    with pytest.raises(InputError, match="cannot be read as a network"):
        load_weights(S3IMFusion(), file)


@pytest.mark.parametrize(("name", "library"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed_is_named(files, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"cannot run without {library}: .*pip install .*{library}>="):
        load_exported(files[name])


@torch.no_grad()
@pytest.mark.parametrize("example", [(24, 40), (21, 35)])
def test_an_exported_program_takes_any_number_and_size_of_images(network, example):
    """Of torch.export alone, whose guards hold a program to the sizes that it was made for."""
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(network, (torch.rand(2, 2, *example),), dynamic_shapes=(free,)).module()
    for size in [(1, 2, 17, 33), (3, 2, 64, 16), (2, 2, 40, 27)]:
        image = torch.rand(size)
        torch.testing.assert_close(program(image), network(image), rtol=0, atol=1e-5)
