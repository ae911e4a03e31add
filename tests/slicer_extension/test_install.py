"""The question for packages: once, of all that is missing, and nothing of Slicer's is replaced."""

# ruff: noqa: E402, N802, N803 - slicer-core may be absent; Slicer's names

import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("slicer.util")
from S3IMFusionLib.install import DependencyError, ensure_packages, missing_packages

SLICERS_OWN = {"numpy": "2.0.2", "SimpleITK": "2.5.0", "requests": "2.32.0", "pip": "25.0"}


class Python:
    """Slicer's Python as the installer sees it: what is installed, what is asked, what is done."""

    def __init__(self, monkeypatch, installed):
        self.installed, self.answer = dict(installed), True
        self.questions, self.steps, self.constraints = [], [], []
        monkeypatch.setattr(metadata, "version", self.version)
        monkeypatch.setattr(slicer, "app", SimpleNamespace(testingEnabled=lambda: False), raising=False)
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self.ask)
        monkeypatch.setattr(slicer.util, "pip_install", self.pip_install)
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)

    def version(self, name):
        try:
            return self.installed[name]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    def ask(self, text, windowTitle=None):
        self.questions.append(text)
        return self.answer

    def pip_install(self, arguments):
        assert arguments[0] == "--constraint"
        self.constraints = Path(arguments[1]).read_text(encoding="utf-8").split()
        self.take(arguments[2:], "pip_install")

    def take(self, lines, step):
        self.steps.append(step)
        self.installed |= {"monai": "1.6.1", "einops": "0.8.1"}
        assert set(lines) <= {"monai>=1.6,<1.7", "einops>=0.8"}


@pytest.fixture
def python(monkeypatch):
    """Slicer 5.10 as it comes, with the PyTorch extension."""
    python = Python(monkeypatch, SLICERS_OWN)

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            assert not askConfirmation
            assert torchVersionRequirement == ">=2.6"
            python.steps.append("installTorch")
            python.installed["torch"] = "2.13.0+cu130"
            return ModuleType("torch")

    module = ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return python


@pytest.fixture
def requirements(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("# why\nmonai>=1.6,<1.7\neinops>=0.8\n", encoding="utf-8")
    return file


def test_nothing_is_asked_when_all_is_there(python, requirements):
    python.installed |= {"torch": "2.6.0", "monai": "1.6.0", "einops": "0.8.0"}
    assert ensure_packages(requirements)
    assert python.questions == python.steps == []


def test_one_question_lists_all_that_will_be_installed(python, requirements):
    assert ensure_packages(requirements)
    (question,) = python.questions
    assert all(line in question for line in ("torch>=2.6", "monai>=1.6,<1.7", "einops>=0.8"))
    assert python.steps == ["installTorch", "pip_install"]


def test_declining_leaves_all_as_it_was(python, requirements):
    python.answer = False
    assert not ensure_packages(requirements)
    assert python.installed == SLICERS_OWN
    assert python.steps == []


def test_what_slicer_brings_is_held_to_its_versions(python, requirements):
    ensure_packages(requirements)
    assert {"numpy==2.0.2", "SimpleITK==2.5.0", "requests==2.32.0", "torch==2.13.0"} <= set(python.constraints)


def test_an_old_monai_is_asked_for_again(python, requirements):
    python.installed |= {"torch": "2.6.0", "monai": "1.4.0", "einops": "0.8.0"}
    assert missing_packages(requirements) == ["monai>=1.6,<1.7"]


def test_a_torch_that_is_too_old_is_not_replaced(python, requirements):
    python.installed["torch"] = "2.1.0"
    with pytest.raises(DependencyError, match=r"PyTorch 2\.1\.0 is installed.*PyTorch Utils"):
        ensure_packages(requirements)
    assert python.questions == python.steps == []


def test_without_the_pytorch_extension_its_name_is_told_and_nothing_asked(python, requirements, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(DependencyError, match=r"Extensions Manager install the extension named PyTorch"):
        ensure_packages(requirements)
    assert python.questions == []


def test_slicer_5_12_installs_by_its_own_installer(python, requirements, monkeypatch):
    def pip_ensure(lines, constraints, prompt_install, prompt_restart, requester):
        assert not prompt_install  # asked already
        assert constraints.is_file()
        python.take(lines, "pip_ensure")

    def pip_check(line):
        return {"torch": "torch", "monai": "monai", "einops": "einops"}[line.partition(">")[0]] in python.installed

    module = ModuleType("slicer.packaging")
    module.pip_ensure, module.pip_check = pip_ensure, pip_check
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    assert ensure_packages(requirements)
    assert python.steps == ["installTorch", "pip_ensure"]
    assert len(python.questions) == 1


def test_a_failed_installation_is_told(python, requirements, monkeypatch):
    def fail(arguments):
        raise RuntimeError("no network")

    monkeypatch.setattr(slicer.util, "pip_install", fail)
    with pytest.raises(DependencyError, match="no network"):
        ensure_packages(requirements)


def test_a_torch_that_was_not_installed_is_told(python, requirements, monkeypatch):
    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", lambda self, **_: None)
    with pytest.raises(DependencyError, match="PyTorch was not installed"):
        ensure_packages(requirements)


def test_under_testing_nothing_is_asked_nor_installed(python, requirements, monkeypatch):
    monkeypatch.setattr(slicer, "app", SimpleNamespace(testingEnabled=lambda: True))
    assert not ensure_packages(requirements)
    assert python.questions == python.steps == []
