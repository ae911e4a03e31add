"""Compare fusion methods: metrics, guards, ranks, tables and pictures."""

from .comparison import PAPER_METRICS, Comparison, compare
from .guards import GUARDS, VOLUME_GUARDS, Guard, guard_values
from .lesion_cases import phantom_cases, volume_cases
from .lesion_run import run_lesions
from .lesions import LesionValue, lesion_contrast, summarize
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
    "LesionValue",
    "compare",
    "guard_values",
    "lesion_contrast",
    "phantom_cases",
    "reading_values",
    "run_lesions",
    "run_quality",
    "run_volumes",
    "summarize",
    "volume_cases",
    "volume_guards",
    "write_tables",
]
