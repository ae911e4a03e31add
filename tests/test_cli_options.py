"""The command's options: their values, completion, examples, near misses, and the page about them."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from monai_s3im.batch.run import ENGINES
from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.cli.options import CHOICES
from monai_s3im.inferers import SliceWiseInferer
from monai_s3im.modalities import modality_named
from monai_s3im.pairs.download import DATASETS
from monai_s3im.settings import REFERENCES, REGISTRATIONS
from monai_s3im.transforms import PLANES

ROOT = Path(__file__).resolve().parents[1]


def commands(command=None, path=()):
    """Every command, by the words that call it."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


def examples_of(command):
    return [line for line in (command.epilog or "").split("\n\n") if line.startswith("s3im ")]


LEAVES = [
    pytest.param(path, command, id=" ".join(path)) for path, command in commands() if not hasattr(command, "commands")
]


def test_the_values_that_the_command_completes_are_those_of_the_library():
    assert set(CHOICES["plane"]) == {*PLANES, "in-plane"}
    assert set(CHOICES["reference"]) == set(REFERENCES)
    assert set(CHOICES["register"]) == set(REGISTRATIONS)
    assert set(CHOICES["engine"]) == set(ENGINES)
    assert set(CHOICES["data set"]) == set(DATASETS)
    assert {"train", *CHOICES["config"]} <= {file.stem for file in (bundle_root() / "configs").glob("*.json")}
    assert [SliceWiseInferer(precision=name).precision for name in CHOICES["precision"]] == list(CHOICES["precision"])


@pytest.mark.parametrize(
    ("written", "name"), [("T1", "mr"), ("t2w", "mr"), ("FLAIR", "mr"), ("FDG", "pet"), ("CBCT", "ct"), (" Mri ", "mr")]
)
def test_a_modality_may_have_the_name_that_people_give_it(written, name):
    assert modality_named(written).name == name


@pytest.mark.parametrize(("path", "command"), LEAVES)
def test_each_command_has_examples_that_its_parser_takes(path, command):
    lines = examples_of(command)
    assert lines
    for line in lines:
        words = shlex.split(line)[1:]
        assert tuple(words[: len(path)]) == path
        command.make_context(" ".join(path), words[len(path) :])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fuze"], "Did you mean 'fuse'?"),
        (["fuse", "--modality", "MR"], "--modality-a, --modality-b"),
        (["fuse", "--colour-map", "hot"], "--color-map"),
        (["fuse", "--regster", "rigid"], "--register"),
        (["data", "fantom"], "Did you mean 'phantom'?"),
    ],
)
def test_a_misspelt_command_or_option_gets_a_suggestion(words, said):
    result = CliRunner().invoke(app, words, env={"COLUMNS": "150"})
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


@pytest.fixture
def program(tmp_path):
    """The command as it is called on the PATH."""
    file = tmp_path / "bin" / "s3im"
    file.parent.mkdir()
    code = "import sys; sys.argv[0] = 's3im'; from monai_s3im.cli import main; main()"
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}" "$@"\n')
    file.chmod(0o755)
    return file


def with_program(program, **more):
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PATH": path, "PYTHONPATH": python_path, **more}


BASH = """
source <(s3im --show-completion)  # of the shell that asks
complete -p s3im
while read -r -a words; do
    COMP_WORDS=("${words[@]%_}"); COMP_CWORD=$((${#words[@]} - 1)); COMPREPLY=()
    _s3im_completion s3im
    echo "${COMPREPLY[*]}"
done
"""  # a word that ends in _ is what is typed so far
ASKED = {
    "s3im fu_": "fuse",
    "s3im fuse --plane _": "axial coronal sagittal in-plane",
    "s3im fuse --modality-a M_": "Mr",
    "s3im fuse --window b_": "brain bone brain+bone",
    "s3im export --task c_": "ct-mri",
    "s3im fuse --win_": "--window",
    "s3im fuse a_": "",  # complete -o default: the shell's own files
}


def test_bash_completes_commands_options_values_and_files(program, tmp_path):
    (tmp_path / "ask.bash").write_text(BASH)
    result = subprocess.run(
        ["bash", "--norc", tmp_path / "ask.bash"],
        input="\n".join(ASKED) + "\n",
        env=with_program(program),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=120,
    )
    registered, *answers = result.stdout.splitlines()
    assert registered == "complete -o default -F _s3im_completion s3im"
    assert dict(zip(ASKED, answers, strict=True)) == ASKED


def test_zsh_is_given_the_same_values(program):
    asked = {"_S3IM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "s3im fuse --plane co"}
    environment = with_program(program, **asked)
    result = subprocess.run([program], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert '"coronal"' in result.stdout
    assert "axial" not in result.stdout
    nothing = {**environment, "_TYPER_COMPLETE_ARGS": "s3im fuse a"}
    result = subprocess.run([program], env=nothing, capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.strip() == "_files"


def test_the_page_of_the_command_is_current():
    specification = importlib.util.spec_from_file_location("cli_page", ROOT / ".ci" / "cli_page.py")
    writer = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(writer)
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "run: python .ci/cli_page.py"
