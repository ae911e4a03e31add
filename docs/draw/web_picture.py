"""Draw the picture of the web front: T1 and CT of the head phantom, fused in Chromium.

Command:  python docs/draw/web_picture.py docs/gallery   (in the environment of docs/guides/web.md, with playwright)
Duration: about one minute on two CPU cores.
Result:   web_front.png, the page after the fusion.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from monai_s3im.phantom import head_phantom

CHROMIUM, PORT = "/usr/bin/chromium", 18642
SIZE = {"width": 1200, "height": 760}


def screenshot(address: str, folder: Path) -> bytes:
    """Load the pair, fuse it, and take a picture of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(120_000)
        page.goto(address)
        fuse = page.get_by_role("button", name="Fuse", exact=True)
        fuse.wait_for()
        for side, name, modality in (("A", "t1", "mr"), ("B", "ct", "ct")):
            page.get_by_label(f"Upload {side}", exact=True).set_input_files(folder / f"{name}.nii.gz")
            page.locator(f"#name-{side.lower()}", has_text=name).wait_for()
            page.evaluate(f"window.trame.state.set('modality_{side.lower()}', '{modality}')")
        page.wait_for_timeout(500)
        fuse.click()
        page.locator("#fused-name").wait_for()
        page.wait_for_timeout(3000)  # the pictures of the views come after the page
        picture = page.screenshot()
        browser.close()
    return picture


def main(gallery: Path) -> None:
    """Make the pair, start the server as a user would, and save the picture with few colours."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        volumes = head_phantom((160, 192, 128), (1.2, 1.2, 1.5)).volumes
        for name in ("t1", "ct"):
            voxels, affine = volumes[name].numpy()[0].astype(np.float32), volumes[name].affine.numpy()
            nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / f"{name}.nii.gz")
        command = [sys.executable, "-m", "s3im_web", "--port", str(PORT), "--device", "cpu"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                address = server.stdout.readline().split()[-1]
                picture = Image.open(io.BytesIO(screenshot(address, folder)))
            finally:
                server.terminate()
    picture.convert("RGB").resize((1000, 633), Image.Resampling.LANCZOS).quantize(128).save(
        gallery / "web_front.png", optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
