"""The extension as a package: catalogue entry, content, imports and network use."""

import ast
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "slicer_extension"
MODULE = EXTENSION / "S3IMFusion"
SOURCES = sorted(path for path in MODULE.rglob("*.py"))
SLICERS = {"DICOMLib", "slicer", "qt", "ctk", "vtk", "numpy"}  # what the index lets a module import at file scope
OURS = {"S3IMFusion", "S3IMFusionLib"}
CMAKE = shutil.which("cmake")
needs_cmake = pytest.mark.skipif(CMAKE is None, reason="needs cmake: the extension cannot be configured here")


def listed(variable):
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8").replace("${MODULE_NAME}", "S3IMFusion")
    return set(re.search(rf"set\({variable}\s+(.*?)\)", text, re.DOTALL)[1].split())


def shipped(folder, *suffixes):
    return {str(file.relative_to(MODULE)) for file in (MODULE / folder).rglob("*") if file.suffix in suffixes}


def test_every_script_is_listed_and_every_listed_script_exists():
    assert listed("MODULE_PYTHON_SCRIPTS") == {"S3IMFusion.py"} | shipped("S3IMFusionLib", ".py")


def test_every_resource_is_listed_and_every_listed_resource_exists():
    assert listed("MODULE_PYTHON_RESOURCES") == shipped("Resources", ".png", ".ui", ".txt")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The tree that cmake installs, configured against a stand-in of Slicer's build."""
    folder = tmp_path_factory.mktemp("extension")
    configure = [CMAKE, "-S", ROOT, "-B", folder / "build", f"-DSlicer_DIR={Path(__file__).parent / 'mock_slicer'}"]
    result = subprocess.run([*configure, "-DBUILD_TESTING=ON"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "unittest S3IMFusion.py" in result.stdout
    assert "unittest S3IMFusionSceneTest.py" in result.stdout
    subprocess.run([CMAKE, "--install", folder / "build", "--prefix", folder / "installed"], check=True)
    return folder / "installed" / "lib" / "Slicer-5.12" / "qt-scripted-modules"


@needs_cmake
def test_the_installed_tree_has_the_module_the_library_and_the_bundle(installed):
    files = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    library = "S3IMFusionLib/library/monai_s3im"
    assert {"S3IMFusion.py", "Resources/UI/S3IMFusion.ui", "S3IMFusionLib/logic.py"} <= files
    assert {f"{library}/pipeline.py", f"{library}/bundle/configs/inference.json"} <= files
    assert f"{library}/bundle/models/model.pt" in files
    assert not [file for file in files if "__pycache__" in file or file.startswith("tests")]


FUSE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import slicer, vtk
from vtk.util.numpy_support import numpy_to_vtk
from S3IMFusionLib.logic import FusionLogic
from S3IMFusionLib.process import Worker
from S3IMFusionLib.sample_data import Grid, head_phantom
scene, volumes = slicer.vtkMRMLScene(), []
for name, voxels in zip(("MR", "CT"), head_phantom(Grid((48, 56, 12), (4.0, 4.0, 12.0)))):
    image = vtk.vtkImageData()
    image.SetDimensions(48, 56, 12)
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    volumes.append(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name))
    volumes[-1].SetAndObserveImageData(image)
logic = FusionLogic(scene, Worker(env={"PYTHONPATH": sys.argv[2]}))
fused = logic.process(*volumes)
logic.close()
print(fused.GetImageData().GetDimensions(), json.loads(fused.GetAttribute("S3IMFusion.Record")))
"""


SLICERS_PACKAGES = {"numpy", "requests", "simpleitk", "pydicom"}  # that the library uses, and Slicer brings
BLOCKER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def distribution_name(text):
    return re.match(r"[\w.-]+", text)[0].lower().replace("_", "-")


def with_what_they_need(names):
    """Distributions and those that they need, without extras."""
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
        found.add(name)
        waiting |= {distribution_name(line) for line in needed if "extra ==" not in line} - found
    return found


@pytest.fixture
def only_what_slicer_has(tmp_path):
    """A folder for PYTHONPATH that hides the packages which a Slicer with our requirements would not have."""
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = {distribution_name(line) for line in lines if line and not line.startswith("#")}
    there = with_what_they_need(required | SLICERS_PACKAGES | {"torch"})
    absent = {
        module
        for module, names in metadata.packages_distributions().items()
        if not {distribution_name(name) for name in names} & (there | {"monai-s3im"})
    }
    assert {"typer", "ignite", "pytest"} <= absent
    folder = tmp_path / "only"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"NAMES = {absent!r}\n{BLOCKER}", encoding="utf-8")
    return folder


@needs_cmake
def test_the_installed_tree_fuses_by_its_own_library_and_the_listed_packages(installed, only_what_slicer_has, tmp_path):
    pytest.importorskip("slicer", reason="needs slicer-core")
    own = tmp_path / "qt-scripted-modules"
    shutil.copytree(installed, own)
    version = own / "S3IMFusionLib" / "library" / "monai_s3im" / "__init__.py"
    version.write_text('__version__ = "of the installed tree"\n', encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = [sys.executable, "-I", "-c", FUSE, own, only_what_slicer_has]
    result = subprocess.run(python, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("(48, 56, 12)")
    assert "of the installed tree" in result.stdout


@pytest.mark.parametrize(("name", "size"), [("S3IMFusion", 128), ("S3IMFusion-256", 256)])
def test_the_icon_has_its_size_and_shows_when_it_is_small(name, size):
    with Image.open(MODULE / "Resources" / "Icons" / f"{name}.png") as icon:
        assert icon.size == (size, size)
        small = icon.convert("RGB").resize((24, 24), Image.Resampling.BOX)
    red, _, blue = small.getpixel((7, 12))
    assert blue > 1.5 * red  # A's half
    red, _, blue = small.getpixel((16, 12))
    assert red > 1.5 * blue  # B's half


def imports_at_file_scope(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for part in ast.walk(node) if isinstance(node, (ast.Import, ast.ImportFrom, ast.Try, ast.If)) else ():
            if isinstance(part, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in part.names)
            elif isinstance(part, ast.ImportFrom) and part.level == 0:
                yield part.module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_imports_only_what_slicer_has(path):
    assert set(imports_at_file_scope(path)) <= SLICERS | OURS | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_does_nothing_when_it_is_imported(path):
    work = (ast.For, ast.While, ast.With, ast.Raise, ast.Delete)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and "sys.version_info" in ast.unparse(node.test):
            continue  # refuses a Slicer that is too old
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        assert is_text or is_main or not isinstance(node, (ast.Expr, ast.If, *work)), ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_is_python_3_11_without_the_module_imp(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 11))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "imp" not in names


def test_the_extension_never_installs_torch_itself_nor_opens_the_network():
    network = {"urllib", "requests", "http", "socket", "ftplib", "ssl", "asyncio", "xmlrpc"}
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert not {name.partition(".")[0] for name in imported} & network, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {
                "pip_install",
                "pip_ensure",
            }:
                assert path.name in {"install.py", "pip_run.py"}
                assert "torch" not in ast.unparse(node).lower()


def test_the_requirements_are_those_of_the_library_and_none_of_slicers_own():
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(requirements) <= set(project["dependencies"])
    names = {re.match(r"[\w-]+", line)[0].lower() for line in requirements}
    assert "monai" in names
    assert not names & {"torch", "numpy", "simpleitk", "requests", "vtk", "scipy"}


def test_an_error_for_a_python_too_old_names_which_slicer_to_take(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 10, "final", 0))  # of Slicer 5.8.1
    with pytest.raises(ImportError, match=r"S3IMFusion needs Slicer 5\.10 or later"):
        runpy.run_path(str(MODULE / "S3IMFusionLib" / "__init__.py"))


def test_the_sample_data_is_the_same_everywhere(tmp_path):
    from S3IMFusionLib.sample_data import SHA256, write_sample_data

    files = write_sample_data(tmp_path)
    assert tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files) == SHA256


def test_damaged_sample_data_is_made_again(tmp_path):
    from S3IMFusionLib.sample_data import SHA256, write_sample_data

    for file in write_sample_data(tmp_path):
        file.write_bytes(file.read_bytes()[:1000])
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in write_sample_data(tmp_path)] == list(SHA256)
