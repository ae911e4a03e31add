"""The environment of `make`: which PyTorch is installed, from where, and when nothing needs to be done."""

import platform
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = run_path(str(ROOT / "tools" / "environment.py"), run_name="environment")
GLOBALS = TOOL["install_torch"].__globals__
PINNED = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))


class Pip:
    """An environment whose pip finds PyTorch only at some indexes; it records the requests."""

    def __init__(self, *indexes, installed=""):
        self.indexes, self.installed, self.asked, self.read = indexes, installed, [], {}

    def version_of(self, package):
        return self.installed

    def pip(self, *arguments, **options):
        index = arguments[arguments.index("--index-url") + 1] if "--index-url" in arguments else "configured"
        wanted = next(word for word in arguments if word.startswith("torch=="))
        self.asked.append((index, wanted))
        return 0 if index in self.indexes else 1


@pytest.fixture
def machine(monkeypatch):
    """Set the system and whether there is a GPU."""
    monkeypatch.delenv("TORCH_INDEX", raising=False)

    def is_(system, has_gpu=False):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setitem(GLOBALS, "has_nvidia_gpu", lambda: has_gpu)

    return is_


def test_linux_without_a_gpu_takes_the_cpu_build_that_pip_is_configured_for(machine):
    machine("linux")
    pip = Pip("configured")
    TOOL["install_torch"](pip)
    assert pip.asked == [("configured", f"{PINNED}+cpu")]


def test_linux_without_a_gpu_asks_for_the_cpu_build_at_pytorch_next_and_never_for_cuda(machine):
    machine("linux")
    pip = Pip("https://download.pytorch.org/whl/cpu")
    TOOL["install_torch"](pip)
    assert pip.asked == [("configured", f"{PINNED}+cpu"), ("https://download.pytorch.org/whl/cpu", f"{PINNED}+cpu")]


def test_where_no_cpu_build_is_found_the_remedy_is_named(machine):
    machine("linux")
    pip = Pip()
    with pytest.raises(SystemExit, match=r"could not be installed from where pip is .*, or from https.*TORCH_INDEX"):
        TOOL["install_torch"](pip)
    assert all(wanted.endswith("+cpu") for _, wanted in pip.asked)


def test_on_an_intel_mac_no_index_is_promised_that_would_help(machine, monkeypatch):
    machine("darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(SystemExit, match=r"no torch==.* for a Mac with an Intel processor.*: the last is 2\.2\.2"):
        TOOL["install_torch"](Pip())


@pytest.mark.parametrize(("system", "has_gpu"), [("linux", True), ("darwin", False), ("win32", False)])
def test_elsewhere_the_build_is_that_of_the_configured_index(machine, system, has_gpu):
    machine(system, has_gpu)
    pip = Pip("configured")
    TOOL["install_torch"](pip)
    assert pip.asked == [("configured", PINNED)]


def test_only_the_named_index_is_queried(machine, monkeypatch):
    machine("linux")
    monkeypatch.setenv("TORCH_INDEX", "https://packages.example/simple")
    with pytest.raises(SystemExit, match=r"from https://packages\.example/simple: name an index"):
        TOOL["install_torch"](pip := Pip("configured"))
    assert pip.asked == [("https://packages.example/simple", PINNED)]


def test_an_installed_pytorch_stays(machine):
    machine("linux")
    TOOL["install_torch"](pip := Pip(installed="2.9.1+cu130"))
    assert pip.asked == []


def test_a_pytorch_that_came_from_here_is_updated_when_the_constraints_name_another(machine):
    machine("linux")
    pip = Pip("configured", installed="2.12.0+cpu")
    pip.read = {"torch": "torch==2.12.0"}
    TOOL["install_torch"](pip)
    assert pip.asked == [("configured", f"{PINNED}+cpu")]


@pytest.mark.parametrize(
    ("prints", "code", "is_there"),
    [("GPU 0: NVIDIA H200 (UUID: GPU-1)", 0, True), ("", 0, False), ("NVIDIA-SMI has failed", 9, False)],
)
def test_a_gpu_is_one_that_the_driver_lists(tmp_path, monkeypatch, prints, code, is_there):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{prints}'\nexit {code}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert TOOL["has_nvidia_gpu"]() is is_there


def test_without_the_drivers_program_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert TOOL["has_nvidia_gpu"]() is False


@pytest.fixture
def environment(tmp_path):
    made = TOOL["Environment"](tmp_path)
    made.python.parent.mkdir()
    made.python.touch()
    return made


def test_packages_are_not_installed_again_until_the_requirements_change(environment, monkeypatch):
    assert not environment.is_ready_for("use")
    environment.note("test")
    assert environment.is_ready_for("test")
    assert environment.is_ready_for("use")
    assert not environment.is_ready_for("docs")
    monkeypatch.setitem(GLOBALS, "_state", lambda: "another pyproject.toml")
    assert not environment.is_ready_for("test")


def test_what_was_installed_to_use_is_not_enough_to_test(environment):
    environment.note("use")
    assert not environment.is_ready_for("test")


def test_a_folder_of_other_files_is_not_made_an_environment(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not a virtual environment"):
        TOOL["Environment"](tmp_path).create()
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_an_old_python_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["environment.py"])
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"run this with 3\.11, 3\.12 or 3\.13"):
        TOOL["main"]()


@pytest.mark.parametrize("configured", ["global.index-url='https://packages.example'", ":env:.index-url='https://p'"])
def test_uv_is_not_used_if_pip_has_its_own_index(environment, monkeypatch, configured):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout=configured, returncode=0))
    assert environment.has_uv() is False


def test_uv_is_used_if_pip_has_more_indexes(environment, monkeypatch):
    more = "global.extra-index-url='file:///packages'\nglobal.find-links='/wheels'\n"
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout=more, returncode=0))
    assert environment.has_uv() is True


def test_the_constraints_name_the_installed_pytorch(environment, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(environment, "version_of", lambda package: "2.9.1+cu130")
    assert "\ntorch==2.9.1\n" in environment.constraints()
    assert PINNED not in environment.constraints()
