"""The parts of a release have one version."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from argparse import ArgumentTypeError
from pathlib import Path
from runpy import run_path

import pytest

from monai_s3im import __version__

ROOT = Path(__file__).resolve().parents[1]
RELEASE = run_path(str(ROOT / ".ci" / "release.py"), run_name="release")
REPOSITORY = run_path(str(ROOT / ".ci" / "repository.py"), run_name="repository")
AUDIT = run_path(str(ROOT / ".ci" / "audit.py"), run_name="audit")
ADDRESS = re.compile(r"github(?:usercontent)?\.com/([^/\s]+)/S3IMFusion\b")
VERSIONED = ("bundle/configs/metadata.json", "CITATION.cff", "CHANGELOG.md")


@pytest.fixture
def versioned(tmp_path):
    """The files that contain the version, as in a release."""
    for name in VERSIONED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changelog = tmp_path / "CHANGELOG.md"
    date = (tmp_path / "CITATION.cff").read_text(encoding="utf-8").partition("date-released: ")[2][:10]
    changelog.write_text(f"# Changelog\n\n## [{__version__}] - {date}\n", encoding="utf-8")
    return tmp_path


def test_the_version_is_one_in_all_files(versioned):
    assert list(RELEASE["version_problems"](versioned)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (VERSIONED[0], f'"version": "{__version__}"', '"version": "9.9.9"', "version of metadata.json is 9.9.9, not"),
        (VERSIONED[0], f'"monai-s3im": "{__version__}"', '"monai-s3im": "9"', "monai-s3im of metadata.json is 9, not"),
        (VERSIONED[0], f'"{__version__}": "', '"9": "', "the changelog of metadata.json has no"),
        (VERSIONED[1], f"version: {__version__}", "version: 9.9", "CITATION.cff is 9.9, not"),
        (VERSIONED[1], "date-released: 2", "date-released: 1", "CITATION.cff is not of 2"),
        (VERSIONED[2], f"[{__version__}] - ", "[Unreleased] ", "CHANGELOG.md has no section"),
    ],
)
def test_another_version_is_reported(versioned, name, old, new, message):
    text = (versioned / name).read_text(encoding="utf-8")
    assert old in text
    (versioned / name).write_text(text.replace(old, new), encoding="utf-8")
    (problem,) = RELEASE["version_problems"](versioned)
    assert problem.startswith(message)


def test_cmake_and_the_catalog_give_no_version_of_their_own():
    """Slicer's index goes by revisions."""
    for name in ("CMakeLists.txt", "slicer_extension/S3IMFusion.json"):
        assert __version__ not in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("owner", ["", "a/b", "-a", "a-", "a b", "$(x)", "a" * 40])
def test_a_name_that_cannot_be_an_owner_is_refused(owner):
    with pytest.raises(ArgumentTypeError, match="cannot be the name of an owner"):
        REPOSITORY["checked"](owner)


