"""Steps of a user on the page, in Chromium."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PATIENCE = 240_000  # ms, for a busy machine
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def drop(page: Any, *paths: Path) -> None:
    """Drop files or a folder on the page, as from a file manager."""
    tools = page.context.new_cdp_session(page)
    dragged = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        tools.send("Input.dispatchDragEvent", {"type": kind, "x": 700, "y": 400, "data": dragged})
    tools.detach()


def wait_idle(page: Any) -> None:
    page.wait_for_function("() => !state.job && !upload")
    page.wait_for_timeout(300)


def name_of(page: Any, side: str) -> str:
    return page.locator(f"#name-{side}").inner_text()


def picture_of(page: Any, side: str = "") -> np.ndarray:
    """The drawn pixels of one image, or of all, once they are stable."""
    place = page.locator(f".pane[data-side={side}] .film" if side else ".panes")
    former = None
    for _ in range(40):
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        picture = np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("RGB"), dtype=float)
        if former is not None and np.array_equal(former, picture):
            return picture
        former = picture
        page.wait_for_timeout(250)
    raise AssertionError("the picture keeps changing")


def difference(picture: np.ndarray, other: np.ndarray) -> float:
    """The mean absolute difference in grey values; panes may differ by a pixel in size."""
    rows, columns = np.minimum(picture.shape, other.shape)[:2]
    return float(np.abs(picture[:rows, :columns] - other[:rows, :columns]).mean())


def saved(page: Any, link: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path
