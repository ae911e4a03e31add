"""The report in a real Chromium: no network is asked, the viewer draws, the controls work by mouse and keys."""

import io
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from monai_s3im.report.ratings import read_ratings
from monai_s3im.report.serving import report_server

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, reported):
    """Open the report from its file; it must have asked for nothing, failed at nothing and run nothing of others."""
    visits = []

    def open_report(**settings):
        context = browser.new_context(viewport={"width": 1200, "height": 800}, **settings)
        page, told = context.new_page(), SimpleNamespace(requests=[], errors=[], dialogs=[])
        visits.append((context, told))

        def answer(route):
            if route.request.url.split(":")[0] in {"file", "data", "blob"}:
                route.continue_()
            else:
                told.requests.append(route.request.url)
                route.abort()

        def dismiss(dialog):
            told.dialogs.append(dialog.message)
            dialog.dismiss()

        page.route("**/*", answer)
        page.on("console", lambda message: told.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: told.errors.append(str(error)))
        page.on("dialog", dismiss)
        page.goto(reported.page.as_uri())
        return page

    yield open_report
    for context, told in visits:
        context.close()
        assert (told.requests, told.errors, told.dialogs) == ([], [], [])


def opened_viewer(page, name):
    place = page.locator("article", has=page.get_by_role("heading", name=name, exact=True))
    place.get_by_role("button", name="View the fused volume in three planes").click()
    page.wait_for_selector(".stage[data-ready]")
    return place.locator(".panes")


def picture_of(locator):
    """Drawn pixels, (rows, columns, 3); waits for the frame to be drawn."""
    locator.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def colored_part(picture):
    return (np.ptp(picture, axis=-1) > 30).mean()


def test_the_page_opens_and_shows_every_montage(visit, reported):
    page = visit()
    assert page.title() == f"Fusion report: {reported.folder.name}"
    images = page.locator("article img")
    for index in range(images.count()):
        images.nth(index).scroll_into_view_if_needed()
        assert images.nth(index).evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 200


def test_the_viewer_draws_and_follows_the_crosshair_and_the_fade(visit, tmp_path):
    page = visit()
    canvas = opened_viewer(page, "uptake")
    first = picture_of(canvas)
    page.screenshot(path=tmp_path / "viewer.png")
    assert first.std() > 20
    place = page.get_by_label("Position").text_content
    for _ in range(3):
        page.keyboard.press("PageUp")
    moved, there = picture_of(canvas), place()
    assert np.abs(moved - first).mean() > 1
    fade = page.get_by_label("Fade from A over fused to B")
    fade.fill("-1")
    of_a = picture_of(canvas)
    fade.fill("1")
    of_b = picture_of(canvas)
    assert np.abs(of_a - moved).mean() > 1
    assert np.abs(of_b - of_a).mean() > 1
    assert colored_part(of_a) < 0.05  # the crosshair
    assert colored_part(of_b) > colored_part(of_a) + 0.01  # uptake
    page.get_by_role("application", name="A in three planes").focus()
    page.keyboard.press("ArrowLeft")
    assert there
    assert place() != there


def test_one_viewer_moves_from_case_to_case_and_returns_the_focus(visit):
    page = visit()
    of_volume = picture_of(opened_viewer(page, "volume"))
    of_uptake = picture_of(opened_viewer(page, "uptake"))
    assert page.locator(".stage").count() == 1
    assert of_volume.shape != of_uptake.shape or np.abs(of_volume - of_uptake).mean() > 1
    page.get_by_role("button", name="Close").click()
    assert page.locator(".stage").count() == 0
    focused = page.evaluate("() => document.activeElement.closest('article').dataset.name")
    assert focused.startswith("uptake")
    page.keyboard.press("Enter")
    page.wait_for_selector(".stage[data-ready]")


def test_the_list_is_filtered_and_sorted(visit):
    page = visit()
    shown = page.locator("#list tbody tr:visible th")
    values = page.locator("#list tbody tr:visible td:nth-child(5)")
    page.get_by_role("button", name="failed").click()
    assert shown.count() == 2
    assert page.locator("article:visible").count() == 0
    page.get_by_role("button", name="14 cases").click()
    page.get_by_label("Find").fill("MR + CT")
    assert sorted(shown.all_text_contents()) == [f"picture {index}" for index in range(9)]
    assert page.locator("#shown").text_content() == "9 of 14 shown"
    header = page.get_by_role("button", name="EN", exact=True)
    header.focus()
    page.keyboard.press("Enter")
    rising = [float(text) for text in values.all_text_contents()]
    assert rising == sorted(rising)
    page.keyboard.press("Enter")
    assert [float(text) for text in values.all_text_contents()] == rising[::-1]
    assert page.locator("th[aria-sort=descending]").text_content() == "EN"


