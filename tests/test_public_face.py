"""`from monai_s3im import fuse` and similar: available immediately, loaded when used."""

import subprocess
import sys

import pytest

import monai_s3im


def test_importing_the_package_loads_no_torch():
    code = "import sys, monai_s3im; dir(monai_s3im); monai_s3im.FusionSettings(); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["False"]


@pytest.mark.parametrize("name", sorted(set(monai_s3im.__all__) - {"__version__"}))
def test_every_public_name_is_the_object_of_its_home(name):
    found = getattr(monai_s3im, name)
    assert found.__name__ == name
    assert name in dir(monai_s3im)
    assert getattr(sys.modules[found.__module__], name) is found


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'monai_s3im' has no attribute 'fuze'"):
        monai_s3im.fuze  # noqa: B018


def test_setting_up_a_fusion_loads_neither_the_evaluation_nor_the_weights_of_every_task():
    code = (
        "import sys, torch\n"
        "from monai_s3im import Fuser\n"
        "torch.load = None\n"
        "Fuser(device='cpu')\n"
        "print([name for name in sys.modules if name.startswith(('monai_s3im.evaluation', 'monai_s3im.batch'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.strip() == "[]"
