"""The code on the pages runs as printed: README, start, install, guides; all blocks of a page in order, in one folder.

A block after `<!-- test: skip, REASON -->` is not run; one after `<!-- test: slow -->` is run with its page by
`pytest -m slow`. Python after "`NAME.py`:" is also written to that file. The phantom has
larger voxels here than for users, so that the pages run in seconds.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.pairs.lists import read_pairs
from monai_s3im.phantom import head_phantom, training_set, write_phantom

ROOT = Path(__file__).resolve().parents[1]
NAMES = [
    "README.md",
    "docs/start.md",
    "docs/install.md",
    *(f"docs/{p.relative_to(ROOT / 'docs')}" for p in sorted((ROOT / "docs/guides").glob("*.md"))),
]
EVERY_PAGE = ["README.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")))]
_BLOCK = re.compile(
    r"(?:`(?P<file>\w+\.py)`:\n+)?"
    r"(?:<!-- test: (?P<mark>skip|slow)[^>]*-->\n+)?```(?P<language>bash|python)\n(?P<code>.*?)```",
    re.DOTALL,
)
_HERE_DOCUMENT = re.compile(r"<<(\w+)\n.*?\n\1(?=\n)", re.DOTALL)


def blocks_of(page: str) -> list[dict[str, str | None]]:
    """The code blocks of a page: file, mark (skip, slow or None), language, code."""
    return [block.groupdict() for block in _BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))]


def commands_of(code: str) -> list[str]:
    """A shell block in commands: continued lines and here-documents stay whole, comments go."""
    whole = code.replace("\\\n", " ")
    kept: list[str] = []

    def keep(document: re.Match[str]) -> str:
        kept.append(document[0])
        return f"@{len(kept) - 1}@"

    lines = re.sub(r"(?m)(^|\s)#(?!\d).*$", "", _HERE_DOCUMENT.sub(keep, whole)).splitlines()
    return [re.sub(r"@(\d+)@", lambda number: kept[int(number[1])], line) for line in lines if line.strip()]


def run_shell(code: str) -> None:
    """Run a block: our own commands in this process, which has PyTorch loaded, the others by bash."""
    for command in commands_of(code):
        if command.startswith("s3im "):
            result = CliRunner().invoke(app, shlex.split(command)[1:])
            assert result.exit_code == 0, f"{command}\n{result.output}\n{result.exception}"
        else:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            subprocess.run(["bash", "-ec", command], check=True, env={**os.environ, "PATH": path}, timeout=500)


def run_page(page: str, with_slow: bool) -> int:
    """Run the blocks of a page in the current folder; how many were run."""
    names: dict[str, object] = {}
    ran = 0
    for block in blocks_of(page):
        if block["mark"] == "skip" or (block["mark"] == "slow" and not with_slow):
            continue
        if block["language"] == "bash":
            run_shell(block["code"])
        else:
            if block["file"]:
                Path(block["file"]).write_text(block["code"], encoding="utf-8")
            exec(compile(block["code"], page, "exec"), names)  # noqa: S102 (our own pages)
        ran += 1
    return ran


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What `s3im data phantom demo` writes, in larger voxels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_set, "head_phantom", partial(small_head, training_set.SLICE_GRID))
        folder = tmp_path_factory.mktemp("phantom") / "demo"
        write_phantom(folder, volumes=True)
    return folder


def small_head(slice_grid, *grid, seed=0, **settings):
    """The slices as they are, the volumes with voxels of 4.5 mm."""
    return (
        head_phantom(*grid, **settings)
        if grid and grid[0] == slice_grid
        else head_phantom((44, 52, 42), (4.5, 4.5, 4.5), seed=seed)
    )


@pytest.fixture
def folder(demo, tmp_path, monkeypatch):
    """The folder of a reader, in which the phantom lies already; writing it again finds it there."""
    shutil.copytree(demo, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def your_files(folder):
    """The files that the README speaks of."""
    for name in ("t1", "ct"):
        shutil.copy(folder / "demo" / "volumes" / f"{name}.nii.gz", folder)
    pairs = {pair.modality_b: pair for pair in read_pairs(folder / "demo", "validation")}
    shutil.copy(pairs["spect"].image_a, "mri.png")
    shutil.copy(pairs["spect"].image_b, "spect.png")
    for name, image in (("mri", pairs["ct"].image_a), ("ct", pairs["ct"].image_b)):
        Path(name).mkdir()
        shutil.copy(image, f"{name}/p01.png")
    Path("pairs.csv").write_text("name,image_a,image_b\np01,mri/p01.png,ct/p01.png\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("page", NAMES)
def test_the_code_of_the_page_runs(page, your_files):
    assert run_page(page, with_slow=False) > 0 or all(block["mark"] for block in blocks_of(page))


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_python_that_is_not_run_imports_what_there_is(page):
    for code in (block["code"] for block in blocks_of(page) if block["language"] == "python"):
        for statement in ast.walk(ast.parse(code)):
            if isinstance(statement, ast.ImportFrom) and str(statement.module).startswith("monai_s3im"):
                module = import_module(str(statement.module))
                assert all(hasattr(module, alias.name) for alias in statement.names)


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_commands_that_are_not_run_have_options_that_there_are(page):
    codes = [block["code"] for block in blocks_of(page) if block["language"] == "bash"]
    for command in (command for code in codes for command in commands_of(code) if command.startswith("s3im ")):
        words = [word for word in shlex.split(command)[1:] if word != "..."]
        found = get_command(app)
        while hasattr(found, "commands") and not words[0].startswith("--"):
            found = found.commands[words.pop(0)]
        known = {option for parameter in found.params for option in parameter.opts}
        asked = {word for word in words if re.match(r"--?[a-z]", word)}
        assert found.context_settings.get("ignore_unknown_options") or asked <= known, command


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in NAMES if any(block["mark"] == "slow" for block in blocks_of(page))])
def test_the_code_of_the_page_runs_with_its_slow_blocks(page, your_files):
    assert run_page(page, with_slow=True) > 0


def test_a_block_that_fails_is_reported(your_files):
    with pytest.raises(AssertionError, match=r"none\.png does not exist"):
        run_shell("s3im fuse none.png none2.png -o out.png  # comment\n")
    with pytest.raises(subprocess.CalledProcessError):
        run_shell("ls nothing-here\n")


def test_commands_are_cut_at_lines_but_not_within_a_here_document():
    code = "s3im fuse a b \\\n    -o c  # why\n# only a comment\ncat > f <<END\n# kept\nx\nEND\ns3im fuse 'study#4'\n"
    commands = [" ".join(command.split(" ")).strip() for command in commands_of(code)]
    assert [shlex.split(commands[0]), commands[1], commands[2]] == [
        ["s3im", "fuse", "a", "b", "-o", "c"],
        "cat > f <<END\n# kept\nx\nEND",
        "s3im fuse 'study#4'",
    ]


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel, of the extra test")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "docs" / "guides" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "fused.nii.gz").is_file()


def test_pictures_are_brought_into_register_as_the_answer_shows(tmp_path, monkeypatch):
    """A coloured picture of half the size, turned by 7 degrees and shifted by (5, -3) pixels: found to half a pixel."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:128, :128] - 63.5
    turn = np.radians(7)

    def scene(x, y):
        """A head with a spot, in [0, 1]."""
        head = np.hypot(x / 45, y / 55) < 1
        return head * (0.5 + 0.2 * np.cos(x / 7) * np.sin(y / 9)) + 0.3 * (np.hypot(x - 15, y + 20) < 9)

    Image.fromarray(np.rint(255 * scene(x, y)).astype(np.uint8)).save("mri.png")
    u, v = (2 * (np.mgrid[:64, :64][axis] - 31.5) for axis in (1, 0))
    moved = 1 - scene(np.cos(turn) * (u - 5) - np.sin(turn) * (v + 3), np.sin(turn) * (u - 5) + np.cos(turn) * (v + 3))
    Image.fromarray(np.rint(255 * np.stack([moved, moved / 2, 0 * moved], axis=-1)).astype(np.uint8)).save("spect.png")
    (code,) = [block["code"] for block in blocks_of("docs/faq.md") if block["language"] == "python"]
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 (our own page)
    for point in ((40.0, 50.0), (80.0, 30.0), (63.5, 100.0)):
        at = np.array(point) - 63.5
        expected = [np.cos(turn) * at[0] + np.sin(turn) * at[1] + 5, -np.sin(turn) * at[0] + np.cos(turn) * at[1] - 3]
        np.testing.assert_allclose(names["found"].TransformPoint(point), np.array(expected) + 63.5, atol=0.5)
    with Image.open("spect_registered.png") as written:
        assert written.size == (128, 128)
