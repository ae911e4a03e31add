"""What a page can do before all its scripts have arrived, in Chromium and by the server's answers."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from page_steps import PATIENCE, WIDE, name_of, wait_idle

from monai_s3im.viewer import LIBRARY


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Any:
    return start_server("--device", "cpu")


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page of a new user."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()


def hold(held: list[Any]) -> Callable[[Any], None]:
    """Keep requests waiting; playwright takes no method of a list."""

    def keep(route: Any) -> None:
        held.append(route)

    return keep


@pytest.mark.browser
def test_files_chosen_before_the_script_arrives_are_loaded(page: Any, server: Any, pair: Path) -> None:
    held = []
    page.route("**/static/page.js", hold(held))
    page.goto(server.url, wait_until="commit")
    page.get_by_label("Choose files").set_input_files([pair / "t1.nii.gz", pair / "ct.nii.gz"])
    assert held
    for route in held:
        route.continue_()
    page.locator("#fuse:enabled").wait_for()
    assert {name_of(page, side) for side in "ab"} == {"t1.nii.gz", "ct.nii.gz"}


@pytest.mark.browser
def test_the_page_works_while_the_viewer_is_being_loaded(page: Any, server: Any, pair: Path) -> None:
    held = []
    page.route("**/static/niivue.js", hold(held))
    page.goto(server.url, wait_until="commit")
    for name in ("t1.nii.gz", "ct.nii.gz"):  # one after the other: the first waits to be drawn
        page.get_by_label("Choose files").set_input_files(pair / name)
        page.get_by_role("button", name=f"{name} as A").wait_for()
        wait_idle(page)
    page.locator("#fuse:enabled").wait_for()
    assert held
    assert page.locator("#viewer").get_attribute("data-ready") is None
    for route in held:
        route.continue_()
    page.locator("#viewer[data-ready]").wait_for()


@pytest.mark.browser
def test_a_viewer_that_cannot_be_loaded_is_named(page: Any, server: Any) -> None:
    page.route("**/static/niivue.js", lambda route: route.abort())
    page.goto(server.url)
    page.get_by_role("button", name="Sample pair", exact=True).click()
    page.get_by_role("alert").filter(has_text="The viewer could not be loaded: reload the page").wait_for()
    wait_idle(page)
    assert page.locator("#fuse").is_enabled()


def test_the_viewer_s_library_is_compressed_where_the_browser_takes_it(server: Any) -> None:
    def answer(**headers: str) -> Any:
        return urlopen(Request(f"http://127.0.0.1:{server.port}/static/niivue.js", headers=headers), timeout=30)

    with answer(**{"Accept-Encoding": "gzip, br"}) as response:
        compressed = response.read()
        assert (response.headers["Content-Encoding"], response.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert len(compressed) < 900_000
    assert gzip.decompress(compressed) == LIBRARY.read_bytes()
    with answer() as response:
        assert response.headers["Content-Encoding"] is None
        assert response.read() == LIBRARY.read_bytes()
