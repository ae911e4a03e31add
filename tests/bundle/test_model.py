"""The bundle as a deliverable: metadata, weights, exports."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export, verify_metadata, verify_net_in_out

from monai_s3im import __version__
from monai_s3im.networks import S3IMFusion, load_weights

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def metadata(bundle):
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def files(bundle):
    return {
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.json"),
    }


def test_the_version_is_in_one_place(metadata):
    assert metadata["version"] == __version__
    assert metadata["version"] in metadata["changelog"]


def test_metadata_says_research_and_names_the_data(metadata):
    assert "research" in metadata["intended_use"].lower()
    assert "Whole Brain Atlas" in metadata["data_source"]


def test_metadata_fits_the_schema(bundle, shared_data):
    (schema,) = (shared_data / "reference").glob("meta_schema_*.json")
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


def test_weights_are_small_and_load_without_running_code(bundle):
    path = bundle / "models" / "model.pt"
    assert path.stat().st_size < 25_000_000
    load_weights(S3IMFusion(), path)


def test_the_network_takes_and_gives_what_the_metadata_says(files):
    verify_net_in_out("network_def", device="cpu", **files)


@pytest.fixture(scope="module")
def image_and_fused(bundle):
    image = torch.rand(2, 2, 96, 120, generator=torch.Generator().manual_seed(0))
    network = load_weights(S3IMFusion(), bundle / "models" / "model.pt")
    with torch.no_grad():
        return image, network(image)


def test_torchscript_export_gives_the_same_image(bundle, files, tmp_path, image_and_fused):
    path = tmp_path / "model.ts"
    ckpt_export("network_def", filepath=str(path), ckpt_file=str(bundle / "models" / "model.pt"), **files)
    image, fused = image_and_fused
    torch.testing.assert_close(torch.jit.load(str(path))(image), fused, rtol=0, atol=1e-4)


def test_onnx_export_gives_the_same_image(bundle, files, tmp_path, image_and_fused):
    path = tmp_path / "model.onnx"
    onnx_export("network_def", filepath=str(path), ckpt_file=str(bundle / "models" / "model.pt"), **files)
    image, _ = image_and_fused
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    sized = torch.nn.functional.interpolate(image, size=tuple(shape[2:])) if isinstance(shape[2], int) else image
    sized = sized[: shape[0]] if isinstance(shape[0], int) else sized
    (exported,) = session.run(None, {session.get_inputs()[0].name: sized.numpy()})
    with torch.no_grad():
        expected = load_weights(S3IMFusion(), bundle / "models" / "model.pt")(sized)
    np.testing.assert_allclose(exported, expected.numpy(), rtol=0, atol=1e-4)


def test_onnx_export_by_its_arguments_file_takes_any_number_and_size_of_images(bundle, monkeypatch, tmp_path):
    path = tmp_path / "model.onnx"
    monkeypatch.chdir(bundle)
    onnx_export(args_file="configs/onnx_export.json", filepath=str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    network = load_weights(S3IMFusion(), bundle / "models" / "model.pt")
    for size in [(1, 2, 17, 33), (3, 2, 64, 48)]:
        image = torch.rand(size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = network(image).numpy()
        np.testing.assert_allclose(session.run(["pred"], {"image": image.numpy()})[0], expected, rtol=0, atol=1e-4)
