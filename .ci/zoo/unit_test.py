import os
import shutil
import sys
import tempfile
import unittest

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow
from parameterized import parameterized
from utils import check_workflow

BUNDLE = "models/brain_image_fusion"
TEST_CASE_1 = [{"bundle_root": BUNDLE, "epochs": 1, "batch_size": 2, "patch_size": [64, 64]}]  # train, evaluate
TEST_CASE_2 = [{"bundle_root": BUNDLE}]  # inference


def test_order(test_name1, test_name2):
    def get_order(name):
        if "train" in name:
            return 1
        if "eval" in name:
            return 2
        if "infer" in name:
            return 3
        return 4

    return get_order(test_name1) - get_order(test_name2)


class TestBrainImageFusion(unittest.TestCase):
    def setUp(self):
        self.dataset_dir = tempfile.mkdtemp()
        self.affine = np.diag([-1.0, -1.0, 3.0, 1.0])
        random = np.random.default_rng(0)
        for key, shape in (("image_a", (72, 80, 4)), ("image_b", (40, 44, 6))):
            os.makedirs(os.path.join(self.dataset_dir, key))
            affine = self.affine @ np.diag([*(np.array((72, 80, 4)) / shape), 1.0])
            for s in range(4):
                image = random.integers(0, 1000, shape).astype(np.int16)
                nib.save(nib.Nifti1Image(image, affine), os.path.join(self.dataset_dir, key, f"case_{s}.nii.gz"))
        # the weights of the bundle stay as they are
        self.ckpt_dir = tempfile.mkdtemp()
        sys.path = [BUNDLE] + sys.path

    def tearDown(self):
        shutil.rmtree(self.dataset_dir)
        shutil.rmtree(self.ckpt_dir)

    def files(self, name):
        config = os.path.join(BUNDLE, "configs")
        return {
            "config_file": [os.path.join(config, f"{n}.json") for n in name],
            "logging_file": os.path.join(config, "logging.conf"),
            "meta_file": os.path.join(config, "metadata.json"),
        }

    @parameterized.expand([TEST_CASE_1])
    def test_train_eval_config(self, override):
        override = {**override, "dataset_dir": self.dataset_dir, "ckpt_dir": self.ckpt_dir, "output_dir": self.ckpt_dir}
        trainer = ConfigWorkflow(workflow_type="train", **self.files(["train"]), **override)
        check_workflow(trainer, check_properties=True)
        # override train.json, thus set the workflow to "train" rather than "eval"
        validator = ConfigWorkflow(workflow_type="train", **self.files(["train", "evaluate"]), **override)
        check_workflow(validator, check_properties=True)

    @parameterized.expand([TEST_CASE_2])
    def test_infer_config(self, override):
        override = {**override, "dataset_dir": self.dataset_dir, "output_dir": self.ckpt_dir}
        inferrer = ConfigWorkflow(workflow_type="infer", **self.files(["inference"]), **override)
        check_workflow(inferrer, check_properties=True)
        fused = nib.load(os.path.join(self.ckpt_dir, "case_0_fused.nii.gz"))
        self.assertEqual(fused.shape, (72, 80, 4))
        np.testing.assert_allclose(fused.affine, self.affine)


if __name__ == "__main__":
    loader = unittest.TestLoader()
    loader.sortTestMethodsUsing = test_order
    unittest.main(testLoader=loader)
