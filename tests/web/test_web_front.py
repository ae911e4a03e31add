"""The web front from a user's chair: Chromium drives a server that was started by its command."""

import http.client
import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

pytestmark = pytest.mark.browser

PATIENCE = 90_000  # ms, for a busy machine


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], pair: Path) -> Any:
    """On loopback, with the pair in its folder, files up to 4 MB, two places."""
    return start_server("--data", str(pair), "--device", "cpu", "--max-megabytes", "4", "--max-sessions", "2")


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page of one user, who goes through the tests of this file from top to bottom."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.set_default_timeout(PATIENCE)
    answer = page.goto(server.url)
    assert answer.ok, answer.text()
    page.get_by_role("button", name="Fuse", exact=True).wait_for()
    yield page
    context.close()


def upload(page: Any, side: str, path: Path) -> None:
    page.get_by_label(f"Upload {side}", exact=True).set_input_files(path)


def choose(page: Any, label: str, item: str) -> None:
    page.get_by_role("combobox", name=label).or_(page.get_by_label(label, exact=True)).first.click(force=True)
    option = page.get_by_role("option", name=item, exact=True)
    option.click()
    option.wait_for(state="hidden")


def settled_picture(page: Any, label: str) -> np.ndarray:
    """The grey values of the view with this label, once they no longer change."""
    view = page.locator(".layout-grid-item", has=page.get_by_text(label, exact=True))
    former = None
    for _ in range(40):
        picture = np.asarray(Image.open(io.BytesIO(view.screenshot())).convert("L"), dtype=float)[24:]
        if former is not None and np.array_equal(former, picture):
            return picture
        former = picture
        page.wait_for_timeout(250)
    raise AssertionError(f"{label} does not settle")


def difference(picture: np.ndarray, other: np.ndarray) -> float:
    """The mean absolute difference in grey values; the rows of views may differ by a pixel in height."""
    height, width = np.minimum(picture.shape, other.shape)
    return float(np.abs(picture[:height, :width] - other[:height, :width]).mean())


