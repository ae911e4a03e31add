"""Draw the picture of the page in the browser: its sample pair, fused in Chromium.

Command:  python docs/draw/web_picture.py docs/gallery   (in the environment of docs/guides/web.md, with playwright)
Duration: about one minute on two CPU cores.
Result:   web_front.png, the page after the fusion.
"""

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

CHROMIUM, PORT = "/usr/bin/chromium", 18642
SIZE = {"width": 1440, "height": 900}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def screenshot(address: str) -> bytes:
    """Take the sample pair, fuse it, and take a picture of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(300_000)
        page.goto(address)
        page.get_by_role("button", name="Sample pair", exact=True).click()
        page.wait_for_function("() => state.sources.b && !state.job")
        page.get_by_role("button", name="Fuse", exact=True).click()
        page.wait_for_function("() => viewer.images.fused")
        page.wait_for_timeout(3000)
        page.locator(".side").evaluate("(side) => side.scrollTo(0, 0)")
        picture = page.screenshot()
        browser.close()
    return picture


def main(gallery: Path) -> None:
    """Start the server as a user would, and save the picture with few colours."""
    command = [sys.executable, "-m", "s3im_web", "--port", str(PORT), "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split()[-1]
            picture = Image.open(io.BytesIO(screenshot(address)))
        finally:
            server.terminate()
    picture.convert("RGB").resize((1000, 625), Image.Resampling.LANCZOS).quantize(128).save(
        gallery / "web_front.png", optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
