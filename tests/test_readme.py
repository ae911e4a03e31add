"""What the README says is there, is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SYMBOLS = sorted(set(re.findall(r"`(monai_s3im(?:\.\w+)+)`", README)))


def test_the_table_names_symbols():
    assert len(SYMBOLS) > 10


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_symbol_of_the_table_can_be_imported(symbol):
    module, _, name = symbol.rpartition(".")
    assert hasattr(import_module(module), name)
