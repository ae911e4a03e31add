"""A Python as Slicer's, with real pip and an index of small packages on the disk: nothing comes from the network.

What stands for Slicer follows its sources: ``slicer.util.pip_install`` of 5.10 (Base/Python/slicer/util.py),
``slicer.packaging.pip_install`` of 5.12 (Base/Python/slicer/packaging.py) with the wait cursor alone, and
``PyTorchUtilsLogic.installTorch`` of the PyTorch extension (PyTorchUtils/PyTorchUtils.py). The process that runs pip
and the reading of its lines are slicer-core's own ``slicer.util.executePythonModule``.
"""

# ruff: noqa: N802, N803 - Slicer's names

import base64
import hashlib
import os
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pip
import slicer
import slicer.util

SCRIPT = """#!/bin/sh
PYTHONPATH={pip} exec {venv}/bin/python -W ignore "$@"
"""


def wheel(folder, name, version, *requires):
    """Writes a wheel of a package that holds one empty module."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    files = {
        f"{name.replace('-', '_')}/__init__.py": f"__version__ = {version!r}\n",
        f"{stem}.dist-info/METADATA": "\n".join(lines) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_hash(text)},{len(text)}\n" for path, text in files.items())
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in {**files, f"{stem}.dist-info/RECORD": f"{record}{stem}.dist-info/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return file


def _hash(text):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class ExtensionsManagerModel:
    """qSlicerExtensionsManagerModel: the installed extensions and what each depends on, separated by spaces."""

    def __init__(self):
        self.depends = {}

    @property
    def installedExtensions(self):
        return tuple(self.depends)

    def extensionMetadata(self, name):
        return {"depends": self.depends[name]}


class Application:
    """slicer.app and the cursor of its QApplication."""

    def __init__(self):
        self.is_testing, self.cursors, self.cursors_seen, self.model = False, [], [], ExtensionsManagerModel()

    def testingEnabled(self):
        return self.is_testing

    def extensionsManagerModel(self):
        return self.model

    def processEvents(self):
        self.cursors_seen.append(list(self.cursors))

    def thread(self):
        return "main"

    def setOverrideCursor(self, cursor):
        self.cursors.append(cursor)

    def restoreOverrideCursor(self):
        self.cursors.pop()


class SlicerPython:
    """Records installations, questions and messages; ``answers`` are the answers to the questions, then yes."""

    def __init__(self, folder, monkeypatch):
        self.index, self.folder = folder / "index", folder / "Slicer"
        self.index.mkdir(parents=True)
        venv.create(self.folder, with_pip=False)
        (self.site,) = self.folder.glob("lib/python*/site-packages")
        self.questions, self.answers, self.status, self.runs = [], [], [], []
        self.app, self.processes = Application(), []
        self._pose_as_slicer(monkeypatch)
        self._pose_as_its_metadata(monkeypatch)

    def _pose_as_slicer(self, monkeypatch):
        programs = self.folder.parent / "programs"
        programs.mkdir()
        script = programs / "PythonSlicer"
        (programs / "pip").symlink_to(Path(pip.__file__).parent)
        script.write_text(SCRIPT.format(pip=programs, venv=self.folder), encoding="utf-8")
        script.chmod(0o755)
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        options = {"NO_INDEX": "1", "FIND_LINKS": str(self.index), "CONFIG_FILE": os.devnull, "NO_COMPILE": "1"}
        for name, value in {**options, "DISABLE_PIP_VERSION_CHECK": "1"}.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        qt = ModuleType("qt")
        qt.QApplication, qt.Qt = self.app, ModuleType("Qt")
        qt.Qt.WaitCursor, qt.Qt.BusyCursor = "wait", "busy"
        qt.QThread = type("QThread", (), {"currentThread": staticmethod(lambda: "main")})
        monkeypatch.setitem(sys.modules, "qt", qt)
        monkeypatch.setattr(slicer, "app", self.app, raising=False)
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self.confirmOkCancelDisplay)
        monkeypatch.setattr(slicer.util, "pip_install", self.pip_install)
        launch = slicer.util.launchConsoleProcess

        def launch_and_note(*arguments, **options):
            self.processes.append(launch(*arguments, **options))
            return self.processes[-1]

        monkeypatch.setattr(slicer.util, "launchConsoleProcess", launch_and_note)
        monkeypatch.delitem(sys.modules, "torch", raising=False)  # which other tests have loaded
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)
        monkeypatch.setitem(sys.modules, "PyTorchUtils", ModuleType("PyTorchUtils"))
        sys.modules["PyTorchUtils"].PyTorchUtilsLogic = lambda: PyTorchUtilsLogic(self)

    def _pose_as_its_metadata(self, monkeypatch):
        distributions = metadata.distributions

        def distribution(name):
            try:
                return next(iter(distributions(name=name, path=[str(self.site)])))
            except StopIteration:
                raise metadata.PackageNotFoundError(name) from None

        monkeypatch.setattr(metadata, "distributions", lambda: distributions(path=[str(self.site)]))
        monkeypatch.setattr(metadata, "distribution", distribution)
        monkeypatch.setattr(metadata, "version", lambda name: distribution(name).version)

    def close(self):
        """Closes the pipes of the processes, which slicer.util leaves open."""
        for process in self.processes:
            process.stdout.close()

    def offer(self, name, version, *requires):
        """Puts a package into the index."""
        wheel(self.index, name, version, *requires)

    def install(self, name, version, *requires):
        """Installs a package, even if its requirements are missing."""
        with zipfile.ZipFile(wheel(self.folder, name, version, *requires)) as archive:
            archive.extractall(self.site)

    @property
    def installed(self):
        return {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}

    def show(self, text):
        self.status.append(text)
        self.app.processEvents()

    def confirmOkCancelDisplay(self, text, windowTitle=None):
        assert self.app.cursors == [], "a question under a wait cursor"
        self.questions.append(text)
        return self.answers.pop(0) if self.answers else True

    def pip_install(self, requirements):
        """slicer.util.pip_install of Slicer 5.10: it takes nothing but pip's arguments."""
        assert isinstance(requirements, list)
        self.runs.append("pip_install")
        slicer.util.executePythonModule("pip", ["install", *requirements])

    def become_slicer_5_12(self, monkeypatch):
        """slicer.packaging, of the folder of Slicer's sources if there is one."""
        translation = ModuleType("slicer.i18n")
        translation.tr = str
        monkeypatch.setitem(sys.modules, "slicer.i18n", translation)
        packaging = genuine_packaging() or ModuleType("slicer.packaging")
        pip_install = getattr(packaging, "pip_install", self._pip_install_5_12)

        def noted(*arguments, **options):
            self.runs.append("slicer.packaging")
            return pip_install(*arguments, **options)

        packaging.pip_install = noted
        monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)

    def _pip_install_5_12(self, requirements, *, constraints, show_progress, requester):
        assert not show_progress
        self.app.setOverrideCursor("busy")
        try:
            slicer.util.executePythonModule("pip", ["install", *requirements, "-c", str(constraints)], blocking=True)
        finally:
            self.app.restoreOverrideCursor()


def genuine_packaging():
    """packaging.py of ``SLICER_BASE_PYTHON``; None without it, or before Slicer 5.12."""
    from importlib.util import module_from_spec, spec_from_file_location

    file = Path(os.environ.get("SLICER_BASE_PYTHON") or "absent") / "slicer" / "packaging.py"
    if not file.is_file():
        return None
    spec = spec_from_file_location("genuine_packaging", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PyTorchUtilsLogic:
    """Installs torch and torchvision; light-the-torch picks the index and is pip for the rest."""

    def __init__(self, python):
        self._python = python

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        assert not askConfirmation
        self._python.runs.append("installTorch")
        arguments = ["install", f"torch{torchVersionRequirement or ''}", "torchvision"]
        slicer.util.executePythonModule("pip", arguments)
        return ModuleType("torch")
