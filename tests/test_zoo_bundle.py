"""The bundle for MONAI's model zoo: small, made of the package's own code, and run by MONAI without the package."""

import ast
import json
import sys
from pathlib import Path
from runpy import run_path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow, verify_metadata
from process_tools import printed_by
from sample_images import GRID, SHAPE, SMALLER, write_volume

from monai_s3im.losses import S3IMFusionLoss
from monai_s3im.metrics import QabfMetric
from monai_s3im.networks import S3IMFusion, load_weights

ROOT = Path(__file__).resolve().parents[1]
BUILD = run_path(str(ROOT / ".ci" / "zoo" / "build.py"))
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return BUILD["assemble"](tmp_path_factory.mktemp("zoo"))


def imported_by(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_it_has_the_size_of_the_zoo_s_bundles_and_needs_what_its_metadata_names(bundle):
    scripts = sorted((bundle / "scripts").glob("*.py"))
    assert len(scripts) <= 5
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in scripts) < 1500
    assert all(file.read_text(encoding="utf-8").startswith("# Copyright (c)") for file in scripts)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    named = {name.lower() for name in metadata["required_packages_version"]} | {"torch", "numpy", "monai", "ignite"}
    imported = set().union(*map(imported_by, scripts)) - set(sys.stdlib_module_names)
    assert imported <= named
    for name in (
        "LICENSE",
        "docs/README.md",
        "docs/data_license.txt",
        "models/model.pt",
        "configs/multi_gpu_evaluate.json",
    ):
        assert (bundle / name).is_file()


def test_the_zoo_takes_its_metadata(bundle, shared_data):
    (schema,) = (shared_data / "reference").glob("meta_schema_*.json")
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


def test_a_name_that_two_modules_have_for_different_things_is_refused():
    with pytest.raises(ValueError, match="_shares of functional/intensity differs from that of an earlier module"):
        BUILD["_merged"]("", {"evaluation/guards": (), "functional/intensity": ()})
    with pytest.raises(ValueError, match="functional/ssim has no nothing"):
        BUILD["_merged"]("", {"functional/ssim": ("nothing",)})


@pytest.fixture
def scripts(bundle, monkeypatch):
    """The bundle's own modules, as MONAI finds them."""
    monkeypatch.syspath_prepend(str(bundle))
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
        monkeypatch.delitem(sys.modules, name)


def test_its_network_loss_and_metric_give_the_values_of_the_package_s(bundle, scripts):
    from scripts import losses, metrics, network

    image = torch.rand(2, 2, 70, 66, generator=torch.Generator().manual_seed(0))
    own = network.S3IMFusion().eval()
    own.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    with torch.no_grad():
        fused = own(image)
        assert torch.equal(fused, load_weights(S3IMFusion(), bundle / "models" / "model.pt")(image))
        first, second = (
            loss(generator=torch.Generator().manual_seed(1))(fused, image)
            for loss in (losses.S3IMFusionLoss, S3IMFusionLoss)
        )
    assert torch.equal(first, second)
    assert torch.equal(metrics.QabfMetric()(fused, image), QabfMetric()(fused, image))


def test_it_fuses_volumes_on_the_grid_of_the_first(bundle, scripts, tmp_path):
    write_volume(tmp_path / "image_a" / "case.nii.gz", 0)
    write_volume(tmp_path / "image_b" / "case.nii.gz", 5, *SMALLER)
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(tmp_path),
        output_dir=str(tmp_path / "fused"),
        device=torch.device("cpu"),
    )
    assert workflow.check_properties() == []
    item = workflow.dataset[0]
    workflow.run()
    fused = nib.load(tmp_path / "fused" / "case_fused.nii.gz")
    assert fused.shape == SHAPE
    np.testing.assert_allclose(fused.affine, GRID, atol=1e-4)
    network = load_weights(S3IMFusion(), bundle / "models" / "model.pt")
    slices = item["image"].as_tensor().movedim(-1, 0)
    with torch.no_grad():
        expected = network(slices).clamp(0, 1).movedim(0, -1)[0].numpy()
    assert np.sort(fused.get_fdata().ravel()) == pytest.approx(
        np.sort(expected.ravel()), abs=1e-5
    )  # orders of axes differ


@pytest.mark.slow
def test_its_unit_test_passes_where_the_zoo_runs_it(bundle):
    pytest.importorskip("parameterized", reason="needs parameterized, of the extra test")
    folder = bundle.parents[1]
    (folder / "ci" / "unit_tests" / "utils.py").write_text(
        "def check_workflow(workflow, check_properties):\n"
        "    workflow.initialize()\n"
        "    assert not check_properties or not workflow.check_properties()\n"
        "    workflow.run()\n"
        "    workflow.finalize()\n",
        encoding="utf-8",
    )
    printed_by("ci/unit_tests/test_brain_image_fusion.py", cwd=folder)
