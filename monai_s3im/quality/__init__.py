"""Compare fusion methods: metrics, guards, ranks, tables and pictures."""

from .comparison import PAPER_METRICS, Comparison, compare
from .guards import GUARDS, Guard, guard_values
from .run import run_quality
from .tables import write_tables

__all__ = ["GUARDS", "PAPER_METRICS", "Comparison", "Guard", "compare", "guard_values", "run_quality", "write_tables"]
