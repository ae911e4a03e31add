r"""Fuzz every entry point of the program with damaged inputs, and count the results.

Command: python tests/fuzz/run.py --minutes 30 --seed 0 --json studies/data/reliability.json \
             --markdown studies/reliability.md
Duration: as asked for; one round of all systematic inputs through all entry points takes about 25 minutes on one core.
Expected: 0 crashed, 0 hung; exit code 1 if not, with the inputs in --keep.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.fuzz_session import Session, all_tasks, write_tables


def main() -> None:
    """Run."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--format", help="only this format")
    arguments.add_argument("--entry-point", help="only this entry point")
    arguments.add_argument("--damage", default="", help="only damage with this text")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--markdown", type=Path, help="a page whose tables are updated")
    arguments.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "s3im_fuzz_failures")
    asked = arguments.parse_args()
    tasks = all_tasks(asked.seed, asked.format, asked.entry_point, asked.damage)
    with Session(asked.keep) as session:
        counts = session.run(tasks, 60 * asked.minutes)
    counts["command"] = f"python tests/fuzz/run.py --minutes {asked.minutes:g} --seed {asked.seed}"
    for failure in counts["failures"]:
        sys.stdout.write(
            f"{failure['state']}: {failure['format']}, {failure['entry_point']}, {failure['damage']}\n"
            f"{failure['said']}\n"
        )
    if asked.json:
        asked.json.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    if asked.markdown:
        write_tables(counts, asked.markdown)
    sys.stdout.write(
        str({name: counts[name] for name in ("tried", "refused", "fused", "crashed", "hung", "largest_growth_mib")})
        + "\n"
    )
    sys.exit(1 if counts["crashed"] or counts["hung"] else 0)


if __name__ == "__main__":
    main()
