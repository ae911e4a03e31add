"""README and site are short enough to read; the README leads a newcomer to everything."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ELSEWHERE = {
    "index.md": "README.md",
    "guides/slicer.md": "slicer_extension/README.md",
    "background/model_card.md": "bundle/docs/README.md",
    "project/contributing.md": "CONTRIBUTING.md",
}
MADE_BY_PROGRAMS = ("reference/cli.md", "reference/api/", "project/changelog.md")


def words_of_the_site() -> dict[str, int]:
    """Words of each page that is written by hand."""
    menu = re.findall(r"[\w/]+\.md", str(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    pages = {page: ROOT / ELSEWHERE.get(page, f"docs/{page}") for page in menu if not page.startswith(MADE_BY_PROGRAMS)}
    return {page: len(file.read_text(encoding="utf-8").split()) for page, file in pages.items()}


def test_the_readme_has_at_most_700_words():
    assert 300 < len(README.split()) <= 700


def test_the_site_has_at_most_19500_words():
    words = words_of_the_site()
    assert len(words) > 30
    assert sum(words.values()) <= 19_500, words


@pytest.mark.parametrize("needed", ["make demo", "make test", "docs/install.md", "docs/limits.md", "paper_map.md"])
def test_the_readme_names_what_a_newcomer_needs(needed):
    assert needed in README


def test_the_page_of_limits_begins_with_how_little_pet_was_trained_on():
    first = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8").split("\n\n")[1]
    assert first.startswith("**Only one brain in the training set has PET.**")
