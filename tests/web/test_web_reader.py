"""The page refuses files with the command's messages, shows results of the current volumes only, and fits a phone."""

import gzip
import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

pytestmark = pytest.mark.browser

PATIENCE = 120_000  # ms, for a busy machine
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
TOKEN = "0123456789abcdef"  # noqa: S105


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Any:
    """A server with a token, files up to 16 MB and one place."""
    return start_server("--device", "cpu", "--max-megabytes", "16", "--max-sessions", "1", token=TOKEN)


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page of one user, who goes through the tests of this file in order, starting at the login form."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.url.split("?")[0])
    yield page
    context.close()


def upload(page: Any, path: Path) -> None:
    page.wait_for_function("() => !state.job && !upload")
    page.get_by_label("Choose files").set_input_files(path)


def command_says(path: Path, pair: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The message of ``s3im fuse`` about a file, run in its folder, as one line."""
    from monai_s3im.cli import app

    monkeypatch.chdir(path.parent)
    done = CliRunner().invoke(app, ["fuse", path.name, str(pair / "ct.nii.gz"), "-o", "fused.nii"])
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


def test_the_token_opens_the_page_through_the_form(page: Any) -> None:
    page.get_by_label("Token").fill(TOKEN[:-1])
    page.get_by_role("button", name="Open").click()
    page.get_by_role("alert").filter(has_text="This is not the token").wait_for()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    page.get_by_role("heading", name="Fuse two volumes").wait_for()


def cut(folder: Path, pair: Path) -> Path:
    content = gzip.decompress((pair / "t1.nii.gz").read_bytes())
    (folder / "cut.nii").write_bytes(content[: len(content) // 3])
    return folder / "cut.nii"


def without_values(folder: Path, _: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.full((9, 9, 9), np.nan, np.float32), np.eye(4)), folder / "nan.nii.gz")
    return folder / "nan.nii.gz"


def of_four_axes(folder: Path, _: Path) -> Path:
    voxels = np.arange(4 * 9**3, dtype=np.int16).reshape(9, 9, 9, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / "4d.nii.gz")
    return folder / "4d.nii.gz"


@pytest.mark.parametrize("damaged", [cut, without_values, of_four_axes])
def test_what_the_command_refuses_the_page_refuses_with_the_same_message(
    page: Any, pair: Path, tmp_path: Path, damaged: Callable[[Path, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged(tmp_path, pair)
    upload(page, path)
    message = page.get_by_role("alert").filter(has_text=path.name)
    message.wait_for()
    said = message.inner_text().strip().removesuffix(": this page takes one frame, saved as a volume of its own")
    assert said in command_says(path, pair, monkeypatch)
    assert "no volume yet" in page.locator("#name-a").inner_text()


@pytest.mark.parametrize("said", [2**27, 2**30])
def test_a_small_file_with_a_huge_extension_is_refused_before_it_is_unpacked(
    page: Any, tmp_path: Path, said: int
) -> None:
    header = nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)).header
    header.set_data_offset(352 + said)
    path = tmp_path / f"extension{said}.nii.gz"
    packed = gzip.compress(bytes(2**24), 1)
    head = gzip.compress(header.binaryblock + b"\1\0\0\0" + struct.pack("<ii", said, 6))
    path.write_bytes(head + packed * (said // 2**24) + gzip.compress(bytes(2 * 9**3)))
    assert path.stat().st_size < 2**24
    upload(page, path)
    page.get_by_role("alert").filter(has_text=f"{path.name} has a damaged header (voxels from byte").wait_for()


def test_an_extension_counts_towards_the_limit(page: Any, tmp_path: Path) -> None:
    header = nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)).header
    header.set_data_offset(352 + 2**25)
    head = header.binaryblock + b"\1\0\0\0" + struct.pack("<ii", 2**25, 6)
    path = tmp_path / "long.nii.gz"
    path.write_bytes(gzip.compress(head + bytes(2**25 - 8 + 2 * 9**3)))
    upload(page, path)
    page.get_by_role("alert").filter(has_text="long.nii.gz unpacks to 32 MB, and 16 are allowed here").wait_for()


def test_the_record_names_the_uploads_and_what_was_guessed(page: Any, pair: Path, tmp_path: Path) -> None:
    for side, name in (("a", "t1.nii.gz"), ("b", "ct.nii.gz")):
        upload(page, pair / name)
        page.locator(f"#name-{side}", has_text=name).wait_for()
    page.wait_for_function("() => !state.job")
    page.get_by_label("Modality of B").select_option("ct")
    page.wait_for_function("() => !state.job && state.sources.b.modalityGiven === 'ct'")
    page.get_by_role("button", name="Fuse", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save record").click()
    download.value.save_as(tmp_path / "record.json")
    sources = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["sources"]
    for key, name in (("image_a", "t1.nii.gz"), ("image_b", "ct.nii.gz")):
        assert sources[key]["file"] == name
        assert sources[key]["sha256"] == hashlib.sha256((pair / name).read_bytes()).hexdigest()
    said = [[sources[key][f"modality{what}"] for what in ("", "_given", "_from")] for key in sources]
    assert said == [["mr", False, "name"], ["ct", True, "user"]]


def test_the_page_fits_a_phone_and_allows_zooming(page: Any) -> None:
    page.set_viewport_size(NARROW)
    page.wait_for_timeout(500)
    film = page.locator(".pane[data-side=a] .film").bounding_box()
    assert film["x"] < 20
    assert film["width"] > 340
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert not re.search("maximum-scale|user-scalable", page.locator("meta[name=viewport]").get_attribute("content"))
    page.set_viewport_size(WIDE)


def test_a_new_source_removes_the_old_result_and_its_links(page: Any, pair: Path, server: Any) -> None:
    page.get_by_role("link", name="Save NRRD").wait_for()
    page.get_by_role("button", name="Swap A and B").click()
    page.locator("#name-a", has_text="ct.nii.gz").wait_for()
    page.get_by_role("link", name="Save NRRD").wait_for(state="hidden")
    assert page.request.get(f"{server.url.split('?')[0]}download/nrrd").status == 404


def test_an_ended_session_is_reported_with_a_link_to_a_new_one(page: Any, server: Any) -> None:
    assert page.request.post(f"{server.url.split('?')[0]}api/end").ok
    page.get_by_role("alertdialog").filter(has_text="The session has ended").wait_for()
    page.get_by_role("link", name="Open the page again").click()
    page.get_by_label("Token").wait_for()
