"""Compare fusion methods: metrics, guards, ranks, tables and pictures."""

from .comparison import PAPER_METRICS, Comparison, compare
from .guards import GUARDS, VOLUME_GUARDS, Guard, guard_values
from .readability import READING_GUARDS, reading_values
from .run import run_quality
from .tables import write_tables
from .volumes import run_volumes, volume_guards

__all__ = [
    "GUARDS",
    "PAPER_METRICS",
    "READING_GUARDS",
    "VOLUME_GUARDS",
    "Comparison",
    "Guard",
    "compare",
    "guard_values",
    "reading_values",
    "run_quality",
    "run_volumes",
    "volume_guards",
    "write_tables",
]
