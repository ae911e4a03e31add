"""S3IMFusion for 3D Slicer: fuse two volumes of one patient into one."""

import sys
from contextlib import suppress
from pathlib import Path

import slicer
from S3IMFusionLib.i18n import _
from S3IMFusionLib.layout import register_layout, show_registered
from S3IMFusionLib.logic import FusionLogic
from S3IMFusionLib.paths import DOCUMENTATION
from S3IMFusionLib.sample_data import register_sample_data, write_sample_data
from S3IMFusionLib.settings import FusionSettings
from S3IMFusionLib.widget import FusionWidget
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class S3IMFusion(ScriptedLoadableModule):
    """The metadata that Slicer shows before the module is opened."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("S3IMFusion")
        self.parent.categories = ["Image Synthesis"]
        self.parent.dependencies = []
        self.parent.contributors = ["The S3IMFusion developers"]
        self.parent.helpText = _(
            "Fuses CT, MR, PET or SPECT of one patient into one volume that keeps the bright bone, the uptake and the "
            "fine detail of both. Choose two volumes and press Apply.<br><b>Research use only.</b> Not a medical "
            "device; not for diagnosis or treatment.<br>"
        ) + '<a href="{}">{}</a>'.format(DOCUMENTATION, _("Documentation"))
        self.parent.acknowledgementText = _(
            "The method is that of 'A stochastic structural similarity guided approach for multi-modal medical image "
            "fusion', Scientific Reports 2025, "
            '<a href="https://doi.org/10.1038/s41598-025-93662-6">doi 10.1038/s41598-025-93662-6</a>.'
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", registerFusionLayout)
        registerDICOMExport()


def registerFusionLayout() -> None:
    """Registers the fusion view with Slicer, so scenes saved in it can be opened before the module."""
    scene = slicer.mrmlScene
    register_layout(scene)
    scene.AddObserver(scene.EndImportEvent, lambda caller, _event: show_registered(caller))


def registerDICOMExport() -> None:
    """Offers fused volumes in File > Export to DICOM, if Slicer has its DICOM module."""
    with suppress(ImportError):
        from S3IMFusionLib.dicom_plugin import register

        register()


def registerSampleData() -> None:
    """Offers the head phantom in the module Sample Data."""
    thumbnail = Path(__file__).parent / "Resources" / "Icons" / "S3IMFusionHead.png"
    register_sample_data(_cache_folder(), thumbnail)


def _cache_folder() -> Path:
    return Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory())


class S3IMFusionWidget(FusionWidget):
    """The panel, with the logic of Slicer's scene."""

    def make_logic(self) -> "S3IMFusionLogic":
        """The logic of Slicer's scene."""
        return S3IMFusionLogic()

    def onReload(self) -> None:
        """Also reloads the submodules, for developers."""
        for name in [name for name in sys.modules if name.startswith("S3IMFusionLib.")]:
            del sys.modules[name]
        FusionWidget.onReload(self)
        sys.modules[self.moduleName].registerDICOMExport()


class S3IMFusionLogic(FusionLogic, ScriptedLoadableModuleLogic):
    """The logic of Slicer's scene; see :class:`S3IMFusionLib.logic.FusionLogic` for its methods.

    FusionLogic comes first: Slicer's base classes call ``super().__init__()`` without arguments.
    """

    def __init__(self) -> None:
        super().__init__(slicer.mrmlScene)


class S3IMFusionTest(ScriptedLoadableModuleTest):
    """Runs in Slicer: module S3IMFusion, developer mode, Reload and Test."""

    def setUp(self) -> None:
        """Starts with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs every test."""
        self.setUp()
        self.test_the_sample_pair_is_fused()

    def test_the_sample_pair_is_fused(self) -> None:
        """The fused volume has the grid of A. The test is skipped without torch in Slicer's Python."""
        from S3IMFusionLib.install import missing_packages

        missing = missing_packages(Path(__file__).parent / "Resources" / "requirements.txt")
        if missing:
            self.delayDisplay(_("Skipped, not installed: {packages}").format(packages=", ".join(missing)))
            return
        source_a, source_b = (slicer.util.loadVolume(str(file)) for file in write_sample_data(_cache_folder()))
        fused = S3IMFusionLogic().process(source_a, source_b, None, FusionSettings())
        self.assertEqual(fused.GetImageData().GetDimensions(), source_a.GetImageData().GetDimensions())
        self.delayDisplay(_("The sample pair is fused."))
