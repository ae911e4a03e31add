"""Draw the picture of a report: a batch of the head phantom in Chromium.

Command:  python docs/draw/report_picture.py docs/gallery
Duration: about two minutes on two CPU cores.
Result:   report.png, the page of three volumes with the viewer open.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from monai_s3im.batch import fuse_batch
from monai_s3im.pairs.lists import read_pairs
from monai_s3im.phantom import write_phantom
from monai_s3im.pipeline import Fuser
from monai_s3im.report import write_report

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def report_of_phantom(folder: Path) -> Path:
    """Fuse the volumes of the phantom and report."""
    write_phantom(folder / "phantom", subjects=2, volumes=True)
    pairs = read_pairs(folder / "phantom" / "volumes" / "pairs.csv")
    list(fuse_batch(pairs, folder / "phantom_volumes", Fuser(device="cpu"), metrics=True))
    return write_report(folder / "phantom_volumes", pairs)


def draw(report: Path, picture: Path) -> None:
    """Open the viewer of the last case, and draw that case."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(report.resolve().as_uri())
        article = page.locator("article").last
        article.locator(".open").click()
        page.wait_for_selector(".stage[data-ready]")
        page.wait_for_timeout(2000)
        article.screenshot(path=picture)
        browser.close()
    with Image.open(picture) as full:
        small = full.convert("RGB").resize((960, round(full.height * 960 / full.width)), Image.Resampling.LANCZOS)
    small.quantize(192).save(picture, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        draw(report_of_phantom(Path(folder)), Path(sys.argv[1]) / "report.png")