def saved(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.fixture(scope="module")
def fused_by_command(pair: Path) -> Path:
    output = pair / "fused.nrrd"
    sources = [str(pair / "t1.nii.gz"), str(pair / "ct.nii.gz")]
    command = [sys.executable, "-m", "monai_s3im", "fuse", *sources, "--modality-a", "mr"]
    subprocess.run([*command, "--modality-b", "ct", "--device", "cpu", "-o", str(output)], check=True)
    return output


def test_a_file_that_is_no_volume_is_told_on_the_page(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "DOE_JOHN.nii.gz"
    bad.write_text("no volume")
    upload(page, "A", bad)
    page.locator("#message", has_text="DOE_JOHN.nii.gz is damaged, cut short or no .nii.gz file").wait_for()


def test_a_file_that_is_too_large_is_told_on_the_page(page: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.nrrd"
    large.write_bytes(b"NRRD0004\n" + bytes(5 * 2**20))
    upload(page, "A", large)
    page.locator("#message", has_text="larger than the 4 MB").wait_for()


def test_nothing_outside_the_servers_folder_is_loaded(page: Any, pair: Path) -> None:
    (pair.parent / "outside.nii.gz").write_bytes((pair / "t1.nii.gz").read_bytes())
    page.evaluate("window.trame.state.set('choice_a', '../outside.nii.gz')")
    page.locator("#message", has_text="no such volume in the server's folder").wait_for()
    page.wait_for_function("window.trame.state.get('choice_a') === null")
    page.locator("#name-a", has_text="no volume yet").wait_for()


def test_two_volumes_are_loaded_and_shown(page: Any, pair: Path) -> None:
    upload(page, "A", pair / "t1.nii.gz")
    page.locator("#name-a", has_text="A: t1").wait_for()
    choose(page, "B from the server", "ct.nii.gz")
    page.locator("#name-b", has_text="B: ct").wait_for()
    choose(page, "Modality of A", "MR")
    choose(page, "Modality of B", "CT")
    for plane in ("axial", "coronal", "sagittal"):
        picture_a, picture_b = settled_picture(page, f"A · {plane}"), settled_picture(page, f"B · {plane}")
        assert picture_a.std() > 20
        assert picture_b.std() > 20
        assert difference(picture_a, picture_b) > 10


def test_a_fusion_can_be_cancelled(page: Any) -> None:
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator("#stage").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.locator("#note", has_text="Cancelled").wait_for()
    assert page.get_by_role("link", name="Save NRRD").count() == 0


def test_the_pair_is_fused_with_progress_and_shown(page: Any) -> None:
    page.evaluate("""() => {
        window.stages = new Set();
        const note = () => window.stages.add(document.querySelector('#stage')?.textContent);
        new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true});
    }""")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator("#fused-name", has_text="t1 + ct fused").wait_for()
    stages = page.evaluate("[...window.stages]")
    assert [stage for stage in stages if stage and re.fullmatch(r"Slice \d+ of 64", stage)]
    for plane in ("axial", "coronal", "sagittal"):
        fused = settled_picture(page, f"Fused · {plane}")
        assert fused.std() > 20
        for source in "AB":
            assert difference(fused, settled_picture(page, f"{source} · {plane}")) > 5


@pytest.mark.parametrize(("key", "source"), [("Home", "A"), ("End", "B")])
def test_the_fade_ends_at_its_source(page: Any, key: str, source: str) -> None:
    before = settled_picture(page, "Fused · axial")
    slider = page.get_by_role("slider")
    slider.press(key)
    faded, alone = settled_picture(page, "Fused · axial"), settled_picture(page, f"{source} · axial")
    assert difference(faded, before) > 5
    assert difference(faded, alone) < 5


def test_the_views_of_a_plane_move_together(page: Any) -> None:
    page.evaluate("window.trame.state.set('fade', 0)")
    before_a, before_b = settled_picture(page, "A · axial"), settled_picture(page, "B · axial")
    page.get_by_text("A · axial", exact=True).locator("xpath=../..").hover(position={"x": 150, "y": 120})
    for _ in range(8):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(50)
    assert difference(settled_picture(page, "A · axial"), before_a) > 1
    assert difference(settled_picture(page, "B · axial"), before_b) > 1


def test_one_plane_can_be_seen_large(page: Any) -> None:
    small = settled_picture(page, "A · coronal").shape
    page.get_by_role("button", name="Coronal").click()
    page.wait_for_timeout(1000)
    large = settled_picture(page, "Fused · coronal")
    assert large.shape[0] > 2 * small[0]
    assert 0.1 < (large > 20).mean() < 0.8  # the head, and air around it
    page.get_by_role("button", name="All planes").click()
    page.wait_for_timeout(500)


def test_the_saved_nrrd_is_what_the_command_writes(page: Any, tmp_path: Path, fused_by_command: Path) -> None:
    path = saved(page, "Save NRRD", tmp_path)
    assert path.name == "t1___ct_fused.nrrd"
    ours, command = SimpleITK.ReadImage(path), SimpleITK.ReadImage(fused_by_command)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(ours), SimpleITK.GetArrayFromImage(command))
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, what)(), getattr(command, what)(), atol=1e-4)


def test_the_saved_nifti_holds_the_same_and_the_record_tells_how(
    page: Any, tmp_path: Path, pair: Path, fused_by_command: Path
) -> None:
    image = nibabel.load(saved(page, "Save NIfTI", tmp_path))
    command = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(fused_by_command)).transpose(2, 1, 0)
    np.testing.assert_array_equal(np.asarray(image.dataobj), command)
    np.testing.assert_allclose(image.affine, nibabel.load(pair / "t1.nii.gz").affine, atol=1e-4)
    record = json.loads(saved(page, "Save record", tmp_path).read_text(encoding="utf-8"))
    assert [record["sources"][f"image_{side}"]["modality"] for side in "ab"] == ["mr", "ct"]


