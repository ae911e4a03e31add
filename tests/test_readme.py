"""What the README says is there, is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SYMBOLS = sorted(set(re.findall(r"`(monai_s3im(?:\.\w+)+)`", README)))
LINKS = [
    (page, link)
    for page in PAGES
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
]


def test_the_table_names_symbols():
    assert len(SYMBOLS) > 10


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_symbol_of_the_table_can_be_imported(symbol):
    module, _, name = symbol.rpartition(".")
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}:{link}" for page, link in LINKS])
def test_each_link_leads_to_a_file(page, link):
    assert (page.parent / link).exists()
