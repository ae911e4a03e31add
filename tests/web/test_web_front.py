"""The page from a user's chair, as a film in pictures: Chromium drives a server that was started by its command."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_study import write_study
from page_steps import (
    NARROW,
    PATIENCE,
    WIDE,
    difference,
    drop,
    name_of,
    picture_of,
    saved,
    wait_idle,
)
from PIL import Image

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], pair: Path) -> Any:
    """On loopback, with the pair in its folder, uploads up to 16 MB, two places."""
    return start_server("--data", str(pair), "--device", "cpu", "--max-megabytes", "16", "--max-sessions", "2")


@pytest.fixture(scope="module")
def study(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two DICOM series of one patient: MR and CT of the phantom, B moved by 6 mm."""
    return write_study(pair, tmp_path_factory.mktemp("dicom") / "study", shift_mm=6.0)


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page of one user, who goes through the tests of this file from top to bottom."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    page = context.new_page()
    page.asked, page.faults = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.set_default_timeout(PATIENCE)
    answer = page.goto(server.url)
    assert answer.ok, answer.text()
    page.get_by_role("heading", name="Fuse two volumes").wait_for()
    yield page
    context.close()
    assert page.faults == []


@pytest.fixture
def film(page: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Takes the picture of the state that a test has come to, at both sizes, audited by axe."""
    from axe_playwright_python.sync_playwright import Axe

    folder = tmp_path_factory.getbasetemp() / "film"
    folder.mkdir(exist_ok=True)

    def take() -> None:
        for size in (NARROW, WIDE):
            page.set_viewport_size(size)
            page.wait_for_timeout(800)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            page.screenshot(path=folder / f"{request.node.name}_{size['width']}.png", full_page=True)
            found = [
                rule for rule in Axe().run(page).response["violations"] if rule["impact"] in {"serious", "critical"}
            ]
            assert not found, [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]

    return take


def test_an_empty_page_says_what_to_do(page: Any, film: Callable[[], None]) -> None:
    assert "Drop two volumes" in page.locator("#empty").inner_text()
    assert page.get_by_role("button", name="Fuse", exact=True).is_disabled()
    film()


def test_a_file_that_is_not_a_volume_is_refused_on_the_page(
    page: Any, tmp_path: Path, film: Callable[[], None]
) -> None:
    (tmp_path / "DOE_JOHN.nii.gz").write_text("no volume")
    drop(page, tmp_path / "DOE_JOHN.nii.gz")
    page.get_by_role("alert").filter(has_text="DOE_JOHN.nii.gz is damaged, cut short or not a .nii.gz file").wait_for()
    assert page.get_by_role("region", name="Series and volumes").is_hidden()
    film()


def test_a_file_that_is_too_large_is_refused_on_the_page(page: Any, tmp_path: Path) -> None:
    wait_idle(page)
    (tmp_path / "large.nrrd").write_bytes(b"NRRD0004\n" + bytes(18 * 2**20))
    drop(page, tmp_path / "large.nrrd")
    page.get_by_role("alert").filter(has_text=re.compile("larger than the 16 MB|interrupted")).wait_for()
    assert name_of(page, "a") == "no volume yet"


def test_nothing_outside_the_servers_folder_is_loaded(page: Any, pair: Path) -> None:
    wait_idle(page)
    (pair.parent / "outside.nii.gz").write_bytes((pair / "t1.nii.gz").read_bytes())
    page.evaluate("ask('/api/choose', {side: 'a', server: '../outside.nii.gz'})")
    page.get_by_role("alert").filter(has_text="no such volume in the server's folder").wait_for()
    assert name_of(page, "a") == "no volume yet"


def test_a_dicom_folder_is_dropped_and_its_series_are_listed(page: Any, study: Path, film: Callable[[], None]) -> None:
    wait_idle(page)
    drop(page, study)
    page.locator("#name-b", has_text=re.compile("HEAD|BRAIN")).wait_for()
    wait_idle(page)
    rows = page.get_by_role("region", name="Series and volumes").get_by_role("row").all_inner_texts()
    assert len(rows) == 3
    assert any("BRAIN T1" in row and "MR 80 x 96 x 64" in row for row in rows)
    assert any("HEAD CT" in row and "CT 80 x 96 x 64" in row for row in rows)
    film()


def test_a_and_b_are_chosen_among_the_series(page: Any, film: Callable[[], None]) -> None:
    for side, title in (("A", "BRAIN T1"), ("B", "HEAD CT")):
        page.get_by_role("button", name=f"{title} as {side}").click()
        page.locator(f"#name-{side.lower()}", has_text=title).wait_for()
        wait_idle(page)
    picture_a, picture_b = picture_of(page, "a"), picture_of(page, "b")
    assert picture_a.std() > 20
    assert picture_b.std() > 20
    assert difference(picture_a, picture_b) > 10
    assert re.search(r"HU · |HU$", page.get_by_label("Values at the crosshair").inner_text())
    film()


@pytest.mark.parametrize(("title", "side"), [("BRAIN T1", "A"), ("HEAD CT", "B")])
def test_the_list_shows_which_series_was_chosen(page: Any, title: str, side: str) -> None:
    other = {"A": "B", "B": "A"}[side]
    chosen = page.get_by_role("button", name=f"{title} as {side}", pressed=True)
    free = page.get_by_role("button", name=f"{title} as {other}", pressed=False)
    assert (chosen.inner_text(), free.inner_text()) == (f"✓ {side}", other)
    grounds = {button.evaluate("(element) => getComputedStyle(element).backgroundColor") for button in (chosen, free)}
    assert len(grounds) == 2


@pytest.mark.parametrize("name", ["HEAD CT as B", "Fuse"])
def test_the_focus_returns_to_the_button_that_started_a_job(page: Any, name: str) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    button.focus()
    revision = page.evaluate("state.revision")
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => state.revision > {revision} && !state.job")
    page.wait_for_function("() => document.activeElement !== document.body")
    assert button.evaluate("(element) => element === document.activeElement")


def test_registration_is_looked_at_before_and_after_corrected_and_accepted(page: Any, film: Callable[[], None]) -> None:
    page.get_by_text("Registration", exact=True).click()
    before = picture_of(page, "b")
    page.get_by_role("button", name="Register B onto A").click()
    page.locator("#nudge").wait_for()
    wait_idle(page)
    assert re.search(r"moved by [4-8]\.\d mm", page.locator("#information").inner_text())  # by 6 mm
    after = picture_of(page, "b")
    assert difference(after, before) > 1
    page.get_by_label("before", exact=True).check()
    assert difference(picture_of(page, "b"), before) < 0.5
    page.get_by_label("after", exact=True).check()
    page.get_by_label("Step").select_option("5")
    page.get_by_role("button", name="up", exact=True).click()
    nudged = picture_of(page, "b")
    assert difference(nudged, after) > 1
    page.get_by_role("button", name="down", exact=True).click()
    assert difference(picture_of(page, "b"), after) < 0.5
    page.get_by_role("button", name="Checkerboard").click()
    film()
    page.get_by_role("button", name="Accept").click()
    page.locator("#accepted", has_text="Accepted").wait_for()
    page.get_by_label("View", exact=True).select_option("side")


def test_a_registration_shows_its_time_and_can_be_cancelled(page: Any, pair: Path) -> None:
    page.get_by_role("button", name="Register B onto A").click()
    page.get_by_text("Settings", exact=True).scroll_into_view_if_needed()
    page.locator("#elapsed", has_text=re.compile(r"^ · \d+ s$")).wait_for()
    assert page.locator("#stage").inner_text().startswith("Registering")
    box = page.locator("#job").bounding_box()
    assert 0 <= box["y"] < box["y"] + box["height"] <= WIDE["height"]
    drop(page, pair / "t1.nii.gz")
    page.get_by_role("alert").filter(has_text="Another job is running: wait for it to end").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled; nothing was changed").wait_for()
    wait_idle(page)
    assert page.locator("#nudge").is_hidden()
    assert page.locator("#accepted").is_visible()


def test_a_fusion_can_be_cancelled(page: Any) -> None:
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled; nothing was changed").wait_for()
    assert page.get_by_role("link", name="Save NRRD").count() == 0


def test_the_pair_is_fused_with_progress_and_shown(page: Any, film: Callable[[], None]) -> None:
    wait_idle(page)
    page.evaluate("""() => {
        window.stages = new Set();
        const note = () => window.stages.add(document.querySelector('#stage').textContent);
        new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true});
        window.often = setInterval(() => ask("/api/state"), 40);  // 64 small slices may take less than the usual 300 ms
    }""")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.get_by_role("link", name="Save NRRD").wait_for()
    page.evaluate("clearInterval(window.often)")
    wait_idle(page)
    stages = page.evaluate("[...window.stages]")
    assert [stage for stage in stages if re.fullmatch(r"Fusing · slice \d+ of 64.*", stage)], stages
    fused = picture_of(page, "fused")
    assert fused.std() > 20
    for source in "ab":
        assert difference(fused, picture_of(page, source)) > 3
    film()


GAPS = """() => {
    const [settings, nudge] = [document.querySelector("#settings"), document.querySelector("#nudge")];
    const show = (isShown) => Object.assign(settings, {open: isShown}) && Object.assign(nudge, {hidden: !isShown});
    show(true);
    const controls = [...document.querySelectorAll(".side :is(button, .button, select, input, a)")].filter(
        (element) => element.checkVisibility() && element.type !== "file" && element.id !== "fuse"); // sticky
    const boxes = controls.map((element) => element.getBoundingClientRect());
    const apart = (one, other, start, end) => Math.max(one[start], other[start]) - Math.min(one[end], other[end]);
    const gaps = [];
    boxes.forEach((one, index) => boxes.slice(index + 1).forEach((other, offset) => {
        const [across, down] = [apart(one, other, "left", "right"), apart(one, other, "top", "bottom")];
        const next = controls[index].nextElementSibling === controls[index + 1 + offset] && down < 0;
        gaps.push({gap: Math.max(across, down), next});
    }));
    show(false);
    return gaps;
}"""


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_buttons_and_fields_are_at_one_distance(page: Any, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    gaps = page.evaluate(GAPS)
    page.set_viewport_size(WIDE)
    in_rows = [pair["gap"] for pair in gaps if pair["next"]]
    assert len(in_rows) > 12
    assert in_rows == pytest.approx([9] * len(in_rows), abs=0.6)
    assert min(pair["gap"] for pair in gaps) > 8


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_fields_of_window_and_colour_are_apart_and_leave_the_films_alike(page: Any, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    look = page.locator(".pane[data-side=a] .look")
    look.locator("summary").click()
    boxes = [label.bounding_box() for label in look.locator("label").all()]
    heights = {round(film.bounding_box()["height"]) for film in page.locator(".film:visible").all()}
    look.locator("summary").click()
    page.set_viewport_size(WIDE)
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            across = max(one["x"], other["x"]) - min(one["x"] + one["width"], other["x"] + other["width"])
            down = max(one["y"], other["y"]) - min(one["y"] + one["height"], other["y"] + other["height"])
            assert max(across, down) > 5
    assert len(heights) == 1


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_crosshair_is_as_wide_in_panes_of_any_size(page: Any, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    page.wait_for_timeout(800)
    width = page.evaluate("""() => {
        const { nv } = viewer.panes.a, [tile] = nv.screenSlices;
        return nv.opts.crosshairWidth * tile.leftTopWidthHeight[2] / Math.abs(tile.fovMM[0]);
    }""")
    page.set_viewport_size(WIDE)
    assert width == pytest.approx(1.5, rel=0.1)


def test_the_readings_follow_the_pointer_and_return_to_the_crosshair(page: Any) -> None:
    readout = page.locator(".readout")
    at_the_crosshair = readout.inner_text()
    box = page.locator(".pane[data-side=a] .glass").bounding_box()
    for x in (40, 60):
        page.mouse.move(box["x"] + box["width"] / 2 - x, box["y"] + 90)
    assert readout.inner_text().startswith("Pointer")
    page.mouse.move(2, 2)
    assert readout.inner_text() == at_the_crosshair
    assert at_the_crosshair.startswith("Crosshair")


def test_a_drag_sets_window_and_level_and_a_click_the_crosshair(page: Any) -> None:
    window = page.locator(".pane[data-side=b] .window")
    assert window.inner_text() == "W 80 L 40 HU"
    box = page.locator(".pane[data-side=b] .glass").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 5)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 100, middle[1], steps=5)
    page.mouse.up()
    assert int(window.inner_text().split()[1]) == pytest.approx(80 * np.exp(0.5), abs=2)
    page.locator(".pane[data-side=b] summary").click()
    page.get_by_label("Preset of B").select_option("bone")
    assert window.inner_text() == "W 1500 L 300 HU"
    where = page.get_by_label("Position").inner_text()
    page.mouse.click(middle[0] - 20, middle[1] + 15)
    assert page.get_by_label("Position").inner_text() != where
    assert re.fullmatch(r"[LR] [\d.]+, [AP] [\d.]+, [IS] [\d.]+ mm", where)


def test_a_reset_restores_windows_colours_and_opacity(page: Any) -> None:
    window = page.locator(".pane[data-side=b] .window").inner_text()
    film = page.locator(".pane[data-side=b] .film")
    page.get_by_label("Opacity of B").fill("0.5")
    page.get_by_role("combobox", name="Colours of B").select_option("hot")
    assert film.evaluate("(element) => element.style.opacity") == "0.5"
    page.get_by_role("button", name="Reset view").click()
    assert film.evaluate("(element) => element.style.opacity") == "1"
    assert page.get_by_label("Opacity of B").input_value() == "1"
    assert page.get_by_role("combobox", name="Colours of B").input_value() == "gray"
    assert window != page.locator(".pane[data-side=b] .window").inner_text() == "W 80 L 40 HU"


def test_the_value_under_the_crosshair_is_that_of_the_file(page: Any, pair: Path) -> None:
    page.evaluate("viewer.moveTo([0.45, 0.55, 0.6])")
    text = page.get_by_label("Values at the crosshair").inner_text()
    shown = float(re.search(r"A (-?[\d.]+)", text)[1])
    mm = page.evaluate("viewer.position")
    image = nibabel.load(pair / "t1.nii.gz")
    voxel = np.rint(np.linalg.solve(image.affine, [*mm, 1.0])[:3]).astype(int)
    assert shown == pytest.approx(float(image.dataobj[tuple(voxel)]), rel=0.01, abs=1.0)


@pytest.mark.parametrize(("part", "side"), [("-1", "a"), ("1", "b"), ("0", "fused")])
def test_the_fade_ends_at_its_image(page: Any, part: str, side: str) -> None:
    page.get_by_label("View", exact=True).select_option("fade")
    page.get_by_label("Fade from A over fused to B").fill(part)
    faded = picture_of(page)
    page.evaluate(f"""() => {{
        for (const side of ["a", "b", "fused"]) {{
            const film = viewer.panes[side].element.querySelector(".film");
            film.style.visibility = side === "{side}" ? "visible" : "hidden";
            film.style.opacity = 1;
        }}
    }}""")
    assert difference(faded, picture_of(page)) < 1
    page.get_by_label("View", exact=True).select_option("side")


def test_one_plane_is_seen_large_and_the_keys_work(page: Any, film: Callable[[], None]) -> None:
    glass = page.get_by_role("application", name="Fused in three planes")
    glass.dblclick(position={"x": 150, "y": 100})
    assert page.locator(".pane:visible").count() == 1
    assert picture_of(page, "fused")[:, -3:].max() < 60  # no letter is cut at the edge
    slices = page.get_by_role("status", name="Slices")
    before = slices.inner_text()
    page.keyboard.press("PageUp")
    assert slices.inner_text() != before
    film()
    page.get_by_role("application", name="Fused in three planes").focus()
    page.keyboard.press("Escape")
    assert page.locator(".pane:visible").count() == 3
    page.keyboard.press("k")
    assert page.get_by_label("View", exact=True).input_value() == "check"
    page.get_by_role("application", name="A in three planes").focus()
    page.keyboard.press("s")


def test_the_view_is_saved_as_a_png(page: Any, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    download.value.save_as(tmp_path / "view.png")
    with Image.open(tmp_path / "view.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 20


@pytest.fixture(scope="module")
def fused_by_command(study: Path, tmp_path_factory: pytest.TempPathFactory, page: Any) -> Path:
    """What the command makes of the series, with the transform that was accepted on the page."""
    folder = tmp_path_factory.mktemp("command")
    transform = saved(page, "Save transform", folder)
    transform = transform.rename(folder / "given.tfm")
    series = {pydicom.dcmread(next(path.glob("*.dcm"))).Modality: path for path in study.iterdir()}
    output = folder / "fused.nrrd"
    command = [sys.executable, "-m", "monai_s3im", "fuse", str(series["MR"]), str(series["CT"]), "-o", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the server: rounding depends on it
    command += ["--transform", str(transform), "--device", "cpu"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return output


def test_the_saved_volumes_are_what_the_command_writes(page: Any, tmp_path: Path, fused_by_command: Path) -> None:
    command = SimpleITK.ReadImage(fused_by_command)
    path = saved(page, "Save NRRD", tmp_path)
    assert path.name.endswith("_fused.nrrd")
    assert path.read_bytes() == fused_by_command.read_bytes()
    image = nibabel.load(saved(page, "Save NIfTI", tmp_path))
    np.testing.assert_array_equal(np.asarray(image.dataobj), SimpleITK.GetArrayFromImage(command).transpose(2, 1, 0))


def test_the_record_says_how_it_was_made(page: Any, tmp_path: Path) -> None:
    record = json.loads(saved(page, "Save record", tmp_path).read_text(encoding="utf-8"))
    sources = record["sources"]
    assert [sources[f"image_{side}"]["modality"] for side in "ab"] == ["mr", "ct"]
    assert [sources[f"image_{side}"]["modality_from"] for side in "ab"] == ["dicom", "dicom"]
    assert record["registration"]["kind"] == "given"
    text = json.dumps(record)
    assert "s3im-web" not in text
    assert not re.search("BRAIN|HEAD|Phantom", text)  # the text of the headers


def test_a_series_in_the_patients_study_is_saved(page: Any, tmp_path: Path, study: Path) -> None:
    path = saved(page, "Save DICOM", tmp_path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        first = pydicom.dcmread(io.BytesIO(archive.read(names[0])))
    assert len(names) == 64
    source = pydicom.dcmread(next(study.rglob("*.dcm")))
    assert (first.StudyInstanceUID, first.PatientID) == (source.StudyInstanceUID, source.PatientID)


def test_a_new_modality_takes_the_result_away(page: Any, server: Any) -> None:
    page.get_by_label("Modality of B").select_option("generic")
    page.get_by_role("link", name="Save NRRD").wait_for(state="hidden")
    wait_idle(page)
    assert page.request.get(f"{server.url}download/nrrd").status == 404


def test_two_files_are_a_pair_and_an_archive_is_a_study(page: Any, pair: Path, study: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", study)
    page.get_by_label("Choose files").set_input_files(archive)
    page.get_by_text("HEAD CT").first.wait_for()
    wait_idle(page)
    page.get_by_role("button", name="New session").click()
    page.get_by_role("heading", name="Fuse two volumes").wait_for()
    drop(page, pair / "t1.nii.gz", pair / "ct.nii.gz")
    page.locator("#name-b", has_text="nii.gz").wait_for()
    wait_idle(page)
    assert {name_of(page, "a"), name_of(page, "b")} == {"t1.nii.gz", "ct.nii.gz"}


def test_enter_takes_a_volume_of_the_server_for_the_free_side(page: Any) -> None:
    page.get_by_role("button", name="New session").click()
    page.get_by_role("heading", name="Fuse two volumes").wait_for()
    for side, name in (("a", "t1.nii.gz"), ("b", "ct.nii.gz")):
        wait_idle(page)
        page.get_by_label("Volume", exact=True).fill(name)
        page.get_by_label("Volume", exact=True).press("Enter")
        page.locator(f"#name-{side}", has_text=name).wait_for()
    wait_idle(page)


def test_another_browser_sees_nothing_of_it_and_a_third_finds_no_place(page: Any, browser: Any, server: Any) -> None:
    other = browser.new_context()
    try:
        other_page = other.new_page()
        other_page.goto(server.url, timeout=PATIENCE)
        other_page.locator("#name-a", has_text="no volume yet").wait_for(timeout=PATIENCE)
        key = page.evaluate("state.sources.a.key")
        assert other.request.get(f"{server.url}api/volume/a/{key}").status == 404
        assert page.request.get(f"{server.url}api/volume/a/{key}").status == 200
        third = browser.new_context()
        assert third.request.get(server.url).status == 503
        third.close()
        other_page.get_by_role("button", name="New session").click()
        other_page.get_by_role("heading", name="Fuse two volumes").wait_for()
    finally:
        other.close()


def test_a_sample_pair_comes_with_one_click_and_has_a_projection(page: Any, film: Callable[[], None]) -> None:
    page.get_by_role("button", name="Sample pair", exact=True).click()
    page.locator("#name-b", has_text="sample_pet").wait_for()
    wait_idle(page)
    page.wait_for_function("() => viewer.images.b?.isUptake")
    page.get_by_role("button", name="Projection").click()
    assert picture_of(page).std() > 0
    film()
    page.get_by_role("button", name="Close").first.click()


@pytest.mark.parametrize("size", [NARROW, {"width": 700, "height": 400}, WIDE], ids=["narrow", "low", "wide"])
def test_the_projection_keeps_the_proportions_of_the_volume(page: Any, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    page.get_by_role("button", name="Projection").click()
    box = page.get_by_role("img", name="Maximum-intensity projection").bounding_box()
    page.get_by_role("button", name="Close").first.click()
    page.set_viewport_size(WIDE)
    x, y, z = page.evaluate("viewer.images.b.volume.pixDimsRAS.slice(1)")
    columns, rows = page.evaluate("(({width, height}) => [width, height])(viewer.find('dialog.projection canvas'))")
    assert box["width"] > 150
    assert box["width"] / box["height"] == pytest.approx(columns * min(x, y) / (rows * z), rel=0.01)


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


def test_beyond_loopback_all_is_refused_without_the_token(start_server: Callable[..., Any], browser: Any) -> None:
    server = start_server("--host", "0.0.0.0", "--device", "cpu")  # noqa: S104
    token = server.url.split("?token=")[1]
    base = f"http://127.0.0.1:{server.port}"
    status, text = answer_of(f"{base}/")
    assert status == 401
    assert "Enter the token" in text
    assert answer_of(f"{base}/?token={token[:-1]}")[0] == 401
    for path in ("api/state", "api/offered", "download/nrrd", "api/volume/a/x"):
        assert answer_of(f"{base}/{path}")[0] == 401, path
    assert answer_of(f"{base}/api/state", Cookie=f"s3im_session={token}")[0] == 401
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{base}/?token={token}", timeout=PATIENCE)
    page.get_by_role("heading", name="Fuse two volumes").wait_for(timeout=PATIENCE)
    assert token not in page.url
    (ours,) = context.cookies()
    assert (ours["httpOnly"], ours["sameSite"]) == (True, "Strict")
    headers = {"Cookie": f"{ours['name']}={ours['value']}"}
    assert answer_of(f"{base}/api/state", **headers)[0] == 200
    assert answer_of(f"{base}/api/state", **headers, Origin="https://elsewhere.example")[0] == 403
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
        page.get_by_role("heading", name="Fuse two volumes").wait_for()
        assert page.url == f"http://127.0.0.1:{server.port}/"
    context.close()
