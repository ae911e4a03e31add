"""The wheel contains the bundle and finds it from any folder."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.sdist import SdistBuilder
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
        archive.extractall(folder / "site")  # noqa: S202, our own
    return folder / "site"


def test_the_wheel_contains_the_whole_bundle_and_the_licence(site):
    files = {str(path.relative_to(ROOT / "bundle")) for path in (ROOT / "bundle").rglob("*.*")}
    packed = {str(path.relative_to(site / "monai_s3im" / "bundle")) for path in site.rglob("bundle/**/*.*")}
    assert {"configs/train.json", "configs/inference.json", "models/model.pt", "docs/README.md"} <= packed
    assert files <= packed
    assert list(site.glob("*.dist-info/licenses/LICENSE"))
    assert list(site.glob("*.dist-info/licenses/**/LICENSE-ICBM152"))
    assert (site / "monai_s3im" / "phantom" / "icbm152.npz").is_file()
    assert not list(site.rglob("tests"))


def test_the_source_archive_contains_what_make_needs(tmp_path):
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(archive) as source:
        files = {name.partition("/")[2] for name in source.getnames()}
    needed = re.findall(
        r"[\w./-]+\.(?:py|txt|toml)\b", (ROOT / "Makefile").read_text() + (ROOT / "tools/environment.py").read_text()
    )
    assert {"tools/environment.py", "constraints.txt", "pyproject.toml", ".ci/audit.py"} <= {*needed}
    assert {name for name in needed if (ROOT / name).is_file()} | {"Makefile", "README.md", "LICENSE"} <= files


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


@pytest.mark.parametrize(
    ("extra", "file"),
    [
        ("export", "monai_s3im/networks/export.py"),
        ("ray", "monai_s3im/batch/ray_pool.py"),
        ("web", "web/s3im_web/command.py"),
    ],
)
def test_what_is_missing_is_named_by_packages_that_an_index_has(extra, file):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = " ".join(f"'{package}'" for package in project["optional-dependencies"][extra])
    assert packages in (ROOT / file).read_text(encoding="utf-8")


def test_no_page_or_message_installs_from_pypi_what_is_missing():
    folders = ("monai_s3im", "slicer_extension", "docs", "studies", "tests", "benchmarks", "bundle", ".ci")
    files = [ROOT / "README.md", *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    texts = {
        file: file.read_text(encoding="utf-8") for file in files if file.suffix in {".md", ".py", ".ipynb", ".yml"}
    }
    installs = re.compile(
        r"(?:pip|pipx|uv tool) install\b(?:(?![\n#]|https?://|git\+).)*?[ '\"`]monai-s3im(?![-\w.]*(?:@|/))"
    )
    assert installs.search("pip install -q 'monai-s3im[ray]'")
    assert installs.search("uv tool install monai-s3im")
    assert [str(file) for file, text in texts.items() if file != Path(__file__) and installs.search(text)] == []


def test_the_wheel_has_the_page_and_the_process_of_the_module_finds_the_library(site, tmp_path):
    assert (site / "s3im_web" / "page" / "page.js").is_file()
    code = "from S3IMFusionLib.paths import library_paths; print(*library_paths())"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(site)]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["test", "test-all"])
@pytest.mark.parametrize("failing", ["ENVIRONMENT", "PYTEST", "TOGETHER", None])
def test_make_fails_when_one_of_its_steps_fails_and_says_how_long_it_took_otherwise(target, failing):
    steps = {"ENVIRONMENT": "true", "PYTEST": "true", "TOGETHER": "true"}
    if failing:
        steps[failing] = "false"
    command = ["make", target, *(f"{name}={program}" for name, program in steps.items())]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if failing and not (target == "test" and failing == "TOGETHER"):  # TOGETHER is not part of test
        assert run.returncode != 0
        assert f"make {target}: passed" not in run.stdout
    else:
        assert run.returncode == 0, run.stderr
        assert re.search(rf"make {target}: passed in \d+ min \d+ s", run.stdout)
