"""Check the accessibility of the built site with axe in Chromium: every page light and wide, and dark and narrow.

Command:   python .ci/accessibility.py SITE
Duration:  about two minutes
Result:    a line for each serious or critical finding, each page whose text is wider than a telephone, and exit code 1
           if there is one; "AXE NOT DONE" and exit code 0 without Chromium.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]  # contacts no other machine
VIEWS = (
    {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
)


def findings(page: Any) -> Iterator[str]:
    """The problems of an open page: violated rules of axe, and a width beyond the window."""
    for rule in Axe().run(page).response["violations"]:
        if rule["impact"] in {"serious", "critical"}:
            yield from (f"{rule['id']}: {' '.join(node['html'].split())[:160]}" for node in rule["nodes"])
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wide > 0:
        yield f"{wide} pixels wider than the window"


def main(site: Path) -> int:
    """Check every page of a site."""
    if not CHROMIUM.exists():
        print(f"AXE NOT DONE: no browser at {CHROMIUM}")
        return 0
    found = []
    pages = sorted(file for file in site.rglob("*.html") if file.name != "404.html")  # whose parts need a server
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        for view in VIEWS:
            page = browser.new_page(**view)
            for file in pages:
                page.goto(file.resolve().as_uri())
                name = f"{file.relative_to(site)}, {view['color_scheme']}"
                found += [f"{name}: {finding}" for finding in findings(page)]
            page.close()
        browser.close()
    print("\n".join(found) or f"axe finds nothing serious on {len(pages)} pages, light and dark, wide and narrow")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
