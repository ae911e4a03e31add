"""docs/background/paper_map.md names symbols and files; each must exist, and nothing of the paper may be missing."""

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

from monai_s3im.metrics import FUSION_METRICS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "background" / "paper_map.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
NAMES = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row)]
SYMBOLS = sorted({name for name in NAMES if name.startswith("monai_s3im.")})
FILES = sorted({name for name in NAMES if "/" in name})
EIGHT_METRICS = list(FUSION_METRICS)[:8]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_symbol_of_the_tables_can_be_imported(symbol):
    assert callable(resolve_name(symbol)) or symbol.rpartition(".")[2].isupper()


@pytest.mark.parametrize("file", FILES)
def test_every_file_of_the_tables_exists(file):
    assert (ROOT / file).is_file()


@pytest.mark.parametrize(
    "part",
    [
        "Fig. 2",
        "Fig. 4",
        *[f"Eq. ({number})" for number in range(1, 10)],
        *[f"metric {name}" for name in EIGHT_METRICS],
        "where a volume comes in",
        "where it goes out",
        "a modality; add one here",
        "fusion rule; add one here",
    ],
)
def test_what_a_reader_looks_for_has_a_row_with_a_symbol(part):
    assert any(row.startswith(f"| {part}") and "`monai_s3im." in row for row in ROWS)
