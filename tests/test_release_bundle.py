"""The stand-alone bundle runs without the package, from inside and outside its folder, and passes the zoo's checks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from monai.bundle import verify_metadata
from PIL import Image

from monai_s3im.networks import S3IMFusion, load_weights

ROOT = Path(__file__).resolve().parents[1]
HIDE = f"""
import sys
sys.path[:] = [path for path in sys.path if path != {str(ROOT)!r}]
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return run_path(str(ROOT / ".ci" / "bundle.py"))["assemble"](tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """A folder for PYTHONPATH that hides the checkout."""
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "sitecustomize.py").write_text(HIDE)
    return folder


@pytest.fixture
def python(hidden):
    def run(*arguments, cwd, path=()):
        result = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, [hidden, *path]))},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr[-3000:]

    return run


def test_the_package_is_not_there_without_the_bundle(hidden, tmp_path):
    command = [sys.executable, "-c", "import monai_s3im.networks"]
    result = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(hidden)}, capture_output=True, check=False
    )
    assert b"No module named 'monai_s3im" in result.stderr


def test_it_contains_what_the_zoo_requires(bundle):
    for name in ("LICENSE", "docs/README.md", "models/model.pt", "models/manifest.json"):
        assert (bundle / name).is_file()
    for name in ("train.json", "inference.json", "metadata.json", "logging.conf"):
        assert (bundle / "configs" / name).is_file()
    image = torch.rand(1, 2, 24, 40)
    expected = load_weights(S3IMFusion(), bundle / "models" / "model.pt")(image)
    torch.testing.assert_close(torch.jit.load(bundle / "models" / "model.ts")(image), expected, rtol=0, atol=1e-5)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert "monai-s3im" not in metadata["required_packages_version"]
    size = sum(file.stat().st_size for file in bundle.rglob("*"))
    assert size < 25_000_000
    assert not list(bundle.rglob("__pycache__"))
    assert not list(bundle.rglob("niivue*"))


def test_it_needs_only_what_its_metadata_names(bundle):
    """Every module that its library imports at file scope is its own, of Python, or of a package that it names."""
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    named = {name.lower() for name in metadata["required_packages_version"]} | {"torch", "numpy", "monai"}
    modules = {"ignite": "pytorch-ignite", "PIL": "pillow"}
    imported = set()
    for file in (bundle / "monai_s3im").rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if line.startswith(("import ", "from ")) and not words[1].startswith("."):
                imported.add(words[1].partition(".")[0])
    outside = imported - set(sys.stdlib_module_names) - {"monai_s3im"}
    assert {modules.get(name, name).lower() for name in outside} <= named


@pytest.fixture
def pair(tmp_path):
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (72, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return ["--image_a", tmp_path / "a.png", "--image_b", tmp_path / "b.png", "--device", "cpu"]


def test_it_fuses_from_inside_and_from_outside_its_folder(bundle, pair, python, tmp_path):
    run = ["-m", "monai.bundle", "run", "--config_file"]
    python(*run, "configs/inference.json", *pair, "--output_dir", tmp_path / "inside", cwd=bundle)
    outside = [bundle / "configs" / "inference.json", "--bundle_root", bundle, *pair]
    python(*run, *outside, "--output_dir", tmp_path / "outside", cwd=tmp_path)
    assert (tmp_path / "inside" / "a.png").read_bytes() == (tmp_path / "outside" / "a.png").read_bytes()


@pytest.mark.slow
def test_it_trains_from_its_folder(bundle, python, pair, tmp_path):
    items = [{"image_a": "a.png", "image_b": "b.png", "modality_a": "mr", "modality_b": "ct"}]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": items, "validation": items}))
    configs = "['configs/train.json','configs/train_salient.json']"
    settings = ["--dataset_dir", tmp_path, "--epochs", "1", "--patch_size", "64", "--device", "cpu"]
    run = ["-m", "monai.bundle", "run", "training", "--config_file", configs, "--output_dir", tmp_path / "run"]
    python(*run, *settings, cwd=bundle)
    load_weights(S3IMFusion(), tmp_path / "run" / "model.pt")


@pytest.mark.filterwarnings("ignore:No hash value:UserWarning")  # the schema is local, not fetched
def test_the_zoo_takes_its_metadata(bundle, shared_data):
    (schema,) = (shared_data / "reference").glob("meta_schema_*.json")
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


ZOO = """
import sys
from monai.bundle import ckpt_export, verify_net_in_out
import monai_s3im
assert monai_s3im.__file__.startswith(sys.argv[1]), monai_s3im.__file__
files = {"meta_file": sys.argv[1] + "/configs/metadata.json", "config_file": sys.argv[1] + "/configs/inference.json"}
verify_net_in_out("network_def", device="cpu", **files)
ckpt_export("network_def", filepath="model.ts", ckpt_file=sys.argv[1] + "/models/model.pt", **files)
"""


def test_the_zoo_takes_its_network_and_exports_it_to_torchscript(bundle, python, tmp_path):
    python("-c", ZOO, bundle, cwd=tmp_path, path=[bundle])
    image = torch.rand(1, 2, 40, 56, generator=torch.Generator().manual_seed(0))
    network = load_weights(S3IMFusion(), bundle / "models" / "model.pt")
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts")(image), network(image), rtol=0, atol=1e-5)
