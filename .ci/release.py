"""Check that a release is possible, build all its parts into dist/, and list the remaining manual steps.

    python .ci/release.py           # two minutes, in the environment of the tests

Run `.ci/run` first: it leaves a note of the commit that it tested. Exit code 1 when a check fails; the build is then a
draft. See docs/project/releasing.md.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from monai_s3im import __version__
from monai_s3im.doctor.function import answers, weights
from monai_s3im.formats.writing import sha256_of

ROOT = Path(__file__).resolve().parents[1]
TESTED = ROOT / "build" / "tested"  # written at the end of .ci/run
SMALL_PHANTOM = """
import nibabel
from monai_s3im.phantom import head_phantom
for name, volume in head_phantom((40, 48, 6), (4.8, 4.8, 20.0)).volumes.items():
    nibabel.save(nibabel.Nifti1Image(volume[0].numpy(), volume.affine.numpy()), f"{name}.nii.gz")
"""
BY_HAND = """
By hand, in this order (docs/project/releasing.md):
 0. The first time: the name monai-s3im is registered on PyPI.
 1. Read the changelog and the model card as a stranger; look at the site and the report in a browser.
 2. git tag -s v{version} && git push origin v{version}
 3. A release on GitHub with the files of dist/, and the changelog's section as its text.
 4. twine upload dist/*.whl dist/*.tar.gz; then install it in a new environment and run s3im doctor.
 5. Model zoo: a pull request that adds the folder of {bundle}, and its unit test (docs/project/releasing.md).
 6. Slicer: a pull request to ExtensionsIndex with S3IMFusion.json of {extension}.
 7. Where the audit was not done: do it where PyPI can be reached.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    failures = [*problems(ROOT)]
    built = build(arguments.output)
    for file in built:
        print(f"built   {file.name}")
    for failure in failures:
        print(f"failed  {failure}")
    print(BY_HAND.format(version=__version__, bundle=built[3].name, extension=built[4].name))
    sys.exit(bool(failures))


def problems(root: Path) -> Iterator[str]:
    """The problems that prevent a release, in sentences."""
    yield from version_problems(root)
    yield from owner_problems(root)
    for check in (weights, answers):
        yield from (text for status, text in check(root / "bundle" / "models") if status != "ok")
    if _git("status", "--porcelain"):
        yield "there are changes that are not committed"
    tested = TESTED.read_text(encoding="ascii").strip() if TESTED.is_file() else "none"
    if tested != _git("rev-parse", "HEAD"):
        yield f"this commit is not the tested one ({tested[:12]}): run .ci/run"


def owner_problems(root: Path) -> Iterator[str]:
    """The address of the repository names its owner."""
    repository = run_path(str(ROOT / ".ci" / "repository.py"))
    if repository["owner_of"](root) == repository["NO_OWNER"]:
        yield "pyproject.toml does not name the repository's owner: run python .ci/repository.py with its name"


def version_problems(root: Path) -> Iterator[str]:
    """Every place with the version must match monai_s3im/__init__.py."""
    metadata = json.loads((root / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(rf"^## \[{re.escape(__version__)}\] - (\d{{4}}-\d\d-\d\d)$", changelog, re.MULTILINE)
    places = {
        "version of metadata.json": metadata["version"],
        "monai-s3im of metadata.json": metadata["required_packages_version"]["monai-s3im"],
        "CITATION.cff": re.search(r"^version: (.+)$", citation, re.MULTILINE)[1],
    }
    yield from (f"{place} is {found}, not {__version__}" for place, found in places.items() if found != __version__)
    if __version__ not in metadata["changelog"]:
        yield f"the changelog of metadata.json has no {__version__}"
    if section is None:
        yield f"CHANGELOG.md has no section '## [{__version__}] - YYYY-MM-DD'"
    elif f"date-released: {section[1]}" not in citation:
        yield f"CITATION.cff is not of {section[1]}, the date in CHANGELOG.md"


def build(output: Path) -> list[Path]:
    """Wheel, source, bundle, extension, list of parts and sums, in a new folder."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    wheel = Path(next(WheelBuilder(str(ROOT)).build(directory=str(output), versions=["standard"])))
    source = Path(next(SdistBuilder(str(ROOT)).build(directory=str(output), versions=["standard"])))
    with tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder) / "environment", wheel)
        try_installed(python, Path(folder))
        bundle = run_path(str(ROOT / ".ci" / "bundle.py"))["assemble"](Path(folder))
        zoo = run_path(str(ROOT / ".ci" / "zoo" / "build.py"))["assemble"](Path(folder))
        zipped = [
            zip_folder(bundle, output / f"s3im_fusion_v{__version__}.zip"),
            zip_folder(zoo, output / f"{zoo.name}_v{__version__}.zip"),
            zip_folder(extension_tree(Path(folder)), output / f"S3IMFusion-extension-{__version__}.zip"),
        ]
        parts = list_parts(python, Path(folder), output)
    files = [wheel, source, *zipped, *parts]
    sums = output / "SHA256SUMS"
    sums.write_text("".join(f"{sha256_of(file)}  {file.name}\n" for file in files), encoding="ascii")
    return [*files, sums]


def install(folder: Path, package: Path) -> Path:
    """Install a wheel or source into a new environment that shares this one's packages; return its Python."""
    venv.create(folder, with_pip=False)
    python = next(path for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if path.exists())
    probe = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(probe, check=True, capture_output=True, text=True).stdout.strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--ignore-installed", package], check=True)
    return python


def try_installed(python: Path, folder: Path) -> None:
    """Examine the installation, and fuse two volumes of a small phantom, outside the checkout."""
    command = python.with_name("s3im")
    subprocess.run([python, "-c", SMALL_PHANTOM], cwd=folder, check=True)
    subprocess.run([command, "doctor"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    fuse = [command, "fuse", "t1.nii.gz", "ct.nii.gz", "--modality-a", "mr", "-o", "fused.nii.gz"]
    subprocess.run(fuse, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def extension_tree(folder: Path) -> Path:
    """The extension: its catalogue entry, and the installed module."""
    tree = folder / "S3IMFusion"
    tree.mkdir()
    for name in ("CMakeLists.txt", "slicer_extension/S3IMFusion.json"):
        shutil.copy(ROOT / name, tree)
    shutil.copy(ROOT / "LICENSE", tree)
    shutil.copy(ROOT / "slicer_extension" / "README.md", tree)
    stand_in = ROOT / "tests" / "slicer_extension" / "mock_slicer"
    configure = ["cmake", "-S", ROOT, "-B", folder / "cmake", f"-DSlicer_DIR={stand_in}"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    install_it = ["cmake", "--install", folder / "cmake", "--prefix", folder / "installed"]
    subprocess.run(install_it, check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(next((folder / "installed").rglob("qt-scripted-modules")), tree / "qt-scripted-modules")
    return tree


def zip_folder(folder: Path, file: Path) -> Path:
    return Path(shutil.make_archive(str(file.with_suffix("")), "zip", folder.parent, folder.name))


def list_parts(python: Path, folder: Path, output: Path) -> list[Path]:
    """SBOM and audit of the environment, by pinned tools in a separate environment."""
    venv.create(folder / "tools", with_pip=True)
    tools = next(path for path in (folder / "tools").glob("*/python*") if path.stem == "python")
    pip = [tools, "-m", "pip", "install", "-q", "-r", ROOT / ".ci" / "audit-requirements.txt"]
    subprocess.run(pip, check=True)
    subprocess.run([tools, ROOT / ".ci" / "audit.py", python, output], check=True)
    (output / "audit.txt").unlink()
    return [output / "sbom.json", output / "audit.json"]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
