"""Write docs/reference/cli.md, the reference of the command, from the commands themselves: python .ci/cli_page.py

It takes a second. The text is that of typer's own generator (typer MODULE utils docs).
"""

import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from monai_s3im.cli import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
INTRODUCTION = """# The command

<!-- written by .ci/cli_page.py: change the help of the command, and run it again -->

Every command has `--help`. `s3im --install-completion` makes bash, zsh, fish or PowerShell complete commands, options,
their values and files, in every new terminal. `s3im --show-completion` prints the script instead.

On a terminal, a command shows what it is doing on standard error; elsewhere it shows nothing but warnings. Standard
output holds only the result: the path of the fused image, a table, a list. The exit code is 0 if all went well, 1 if
some pairs of a batch failed, and 2 if the input or the options cannot be used.

"""


def page() -> str:
    """The text of the page."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="s3im")
    text = get_docs_for_click(obj=command, ctx=context, name="s3im", indent=1)
    return INTRODUCTION + re.sub(r"^Examples:\n\n((?:s3im .*\n+)+)", _examples, text, flags=re.M).rstrip() + "\n"


def _examples(found: re.Match[str]) -> str:
    """The lines of an epilogue, as code."""
    lines = "".join(f"$ {line}\n" for line in found[1].split("\n") if line)
    return f"**Examples**:\n\n```console\n{lines}```\n\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
