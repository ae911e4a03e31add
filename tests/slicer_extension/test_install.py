"""The packages: requested, installed by real pip from a local index, and nothing else replaced without asking."""

# ruff: noqa: E402 - slicer-core may be absent

import os
import platform
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("slicer.util")
from packaging.requirements import Requirement
from S3IMFusionLib import install
from S3IMFusionLib.install import TORCH, DependencyError, ensure_packages, missing_packages, upgrade_packages
from S3IMFusionLib.installed import torch_backend
from S3IMFusionLib.pip_errors import explained
from slicer_python import SlicerPython

ROOT = Path(__file__).resolve().parents[2]
MONAI = ("torch>=2.8.0", "numpy<3.0,>=1.24")  # of monai 1.6.1
TORCH_REQUIRES = ("sympy>=1.13.3", "typing-extensions>=4.10.0")  # of torch 2.13


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Slicer 5.10 as it comes, with the PyTorch extension, and what PyPI offers."""
    python = SlicerPython(tmp_path, monkeypatch)
    for name, version in {"numpy": "2.0.2", "SimpleITK": "2.5.0", "requests": "2.32.0"}.items():
        python.install(name, version)
        python.offer(name, "9.0")
    for version in ("2.5.1", "2.8.0", "2.13.0", "3.0.0"):
        requires = ("sympy==1.13.1", "typing-extensions>=4.8.0") if version == "2.5.1" else TORCH_REQUIRES
        python.offer("torch", version, *requires)
    for torch, vision in {"2.5.1": "0.20.1", "2.8.0": "0.23.0", "2.13.0": "0.28.0", "3.0.0": "1.0"}.items():
        python.offer("torchvision", vision, f"torch=={torch}", "numpy")
    for name, version in (
        ("sympy", "1.13.1"),
        ("sympy", "1.14.0"),
        ("typing-extensions", "4.15.0"),
        ("einops", "0.8.2"),
    ):
        python.offer(name, version)
    for version in ("1.6.0", "1.6.1", "1.7.0"):
        python.offer("monai", version, *MONAI)
    yield python
    python.close()


@pytest.fixture
def with_all(python):
    """All that S3IMFusion needs is installed."""
    for name, version, *requires in (
        ("torch", "2.8.0", *TORCH_REQUIRES),
        ("torchvision", "0.23.0", "torch==2.8.0", "numpy"),
        ("sympy", "1.14.0"),
        ("typing-extensions", "4.15.0"),
        ("monai", "1.6.0", *MONAI),
        ("einops", "0.8.2"),
    ):
        python.install(name, version, *requires)
    return python


@pytest.fixture
def with_old_torch(python):
    """PyTorch 2.5.1, as an extension that segments has it, and what that installed."""
    for name, version, *requires in (
        ("torch", "2.5.1", "sympy==1.13.1", "typing-extensions>=4.8.0"),
        ("torchvision", "0.20.1", "torch==2.5.1", "numpy"),
        ("sympy", "1.13.1"),
        ("typing-extensions", "4.15.0"),
        ("TotalSegmentator", "2.9.0", "torch!=2.9.*,>=2.1.2"),
    ):
        python.install(name, version, *requires)
    return python


@pytest.fixture
def requirements(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("# why\nmonai>=1.6,<1.7\neinops>=0.8\n", encoding="utf-8")
    return file


def test_the_range_of_torch_is_that_of_monai_and_of_the_library():
    (of_monai,) = (line for line in metadata.requires("monai") if Requirement(line).name == "torch")
    assert metadata.version("monai").startswith("1.6.")
    floor = str(Requirement(of_monai).specifier).removeprefix(">=")
    assert Requirement(TORCH).specifier.contains(floor)
    assert {"2.7.1", "3.0.0"}.isdisjoint(Requirement(TORCH).specifier.filter([floor, "2.7.1", "3.0.0"]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert TORCH in project["dependencies"]


def test_there_is_no_question_if_nothing_is_missing(with_all, requirements):
    assert ensure_packages(requirements, with_all.show)
    assert with_all.questions == with_all.runs == with_all.status == []


def test_one_question_lists_all_and_the_newest_that_fit_are_installed(python, requirements):
    assert ensure_packages(requirements, python.show)
    (question,) = python.questions
    assert all(line in question for line in ("torch>=2.8,<3", "monai>=1.6,<1.7", "einops>=0.8"))
    assert "replaces" not in question
    assert python.runs == ["installTorch", "pip_install"]
    assert python.installed.items() >= {"torch": "2.13.0", "torchvision": "0.28.0", "monai": "1.6.1"}.items()


def test_declining_leaves_all_unchanged(python, requirements):
    before, python.answers = python.installed, [False]
    assert not ensure_packages(requirements, python.show)
    assert python.installed == before
    assert python.runs == []


def test_what_slicer_brings_keeps_its_version_though_the_index_has_newer_ones(python, requirements):
    python.offer("monai", "1.6.2", "torch>=2.8.0", "numpy", "requests")
    ensure_packages(requirements, python.show)
    assert python.installed.items() >= {"numpy": "2.0.2", "SimpleITK": "2.5.0", "requests": "2.32.0"}.items()


def test_another_newer_monai_is_replaced_only_after_a_question_that_names_it_and_its_users(with_all, requirements):
    with_all.install("monai", "1.7.0", *MONAI)
    next(with_all.site.glob("monai-1.6.0.dist-info/METADATA")).parent.rename(with_all.folder / "former")
    with_all.install("monailabel", "0.8.5", "monai>=1.5")
    with_all.app.model.depends = {"MONAIAuto3DSeg": "PyTorch", "SlicerRT": "", "S3IMFusion": "PyTorch"}
    with_all.answers = [False]
    assert not ensure_packages(requirements, with_all.show)
    (question,) = with_all.questions
    users = "monailabel 0.8.5 (monai>=1.5), extension MONAIAuto3DSeg"
    assert f"monai>=1.6,<1.7, replaces monai 1.7.0, which may be used by: {users}\n" in question
    assert with_all.installed["monai"] == "1.7.0"
    assert ensure_packages(requirements, with_all.show)
    assert with_all.installed["monai"] == "1.6.1"


def test_a_torch_that_is_too_old_is_upgraded_after_a_question_that_names_its_users(with_old_torch, requirements):
    python = with_old_torch
    python.app.model.depends = {"TotalSegmentator": "PyTorch NNUNet", "NNUNet": "PyTorch"}
    assert ensure_packages(requirements, python.show)
    (question,) = python.questions
    assert "replaces torch 2.5.1, which may be used by: TotalSegmentator 2.9.0 (torch!=2.9.*,>=2.1.2)" in question
    assert "extension NNUNet, extension TotalSegmentator" in question
    assert "restart Slicer before you use them" in question
    assert python.installed.items() >= {"torch": "2.13.0", "torchvision": "0.28.0", "sympy": "1.14.0"}.items()
    assert python.installed["TotalSegmentator"] == "2.9.0"


def test_what_torch_shares_with_another_package_is_replaced_only_after_a_second_question(with_old_torch, requirements):
    python = with_old_torch
    python.install("brainchop", "1.0", "sympy<1.14")
    python.answers = [True, False]
    before = python.installed
    assert not ensure_packages(requirements, python.show)
    assert "sympy 1.13.1, which may be used by: brainchop 1.0 (sympy<1.14)" in python.questions[1]
    assert python.installed == before
    assert ensure_packages(requirements, python.show)
    assert python.installed["sympy"] == "1.14.0"


def test_what_slicer_brings_is_not_replaced_even_after_a_question(python, requirements):
    for version in ("1.6.0", "1.6.1"):
        python.offer("monai", version, "torch>=2.8.0", "numpy>=3")
    with pytest.raises(DependencyError, match=r"are not compatible with installed ones: numpy") as error:
        ensure_packages(requirements, python.show)
    assert "numpy==2.0.2" in error.value.details
    assert len(python.questions) == 1
    assert python.installed["numpy"] == "2.0.2"


def test_torch_is_never_replaced_by_pip_past_the_pytorch_extension(with_all, requirements):
    with_all.offer("monai", "1.7.5", "torch>=2.10")
    requirements.write_text("monai>=1.7.5\n", encoding="utf-8")
    with pytest.raises(DependencyError, match=r"are not compatible with installed ones: torch"):
        ensure_packages(requirements, with_all.show)
    assert len(with_all.questions) == 1
    assert with_all.installed.items() >= {"torch": "2.8.0", "monai": "1.6.0"}.items()


def test_on_an_intel_slicer_of_a_mac_nothing_is_asked_and_no_removal_recommended(
    with_old_torch, requirements, monkeypatch
):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(DependencyError, match=r"Intel package for the Mac.*2\.2\.2.*Apple silicon") as error:
        ensure_packages(requirements, with_old_torch.show)
    assert "uninstall" not in str(error.value).lower()
    assert with_old_torch.questions == with_old_torch.runs == []


def test_an_old_torch_that_is_loaded_is_not_replaced_under_slicers_feet(with_old_torch, requirements, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    with pytest.raises(DependencyError, match=r"PyTorch 2\.5\.1 is too old.*restart Slicer, open S3IMFusion first"):
        ensure_packages(requirements, with_old_torch.show)
    assert with_old_torch.questions == with_old_torch.runs == []


@pytest.mark.parametrize(
    ("system", "compiler", "wanted"),
    [
        ("win32", "MSC v.1939 64 bit (AMD64)", "torch>=2.8,<2.9"),
        ("win32", "MSC v.1942 64 bit (AMD64)", "torch>=2.8,<3"),
        ("linux", "GCC 12.2.0", "torch>=2.8,<3"),
    ],
)
def test_a_windows_slicer_with_an_old_runtime_gets_the_last_torch_that_loads(monkeypatch, system, compiler, wanted):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "python_compiler", lambda: compiler)
    assert install.torch_to_install() == wanted


def test_without_the_pytorch_extension_its_name_is_said_and_nothing_asked(python, requirements, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(DependencyError, match=r"Extensions Manager install the extension named PyTorch"):
        ensure_packages(requirements, python.show)
    assert python.questions == []


def test_a_failed_installation_of_torch_is_one_sentence_with_pips_lines_as_details(python, requirements):
    for file in python.index.glob("torch-*"):
        if "2.5.1" not in file.name:
            file.unlink()
    with pytest.raises(DependencyError, match=r"^There is no torch<3,>=2\.8 for this Slicer's Python") as error:
        ensure_packages(requirements, python.show)
    assert "No matching distribution found for torch" in error.value.details
    assert python.app.cursors == []


def test_a_torch_that_was_not_installed_is_an_error(python, requirements, monkeypatch):
    logic = type("Logic", (), {"installTorch": lambda self, **_: None})
    monkeypatch.setattr(sys.modules["PyTorchUtils"], "PyTorchUtilsLogic", logic)
    with pytest.raises(DependencyError, match="could not be installed") as error:
        ensure_packages(requirements, python.show)
    assert "installTorch returned nothing" in error.value.details


def test_meanwhile_the_status_says_what_is_installed_under_a_wait_cursor(python, requirements):
    ensure_packages(requirements, python.show)
    assert python.status[0] == "Installing PyTorch ..."
    assert "Installing packages ..." in python.status
    assert any(text.startswith("Installing packages ... Successfully installed") for text in python.status)
    assert max(map(len, python.status)) <= 90
    assert ["wait"] in python.app.cursors_seen
    assert python.app.cursors == []


def test_slicer_5_12_installs_by_its_own_module(python, requirements, monkeypatch):
    python.become_slicer_5_12(monkeypatch)
    assert ensure_packages(requirements, python.show)
    assert python.runs == ["installTorch", "slicer.packaging"]
    assert python.installed["monai"] == "1.6.1"
    assert python.installed["numpy"] == "2.0.2"


def test_a_conflict_is_found_in_slicer_5_12_too(with_all, requirements, monkeypatch):
    with_all.become_slicer_5_12(monkeypatch)
    with_all.offer("einops", "0.9.0", "sympy>=1.15")
    with_all.offer("sympy", "1.15.0")
    requirements.write_text("einops>=0.9\n", encoding="utf-8")
    assert ensure_packages(requirements, with_all.show)
    assert "sympy 1.14.0, which may be used by: torch" not in with_all.questions[1]
    assert with_all.installed["sympy"] == "1.15.0"


def test_a_folder_with_a_space_and_constraints_of_the_users_own_are_kept(python, requirements, monkeypatch, tmp_path):
    folder = tmp_path / "Jo Do" / "Temp"
    folder.mkdir(parents=True)
    own = tmp_path / "own.txt"
    own.write_text("torch<2.13\n", encoding="utf-8")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("PIP_CONSTRAINT", own.as_uri())
    ensure_packages(requirements, python.show)
    assert python.installed["torch"] == "2.8.0"
    assert os.environ["PIP_CONSTRAINT"] == own.as_uri()


def test_the_remains_of_a_failed_removal_do_not_stop_pip(python, requirements):
    python.install("numpy", "1.0")
    next(python.site.glob("numpy-1.0.dist-info")).rename(python.site / "~umpy-1.0.dist-info")
    metadata_file = python.site / "~umpy-1.0.dist-info" / "METADATA"
    metadata_file.write_text(metadata_file.read_text(encoding="utf-8").replace("numpy", "~umpy"), encoding="utf-8")
    assert ensure_packages(requirements, python.show)


def test_an_upgrade_takes_the_newest_that_fit_and_leaves_torch(with_all, requirements):
    with_all.install("monailabel", "0.8.5", "monai>=1.5")
    assert upgrade_packages(requirements, with_all.show)
    (question,) = with_all.questions
    assert "monai>=1.6,<1.7, which may be used by: monailabel 0.8.5 (monai>=1.5)" in question
    assert with_all.installed.items() >= {"monai": "1.6.1", "torch": "2.8.0", "numpy": "2.0.2"}.items()


def test_a_declined_upgrade_changes_nothing(with_all, requirements):
    with_all.answers, before = [False], with_all.installed
    assert not upgrade_packages(requirements, with_all.show)
    assert with_all.installed == before


def test_in_testing_mode_nothing_is_asked_or_installed(python, requirements):
    python.app.is_testing = True
    assert not ensure_packages(requirements, python.show)
    assert python.questions == python.runs == []
    assert missing_packages(requirements) == ["torch>=2.8,<3", "monai>=1.6,<1.7", "einops>=0.8"]


def test_what_torch_was_built_for_is_read_without_loading_it():
    import torch

    expected = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    assert torch_backend() == expected


CONNECTION = "WARNING: Retrying (Retry(total=0)) after connection broken by '{}': /simple/einops/"
NOTHING = "ERROR: Could not find a version that satisfies the requirement einops>=0.8 (from versions: none)"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["OSError: [Errno 28] No space left on device"], "no space left on the disk"),
        (["OSError: [WinError 112] Es steht nicht genug Speicherplatz zur Verfügung"], "no space left on the disk"),
        (["OSError: [Errno 13] Permission denied: '/opt/Slicer/einops'"], "folder cannot be written to"),
        (["OSError: [Errno 30] Read-only file system: '/opt/Slicer/einops'"], "folder cannot be written to"),
        (["OSError: [WinError 5] Zugriff verweigert: 'C:\\\\Slicer\\\\torch'"], "folder cannot be written to"),
        (["OSError: [WinError 32] The process cannot access the file"], "restart Slicer, open S3IMFusion first"),
        (
            [CONNECTION.format("ProxyError('Cannot connect to proxy.', NewConnectionError('refused'))"), NOTHING],
            "HTTPS_PROXY",
        ),
        (
            [CONNECTION.format("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))"), NOTHING],
            "PIP_CERT",
        ),
        ([CONNECTION.format("NewConnectionError('[Errno -2] Name or service not known')"), NOTHING], "Internet"),
        ([NOTHING], "package server offers no einops>=0.8"),
        ([NOTHING.replace("none", "0.1, 0.2")], "There is no einops>=0.8 for this Slicer's Python"),
        (["OSError: [WinError 1114] A DLL initialization routine failed"], "Visual C..Redistributable"),
        (["something new"], "see the details"),
    ],
)
def test_each_kind_of_error_has_one_sentence_with_pips_lines_as_details(lines, sentence):
    error = explained([*lines, "last line"], RuntimeError("exit code 1"))
    assert sentence.replace("..", "++ ") in str(error)
    assert str(error).count(".") <= 2
    assert error.details.endswith("last line\nRuntimeError: exit code 1")
    assert lines[0] in error.details


def test_the_details_stay_short_enough_for_a_dialog():
    error = explained([*"abc", "x" * 300_000] * 50, RuntimeError())
    assert len(error.details) < 25_000
