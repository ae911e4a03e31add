"""Links between the pages of the repository hold, anchors too, as GitHub reads them; the site reads the same ones."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "bundle/docs/README.md")),
    ROOT / "slicer_extension" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.ipynb")),
    *sorted((ROOT / "studies").rglob("*.md")),
]


def text_of(page: Path) -> str:
    """A page without its code, in which brackets mean something else."""
    text = page.read_text(encoding="utf-8")
    return text if page.suffix == ".ipynb" else re.sub(r"(?ms)^```.*?^```|`[^`\n]+`", "code", text)


def anchors_of(page: Path) -> set[str]:
    """What GitHub makes of the headings: small letters, words joined by hyphens, punctuation left out."""
    titles = re.findall(r"(?m)^#+ +(.+?) *$", re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


LINKS = [
    pytest.param(page, link, id=f"{page.relative_to(ROOT)}:{link}")
    for page in PAGES
    for link in sorted(set(re.findall(r"\]\((?![a-z]+:)([^()\s\\]+)\)", text_of(page))))
]


def test_there_are_links_to_check():
    assert len(LINKS) > 80


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_each_link_leads_to_a_file_and_its_heading(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert target.is_relative_to(ROOT)
    assert not anchor or anchor in anchors_of(target)


def test_a_heading_becomes_the_anchor_that_github_makes(tmp_path):
    (tmp_path / "page.md").write_text("# RAS, LPS: which is it?\n\n## `--resume` goes on\n\n```\n# no heading\n```\n")
    assert anchors_of(tmp_path / "page.md") == {"ras-lps-which-is-it", "--resume-goes-on"}


def pages_of(menu: list[dict[str, object]]) -> list[str]:
    """The pages of a menu and of the menus in it."""
    entries = [entry for item in menu for entry in item.values()]
    return [page for entry in entries for page in (pages_of(entry) if isinstance(entry, list) else [entry])]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_each_page_is_in_the_menu_of_the_site(page):
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    name = page.relative_to(ROOT / "docs").as_posix()
    assert pages_of(settings["nav"]).count(name) == 1
    assert name not in settings["exclude_docs"].split()
