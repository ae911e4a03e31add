"""Imports run one way; the contract is in pyproject.toml."""

import ast
import subprocess
import sys
from pathlib import Path

from monai_s3im.formats.paths import exists, isdir, isfile

ROOT = Path(__file__).resolve().parents[1]


def test_imports_run_one_way():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout
    assert "Imports run one way KEPT" in result.stdout


def test_existence_is_tested_with_the_functions_of_formats_paths(tmp_path):
    assert [asked(tmp_path / (300 * "x")) for asked in (exists, isfile, isdir)] == [False, False, False]
    wrong = [
        f"{path.name}:{node.lineno} {node.attr}: import it from monai_s3im.formats.paths"
        for path in (ROOT / "monai_s3im").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"exists", "is_file", "is_dir"}
    ]
    assert wrong == []


def test_a_sibling_is_imported_by_its_own_name_and_another_package_by_its_full_one():
    wrong = []
    for path in (ROOT / "monai_s3im").rglob("*.py"):
        room = ".".join(path.relative_to(ROOT).parent.parts)
        if room == "monai_s3im.phantom":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                is_sibling = node.level == 0 and node.module.rpartition(".")[0] == room
                is_other = node.level > 1 or (node.level == 1 and "." in node.module)
                wrong += [f"{path.name}:{node.lineno}"] if is_sibling or is_other else []
    assert wrong == []
