"""What Slicer's ExtensionsIndex checks of an extension (scripts/check_description_files.py), point by point.

Its script clones the repository and reads addresses on the network; here the same rules are tried on the checkout.
"""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "slicer_extension"
ENTRY = EXTENSION / "S3IMFusion.json"
NAME = ENTRY.stem  # the index takes the extension's name from that of the file
SCHEMA = {  # of slicer-extension-catalog-entry-schema v1.0.1 and v1.0.2: no other keys
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
NEEDED = {"$schema", "category", "scm_url"}
CATEGORIES = {"Filtering", "Image Synthesis", "Registration"}  # those of the index's list that we may choose from
PREFIXES = ("Slicer", "Slicer-", "Slicer_", "SlicerExtension-", "SlicerExtension_")  # of a repository's name
LICENSES = ("LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING", "COPYING.txt")
LARGEST_MB = 100
MB = 1024**2


@pytest.fixture(scope="module")
def entry():
    return json.loads(ENTRY.read_text(encoding="utf-8"))


def cmake():
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def cmake_value(name):
    """As the index reads it: one line, no variable in it, no blank before the bracket."""
    (value,) = re.findall(rf'set\s*\({name}\s*"([^"]+)"\)', cmake())
    assert "$" not in value
    return value


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout: Git clones it")
def test_a_clone_of_the_repository_is_small_enough(entry, tmp_path):
    """Files and history as a clone receives them: the checkout's own packs may hold objects twice."""
    depth = [] if "scm_revision" in entry else ["--depth", "1"]
    subprocess.run(["git", "clone", "--quiet", *depth, ROOT.as_uri(), tmp_path / "clone"], check=True)
    size = sum(path.stat().st_size for path in (tmp_path / "clone").rglob("*") if path.is_file())
    assert size / MB < LARGEST_MB


def test_the_entry_has_only_keys_and_types_of_the_schema(entry):
    assert set(entry) >= NEEDED
    assert {key for key, value in entry.items() if type(value) is not SCHEMA.get(key)} == set()
    assert all(isinstance(name, str) and name for name in entry["build_dependencies"])
    assert 1 <= entry["tier"] <= 5
    assert re.fullmatch(
        r"https://raw\.githubusercontent\.com/Slicer/Slicer/main/Schemas/"
        r"slicer-extension-catalog-entry-schema-v1\.0\.[12]\.json#",
        entry["$schema"],
    )


def test_the_entry_is_formatted_as_the_index_formats_its_files(entry):
    """Two blanks, one element a line, a line feed at each line's end and at the end of the file."""
    assert ENTRY.read_bytes() == (json.dumps(entry, indent=2) + "\n").encode()


def test_the_name_of_the_extension_does_not_begin_with_slicer_and_is_that_of_the_project():
    assert not NAME.lower().startswith("slicer")
    assert re.search(r"project\s*\(\s*([^\s)]+)", cmake(), re.IGNORECASE)[1] == NAME


def test_the_category_is_one_of_the_indexs(entry):
    assert entry["category"] in CATEGORIES
    assert entry["category"] == cmake_value("EXTENSION_CATEGORY")


def test_the_address_of_the_repository_can_be_cloned_and_is_everywhere_the_same(entry):
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    assert urlsplit(entry["scm_url"]).scheme in {"git", "https"}
    assert entry["scm_url"] == f"{repository}.git"
    assert cmake_value("EXTENSION_HOMEPAGE") == repository


def test_the_name_of_the_repository_begins_with_slicer_or_the_exception_is_justified(entry):
    """The template of a request excepts a repository that can be used without Slicer; releasing.md asks for it."""
    name = Path(urlsplit(entry["scm_url"]).path).stem
    if not name.startswith(PREFIXES):
        releasing = (ROOT / "docs" / "project" / "releasing.md").read_text(encoding="utf-8")
        assert "`REPOSITORY_NAME_CHECK_EXCEPTIONS`" in releasing
        assert (ROOT / "monai_s3im" / "cli" / "__init__.py").is_file()  # what can be used without Slicer
        assert "can be used without Slicer" in (EXTENSION / "README.md").read_text(encoding="utf-8")


def test_the_topic_that_the_index_looks_for_is_in_the_list_of_what_to_do():
    assert "`3d-slicer-extension`" in (ROOT / "docs" / "project" / "releasing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("variable", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_the_pictures_of_the_catalog_are_files_of_the_branch_that_is_built(entry, variable):
    start = entry["scm_url"].removesuffix(".git").replace("github.com", "raw.githubusercontent.com")
    for url in cmake_value(variable).split():
        assert url.startswith(f"{start}/{entry['scm_revision']}/")
        with Image.open(ROOT / url.removeprefix(f"{start}/{entry['scm_revision']}/")) as picture:
            assert picture.format in {"PNG", "JPEG", "GIF"}


def test_a_licence_is_in_the_root_and_named_on_the_home_page():
    (file,) = (ROOT / name for name in LICENSES if (ROOT / name).is_file())
    assert "Apache License" in file.read_text(encoding="utf-8")[:200]
    assert "Licence: Apache-2.0" in (EXTENSION / "README.md").read_text(encoding="utf-8")


def test_the_extensions_that_it_needs_are_the_same_in_the_entry_and_in_cmake(entry):
    assert entry["build_dependencies"] == cmake_value("EXTENSION_DEPENDS").split() == ["PyTorch"]


def test_the_category_of_the_module_is_that_of_the_entry(entry):
    module = (EXTENSION / NAME / f"{NAME}.py").read_text(encoding="utf-8")
    assert f'categories = ["{entry["category"]}"]' in module


@pytest.mark.parametrize(
    "text",
    [
        "# S3IMFusion for 3D Slicer",  # the name
        "Fuses CT, MR, PET or SPECT of one patient into one volume",  # what it is for, in one sentence
        "](Screenshots/fused.png)",  # a picture
        "One module, **S3IMFusion**",  # its modules
        "https://doi.org/10.1038/s41598-025-93662-6",  # the publication
        "Patents: none known to us",
        "Intel package",  # the platform that does not work
    ],
)
def test_the_home_page_says_what_the_template_of_a_request_asks_for(text):
    assert text in (EXTENSION / "README.md").read_text(encoding="utf-8")
