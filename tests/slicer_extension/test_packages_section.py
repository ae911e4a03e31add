"""The section of the panel for installed packages: display, questions and messages."""

# ruff: noqa: E402 - slicer-core may be absent

from importlib import metadata
from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials: pip install -e .[slicer-test]")

from S3IMFusionLib import packages_section
from S3IMFusionLib.packages_section import PackagesSection
from S3IMFusionLib.pip_errors import DependencyError


@pytest.fixture
def installing(monkeypatch):
    """Replaces both installations by a fake one."""

    def put(install):
        monkeypatch.setattr(packages_section, "ensure_packages", install)
        monkeypatch.setattr(packages_section, "upgrade_packages", install)

    return put


def test_the_section_shows_the_installed_versions_when_it_is_opened(panel):
    import torch

    assert panel.ui.packagesCollapsibleButton.collapsed
    panel.ui.packagesCollapsibleButton.collapsed = False
    lines = panel.ui.packagesLabel.text.splitlines()
    assert lines[1:] == [f"{name} {metadata.version(name)}" for name in ("monai", "einops", "nibabel", "matplotlib")]
    backend = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    assert lines[0] == f"torch {torch.__version__}, built for {backend}"


def test_missing_packages_are_reported(panel, monkeypatch):
    monkeypatch.setattr(packages_section, "version_of", lambda name: None)
    panel.ui.packagesCollapsibleButton.collapsed = False
    assert panel.ui.packagesLabel.text.startswith("torch: not installed\nmonai: not installed")


@pytest.mark.parametrize("button", ["applyButton", "upgradeButton"])
def test_an_error_is_shown_with_pips_lines_and_nothing_is_fused(panel, installing, monkeypatch, button, add_volume):
    def fail(requirements, show):
        raise DependencyError("There is no space left on the disk.", "OSError: [Errno 28]")

    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **options: shown.append((text, options)))
    installing(fail)
    panel.ui.applyButton.enabled = True
    getattr(panel.ui, button).click()
    ((text, options),) = shown
    assert text == "There is no space left on the disk."
    assert options["detailedText"] == "OSError: [Errno 28]"
    assert panel.ui.statusLabel.text == "Not installed: There is no space left on the disk."
    assert not panel.ui.progressFrame.visible


def test_meanwhile_the_status_shows_it_and_a_second_click_does_nothing(panel, installing):
    seen, runs = [], []

    def install(requirements, show):
        runs.append(Path(requirements).name)
        show("Installing PyTorch ...")
        seen.append(panel.ui.statusLabel.text)
        panel.ui.upgradeButton.click()
        return True

    installing(install)
    panel.ui.upgradeButton.click()
    assert runs == ["requirements.txt"]
    assert seen == ["Installing PyTorch ..."]
    assert panel.ui.statusLabel.text == "The packages are up to date."


def test_the_process_that_holds_the_files_has_ended_before_they_change(panel, installing):
    order = []

    def install(requirements, show):
        show("Installing PyTorch ...")
        order.append("installed")
        return True

    installing(install)
    PackagesSection(panel.ui, Path("requirements.txt"), lambda: order.append("ended")).ensure()
    assert order == ["ended", "installed"]


def test_what_was_declined_after_a_part_was_installed_is_not_called_nothing(panel, installing, monkeypatch):
    installed = {"torch": "2.5.1"}
    monkeypatch.setattr(packages_section, "installed_versions", lambda: dict(installed))
    installing(lambda requirements, show: installed.update(torch="2.13.0"))
    panel.ui.upgradeButton.click()
    assert panel.ui.statusLabel.text == "Not all packages were installed: the rest was declined."