def test_the_owner_is_set_in_all_files_at_once_and_a_release_without_one_is_a_draft(tmp_path):
    for name in REPOSITORY["FILES"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    REPOSITORY["set_owner"](tmp_path, REPOSITORY["NO_OWNER"])
    (problem,) = RELEASE["owner_problems"](tmp_path)
    assert problem.startswith("pyproject.toml does not name the repository's owner")
    REPOSITORY["set_owner"](tmp_path, "my-hospital")
    assert list(RELEASE["owner_problems"](tmp_path)) == []
    named = {name: (tmp_path / name).read_text(encoding="utf-8") for name in REPOSITORY["FILES"]}
    assert {owner for text in named.values() for owner in ADDRESS.findall(text)} == {"my-hospital"}
    REPOSITORY["set_owner"](tmp_path, REPOSITORY["owner_of"](ROOT))
    assert all((tmp_path / name).read_bytes() == (ROOT / name).read_bytes() for name in named)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout: Git lists its files")
def test_every_file_that_names_the_repositorys_address_is_among_those_that_are_set():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        if Path(name).suffix in {".py", ".md", ".toml", ".yml", ".cff", ".json", ".txt", ".ui"} and name[:5] != "tests":
            found[name] = set(ADDRESS.findall((ROOT / name).read_text(encoding="utf-8")))
    named = {name for name, owners in found.items() if owners}
    assert {"pyproject.toml", "CMakeLists.txt", "slicer_extension/S3IMFusion.json"} <= named <= {*REPOSITORY["FILES"]}
    assert set.union(*found.values()) == {REPOSITORY["owner_of"](ROOT)}


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake: the extension cannot be configured here")
def test_the_archive_of_the_extension_holds_the_module_and_what_the_index_reads(tmp_path):
    tree = RELEASE["extension_tree"](tmp_path)
    for name in ("slicer_extension/S3IMFusion.json", "CMakeLists.txt"):
        assert (tree / Path(name).name).read_bytes() == (ROOT / name).read_bytes()
    with zipfile.ZipFile(RELEASE["zip_folder"](tree, tmp_path / "extension-0.1.0.zip")) as archive:
        names = set(archive.namelist())
    module = "S3IMFusion/qt-scripted-modules"
    assert {f"{module}/S3IMFusion.py", f"{module}/S3IMFusionLib/library/monai_s3im/bundle/models/model.pt"} <= names
    assert {"S3IMFusion/LICENSE", "S3IMFusion/README.md"} <= names


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    (wheel,) = RELEASE["WheelBuilder"](str(ROOT)).build(directory=str(folder), versions=["standard"])
    (source,) = RELEASE["SdistBuilder"](str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(wheel), Path(source)


def test_the_installed_wheel_is_well_and_fuses_outside_the_checkout(built, tmp_path):
    python = RELEASE["install"](tmp_path / "environment", built[0])
    command = [python, "-c", "import monai_s3im; print(monai_s3im.__file__)"]
    where = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert where.startswith(str(tmp_path / "environment"))
    RELEASE["try_installed"](python, tmp_path)
    record = json.loads((tmp_path / "fused.json").read_text(encoding="utf-8"))
    assert record["software"]["monai-s3im"] == __version__
    assert (tmp_path / "fused.nii.gz").is_file()


def test_the_source_builds_the_same_wheel(built, tmp_path):
    """Install with pip, from the archive alone."""
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "-w", tmp_path, built[1]], check=True)
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built[0]) as wheel, zipfile.ZipFile(again) as of_source:
        left_out = {"RECORD", "METADATA"}
        first, second = (
            {info.filename: info.CRC for info in archive.infolist() if Path(info.filename).name not in left_out}
            for archive in (wheel, of_source)
        )
    assert first == second


def dependency(name="x", vulnerabilities=None):
    if vulnerabilities is None:
        return {"name": name, "skip_reason": "not found"}
    vulns = [{"id": text, "aliases": [f"CVE-{text}"], "fix_versions": ["2"]} for text in vulnerabilities]
    return {"name": name, "version": "1", "vulns": vulns}


@pytest.mark.parametrize("report", [None, {"dependencies": []}, {"dependencies": [dependency(), dependency()]}])
def test_a_service_that_does_not_answer_is_reported_but_not_a_failure(report):
    text, is_well = AUDIT["verdict"](report, set())
    assert text.startswith("AUDIT NOT DONE")
    assert is_well


def test_a_vulnerability_is_named_and_fails():
    report = {"dependencies": [dependency("good", []), dependency("bad", ["PYSEC-1"]), dependency("own")]}
    text, is_well = AUDIT["verdict"](report, set())
    assert not is_well
    assert "bad 1: PYSEC-1, fixed in ['2']" in text
    assert "own is not known there" in text
    assert "2 of 3 packages audited, 1 known vulnerabilities" in text


@pytest.mark.parametrize("accepted", [{"PYSEC-1"}, {"CVE-PYSEC-1"}])
def test_a_vulnerability_that_is_accepted_does_not_fail(accepted):
    assert AUDIT["verdict"]({"dependencies": [dependency("bad", ["PYSEC-1"])]}, accepted)[1]


def test_a_vulnerability_is_accepted_only_with_a_reason():
    assert AUDIT["accepted"]("# comment\n\nPYSEC-1 not reached: we read no XML\n") == {"PYSEC-1"}
    with pytest.raises(SystemExit, match="no reason for PYSEC-2"):
        AUDIT["accepted"]("PYSEC-2\n")


def test_builds_of_a_version_are_audited_as_the_version():
    pins = AUDIT["pins"](sys.executable)
    assert any(pin.startswith("torch==") for pin in pins)
    assert not any("+" in pin or pin.startswith("monai-s3im==") for pin in pins)
