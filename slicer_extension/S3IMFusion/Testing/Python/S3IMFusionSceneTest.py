"""Run by ctest in a real Slicer: the module's effect on a scene, without computing."""

import tempfile
import unittest
from pathlib import Path

import slicer
from S3IMFusionLib.parameters import FusionParameters, Reference
from S3IMFusionLib.sample_data import write_sample_data

from S3IMFusion import S3IMFusionLogic


class S3IMFusionSceneTest(unittest.TestCase):
    """The parameter node and the sample data, with Slicer's own classes."""

    def setUp(self) -> None:
        """Starts with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_the_choices_survive_saving_and_loading_the_scene(self) -> None:
        """The choices are restored."""
        FusionParameters(S3IMFusionLogic().getParameterNode()).reference = Reference.FINER
        with tempfile.TemporaryDirectory() as folder:
            scene = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(scene))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(scene)
        self.assertEqual(FusionParameters(S3IMFusionLogic().getParameterNode()).reference, Reference.FINER)

    def test_the_same_volume_twice_is_refused(self) -> None:
        """The logic refuses it before anything runs."""
        with tempfile.TemporaryDirectory() as folder:
            volume = slicer.util.loadVolume(str(write_sample_data(Path(folder))[0]))
        self.assertTrue(S3IMFusionLogic().check(volume, volume))
