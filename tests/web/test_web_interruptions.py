"""What the page says and keeps when the server does not respond, in Chromium."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_steps import NARROW, PATIENCE, WIDE, wait_idle

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Any:
    return start_server("--device", "cpu")


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page of one user, who goes through the tests of this file from top to bottom."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    yield page
    context.close()
    assert page.faults == []


def test_volumes_are_drawn_after_an_interrupted_download(page: Any) -> None:
    failed = []
    page.route("**/api/volume/**", lambda route: (failed.append(1), route.abort()), times=1)
    page.get_by_role("button", name="Sample pair", exact=True).click()
    page.locator(".pane[data-side=b]").wait_for()
    page.wait_for_function("() => viewer.images.a && viewer.images.b")
    assert failed
    assert page.get_by_role("alertdialog").is_hidden()


def test_warnings_of_a_registration_stay(page: Any) -> None:
    wait_idle(page)
    page.route("**/api/state", with_fault)
    page.get_by_text("A and B match barely.").wait_for()
    with page.expect_response("**/api/state"):
        pass
    page.wait_for_timeout(500)
    assert page.get_by_text("A and B match barely.").is_visible()
    page.unroute("**/api/state")
    page.get_by_text("A and B match barely.").wait_for(state="hidden")


def with_fault(route: Any) -> None:
    answer = route.fetch()
    matrix = [[float(row == column) for column in range(4)] for row in range(4)]
    estimate = {
        "kind": "rigid", "matrix": matrix, "information": 0.1, "key": "k", "faults": ["A and B match barely."]
    }  # fmt: skip
    route.fulfill(response=answer, json={**answer.json(), "estimate": estimate})


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_page_continues_when_the_server_responds_again(page: Any, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    page.evaluate("find('#settings').open = true")
    page.get_by_label("Range of A").fill("0,6")
    page.context.set_offline(True)
    dialog = page.get_by_role("alertdialog", name="The server does not respond")
    dialog.wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert dialog.is_visible()
    assert page.evaluate("!document.activeElement.closest('.side, .top, main')")
    box = dialog.bounding_box()
    assert 0 <= box["x"] < box["x"] + box["width"] <= size["width"]
    page.context.set_offline(False)
    dialog.wait_for(state="hidden")
    assert page.locator("#name-b").inner_text() == "sample_pet.nii.gz"
    assert page.get_by_label("Range of A").input_value() == "0,6"


def test_a_restarted_server_is_an_ended_session_with_a_way_back(
    page: Any, server: Any, start_server: Callable[..., Any]
) -> None:
    server.process.terminate()
    server.process.wait(timeout=20)
    page.evaluate("find('#end').click()")
    page.get_by_role("alertdialog", name="The server does not respond").wait_for()
    start_server("--device", "cpu", "--port", str(server.port))
    page.get_by_role("alertdialog", name="The session has ended").wait_for()
    page.get_by_role("link", name="Open the page again").click()
    page.get_by_role("heading", name="Fuse two volumes").wait_for()
