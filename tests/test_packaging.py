"""The wheel carries the bundle, and finds it from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from PIL import Image

from monai_s3im import __version__

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the unpacked wheel, as an installation has it."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    assert Path(wheel).name == f"monai_s3im-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_whole_bundle_and_the_licence(site):
    files = {str(path.relative_to(ROOT / "bundle")) for path in (ROOT / "bundle").rglob("*.*")}
    packed = {str(path.relative_to(site / "monai_s3im" / "bundle")) for path in site.rglob("bundle/**/*.*")}
    assert {"configs/train.json", "configs/inference.json", "models/model.pt", "docs/README.md"} <= packed
    assert files <= packed
    assert list(site.glob("*.dist-info/licenses/LICENSE"))
    assert list(site.glob("*.dist-info/licenses/**/LICENSE-ICBM152"))
    assert (site / "monai_s3im" / "data" / "phantom" / "icbm152.npz").is_file()
    assert not list(site.rglob("tests"))


def test_the_installed_package_fuses_from_any_folder(site, tmp_path):
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (40, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    code = f"import monai_s3im; assert monai_s3im.__file__.startswith({str(site)!r})\n"
    code += "from monai_s3im.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "fuse", "a.png", "b.png", "-o", "fused.png"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "fused.png") as fused:
        assert fused.size == (30, 40)


def test_the_wheel_finds_the_library_for_the_process_of_the_web_front(site, tmp_path):
    assert (site / "s3im_web" / "serve" / "upload.js").is_file()
    code = "from S3IMFusionLib.paths import library_paths; print(*library_paths())"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(site)]