def test_another_browser_sees_nothing_of_it_and_a_third_finds_no_place(page: Any, browser: Any, server: Any) -> None:
    other = browser.new_context()
    try:
        other_page = other.new_page()
        other_page.goto(server.url, timeout=PATIENCE)
        other_page.locator("#name-a", has_text="no volume yet").wait_for(timeout=PATIENCE)
        assert other_page.get_by_role("link", name="Save NRRD").count() == 0
        assert other.request.get(f"{server.url}download/nrrd").status == 404
        third = browser.new_context()
        assert third.request.get(server.url).status == 503
        third.close()
    finally:
        other.close()
    page.locator("#name-a", has_text="A: t1").wait_for()


def test_a_volume_is_chosen_again_after_an_upload(page: Any, pair: Path) -> None:
    choose(page, "A from the server", "ct.nii.gz")
    page.locator("#name-a", has_text="A: ct").wait_for()
    upload(page, "A", pair / "t1.nii.gz")
    page.locator("#name-a", has_text="A: t1").wait_for()
    choose(page, "A from the server", "ct.nii.gz")
    page.locator("#name-a", has_text="A: ct").wait_for()


def test_the_page_asked_nothing_from_elsewhere(page: Any, server: Any) -> None:
    asked = [url for url in page.asked if not url.startswith((server.url, f"blob:{server.url}", "data:"))]
    assert asked == []
    assert len(page.asked) > 10


def test_the_log_names_no_file(page: Any, server: Any) -> None:
    log = server.log.read_text(encoding="utf-8")
    assert not re.search("DOE_JOHN|t1|nii|nrrd", log), log


def answer_of(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def websocket_status(port: int, **headers: str) -> int:
    """The answer to a websocket's handshake: 101 if it is opened."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    connection.request("GET", "/ws", headers={**handshake, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def test_beyond_loopback_all_is_refused_without_the_token(start_server: Callable[..., Any], browser: Any) -> None:
    server = start_server("--host", "0.0.0.0", "--device", "cpu")  # noqa: S104
    token = server.url.split("?token=")[1]
    base = f"http://127.0.0.1:{server.port}"
    status, text = answer_of(f"{base}/")
    assert status == 401
    assert "Enter the token" in text
    assert answer_of(f"{base}/?token={token[:-1]}")[0] == 401
    for path in ("index.html", "download/nrrd", "upload/a", "vue.global.js", "../../etc/passwd"):
        assert answer_of(f"{base}/{path}")[0] == 401, path
    cookie = {"Cookie": f"s3im_session={token}"}
    assert answer_of(f"{base}/index.html", **cookie)[0] == 401
    assert websocket_status(server.port) == 401
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{base}/?token={token}", timeout=PATIENCE)
    page.get_by_role("button", name="Fuse", exact=True).wait_for(timeout=PATIENCE)
    assert token not in page.url
    (ours,) = context.cookies()
    assert (ours["httpOnly"], ours["sameSite"]) == (True, "Strict")
    headers = {"Cookie": f"{ours['name']}={ours['value']}"}
    assert websocket_status(server.port, **headers) == 101
    assert websocket_status(server.port, **headers, Origin="https://elsewhere.example") == 403
    context.close()
    assert token not in server.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("token", [None, "0123456789abcdef"])
def test_a_link_of_another_site_leads_into_one_session(
    start_server: Callable[..., Any], browser: Any, token: str | None
) -> None:
    server = start_server("--device", "cpu", "--max-sessions", "1", token=token)
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    link = f'<a href="{server.url}">open</a><img src="{server.url}"><iframe src="{server.url}"></iframe>'
    page.route("http://wiki.example/", lambda route: route.fulfill(content_type="text/html", body=link))
    for _ in range(2):
        page.goto("http://wiki.example/")
        page.get_by_role("link", name="open").click()
        page.get_by_role("button", name="Fuse", exact=True).wait_for()
        assert page.url == f"http://127.0.0.1:{server.port}/index.html"
    context.close()
