"""Every way of computing gives the same image within the bounds of studies/numerics.md."""

import json

import pytest
import torch
from sample_images import write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.inferers import SliceWiseInferer
from monai_s3im.networks import S3IMFusion, load_weights
from monai_s3im.phantom import head_phantom
from monai_s3im.pipeline import Fuser
from monai_s3im.transforms import NormalizeModality
from monai_s3im.workflows import Training

SMALL = ((40, 48, 6), (4.8, 4.8, 20.0))
BOUNDS = {"TorchScript": 1e-5, "threads": 1e-5, "slices at once": 1e-5, "GPU, float32": 1e-4, "GPU, TF32": 5e-3}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def sources():
    """MR and CT as the network sees them, (1, 2, H, W, D)."""
    volumes = head_phantom(*SMALL).volumes
    pair = (NormalizeModality("mr")(volumes["t1"]), NormalizeModality("ct")(volumes["ct"]))
    return torch.cat([volume.as_tensor() for volume in pair])[None].float()


@pytest.fixture(scope="module")
def network():
    return load_weights(S3IMFusion(), bundle_root() / "models" / "model.pt")


@torch.no_grad()
def fused(sources, network, slices=1, deterministic=False):
    return SliceWiseInferer(slices, deterministic=deterministic)(sources, network).cpu().clamp(0, 1)


@pytest.fixture(scope="module")
def expected(sources, network):
    """One thread, one slice at a time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fused(sources, network)
    finally:
        torch.set_num_threads(threads)


def assert_near(image, expected, way):
    torch.testing.assert_close(image, expected, rtol=0, atol=BOUNDS[way])


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("number", [2])
def test_more_threads_fuse_the_same(sources, network, expected, threads, number):
    threads(number)
    assert_near(fused(sources, network), expected, "threads")


@pytest.mark.parametrize("slices", [2, 5])
def test_more_slices_at_once_fuse_the_same(sources, network, expected, slices):
    assert_near(fused(sources, network, slices), expected, "slices at once")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_scripted_network_of_the_package_fuses_the_same(sources, network, expected):
    assert_near(fused(sources, torch.jit.script(network)), expected, "TorchScript")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("tf32", [False, True])
def test_the_gpu_fuses_the_same(sources, expected, tf32):
    network = load_weights(S3IMFusion(), bundle_root() / "models" / "model.pt").cuda()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=tf32):
        assert_near(fused(sources.cuda(), network, 4), expected, "GPU, TF32" if tf32 else "GPU, float32")


@pytest.mark.gpu
@needs_gpu
def test_the_gpu_reproduces_the_same_bytes_on_request(sources, expected):
    network = load_weights(S3IMFusion(), bundle_root() / "models" / "model.pt").cuda()
    first, second = (fused(sources.cuda(), network, slices, deterministic=True) for slices in (1, 4))
    assert torch.equal(first, second)
    assert_near(first, expected, "GPU, float32")


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("number", [1, 2])
def test_deterministic_bytes_do_not_depend_on_threads_nor_slices_at_once(
    sources, network, expected, threads, number, slices
):
    threads(number)
    assert torch.equal(fused(sources, network, slices, deterministic=True), expected)
    assert torch.get_num_threads() == number
    assert not torch.are_deterministic_algorithms_enabled()


def test_settings_of_torch_return_after_an_error(sources):
    def broken(image):
        raise ValueError("broken")

    before = torch.backends.cudnn.allow_tf32, torch.get_num_threads()
    with pytest.raises(ValueError, match="broken"):
        fused(sources, broken, deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert (torch.backends.cudnn.allow_tf32, torch.get_num_threads()) == before


@pytest.fixture
def pair(tmp_path):
    return [str(write_volume(tmp_path / f"{name}.nii.gz", seed)) for name, seed in (("a", 0), ("b", 5))]


def test_the_command_writes_the_same_bytes_with_other_threads(pair, tmp_path, threads):
    options = ["--deterministic", "--device", "cpu", "--modality-a", "mr", "--modality-b", "pet"]
    for number in (1, 2):
        threads(number)
        (tmp_path / str(number)).mkdir()
        result = CliRunner().invoke(app, ["fuse", *pair, *options, "-o", str(tmp_path / f"{number}/fused.nii.gz")])
        assert result.exit_code == 0, result.output
    for name in ("fused.nii.gz", "fused.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_function_and_command_know_the_setting(pair, tmp_path):
    options = ["--deterministic", "--device", "cpu", "-o", str(tmp_path / "command.nii.gz")]
    assert CliRunner().invoke(app, ["fuse", *pair, *options]).exit_code == 0
    Fuser(device="cpu", deterministic=True)(*pair, tmp_path / "function.nii.gz")
    assert (tmp_path / "command.nii.gz").read_bytes() == (tmp_path / "function.nii.gz").read_bytes()
    assert '"deterministic": true' in (tmp_path / "command.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("config", [None, ["train", "train_salient"]])
def test_training_uses_deterministic_algorithms_on_request(config, tmp_path):
    files = [str(bundle_root() / "configs" / f"{name}.json") for name in config] if config else None
    folder = tmp_path / "data"
    folder.mkdir()
    for name in "ab":
        write_picture(folder / f"{name}.png", ord(name))
    items = [{"image_a": "a.png", "image_b": "b.png"}]
    (folder / "datalist.json").write_text(json.dumps({"training": items, "validation": items}))
    settings = {"dataset_dir": str(folder), "output_dir": str(tmp_path / "run"), "device": "cpu", "logging_file": False}
    workflow = Training(files, deterministic=True, **settings)
    try:
        workflow.initialize()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