def test_the_keyboard_reaches_the_cases(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "To the cases"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.getElementById('cases').getBoundingClientRect().top") < 800


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_either_scheme(visit, scheme):
    page = visit(color_scheme=scheme)
    for selector in (
        "h1",
        ".hint",
        ".chip.clear",
        ".chip.warning",
        ".failed-cases p",
        "#list a",
        "figcaption",
        ".kind",
    ):
        ink, ground = page.locator(selector).first.evaluate(
            """(element) => {
                const ink = getComputedStyle(element).color;
                const ground = () => getComputedStyle(element).backgroundColor;
                while (ground() === "rgba(0, 0, 0, 0)") element = element.parentElement;
                return [ink, ground()];
            }"""
        )
        assert contrast(ink, ground) >= 4.5, selector  # WCAG 2.2, level AA


def contrast(*colors):
    """Contrast ratio of two colours as WCAG 2.2 defines it."""
    luminances = []
    for color in colors:
        levels = np.array([float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        luminances.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_a_narrow_page_does_not_run_out_of_its_width(visit):
    page = visit()
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_on_paper_the_cases_stay_and_the_controls_go(visit):
    page = visit()
    page.emulate_media(media="print")
    assert page.locator("article img:visible").count() == 12
    assert page.locator(".viewer:visible").count() == 0
    assert page.locator("input:visible").count() == 0


def test_ratings_are_downloaded_as_the_file_that_belongs_next_to_the_report(visit, tmp_path):
    page = visit(accept_downloads=True)
    place = page.locator("article", has=page.get_by_role("heading", name="uptake", exact=True))
    place.get_by_label("doubtful").check()
    place.get_by_label("Note").fill("rim of the skull")
    assert "1 of 12 rated, not saved yet" in page.locator("#rated").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save ratings").click()
    assert download.value.suggested_filename == "ratings.json"
    download.value.save_as(tmp_path / "ratings.json")
    rating = read_ratings(tmp_path, ["uptake"])["uptake"]
    assert (rating.rating, rating.note) == ("doubtful", "rim of the skull")
    assert page.locator("#list td.verdict[data-case=uptake]").inner_text() == "doubtful"


def test_a_served_report_shows_what_was_saved_before(browser, reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "rated")
    for name, before in (("uptake", 0), ("volume", 1)):
        with report_server(folder) as server:  # each at its own port, so that the browser keeps nothing
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            page.locator("#rated", has_text=re.compile(f"^{before} of 12 rated$")).wait_for()
            place = page.locator("article", has=page.get_by_role("heading", name=name, exact=True))
            place.get_by_label("doubtful").check()
            page.get_by_role("button", name="Save ratings").click()
            page.locator("#rated", has_text="saved in ratings.json").wait_for()
            page.reload()
            page.locator("#rated", has_text=re.compile(f"^{before + 1} of 12 rated$")).wait_for()
            page.close()
            server.shutdown()
            thread.join()
    assert set(read_ratings(folder, ["uptake", "volume"])) == {"uptake", "volume"}


def test_a_drag_changes_the_window_and_the_values_have_their_unit(visit):
    page = visit()
    opened_viewer(page, "uptake")
    page.get_by_label("View", exact=True).select_option("side")
    glass = page.get_by_role("application", name="A in three planes")
    glass.scroll_into_view_if_needed()
    box = glass.bounding_box()
    window = page.locator(".pane[data-side=a] .window")
    before = window.inner_text()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 60, steps=4)
    page.mouse.up()
    width = [float(text.split()[1]) for text in (before, window.inner_text())]
    assert width[1] == pytest.approx(width[0] * np.exp(80 / 200), rel=0.02)
    values = page.get_by_label("Values at the crosshair").inner_text()
    assert re.fullmatch(r"A -?[\d.]+ · B -?[\d.]+ · Fused [\d.]+", values)


def test_a_checkerboard_shows_parts_of_both_and_a_double_click_one_plane(visit):
    page = visit()
    panes = opened_viewer(page, "uptake")
    view = page.get_by_label("View", exact=True)
    view.select_option("overlay")
    pictures = {}
    for part in ("0", "1"):
        page.get_by_label("Opacity of B over A").fill(part)
        pictures[part] = picture_of(panes)[:200]
    view.select_option("check")
    mixed = picture_of(panes)[: len(pictures["0"])]
    like = [(np.abs(mixed - pictures[part]).max(-1) < 30).mean() for part in ("0", "1")]
    assert min(like) > 0.3  # black is in both
    assert colored_part(pictures["0"]) < colored_part(mixed) < colored_part(pictures["1"])
    view.select_option("side")
    page.get_by_role("application", name="Fused in three planes").dblclick(position={"x": 60, "y": 60})
    assert page.locator(".pane:visible").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".pane:visible").count() == 3


def test_the_projection_shows_the_hottest_voxels(visit):
    page = visit()
    opened_viewer(page, "uptake")
    page.get_by_role("button", name="Projection").click()
    canvas = page.get_by_role("img", name="Maximum-intensity projection")
    front = picture_of(canvas)
    assert front.min() < 60
    page.get_by_label("Turn of the projection in degrees").fill("90")
    assert np.abs(picture_of(canvas).mean() - front.mean()) > 0.01
