"""Integrations with other MONAI programs: federated training with MonaiAlgo, an application for MONAI Deploy."""

import json
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import numpy as np
import pydicom
import pytest
import torch
from dicom_samples import new_slice, stored_volume, write_slices
from process_tools import printed_by

from monai_s3im.networks import S3IMFusion, load_weights

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.slow
def test_two_clients_train_and_the_server_takes_the_mean(tmp_path):
    """With a learning rate of 0 the weights remain those that the server started from."""
    run = run_path(str(ROOT / "integrations" / "federated" / "simulate.py"))["run"]
    settings = {"device": "cpu", "patch_size": 64, "batch_size": 4}
    (first,) = run(tmp_path / "still", 1, learning_rate=0.0, **settings)
    assert 0 <= first <= 1
    torch.manual_seed(0)
    began, ended = S3IMFusion(), load_weights(S3IMFusion(), tmp_path / "still" / "model.pt")
    for parameter, other in zip(began.parameters(), ended.parameters(), strict=True):
        torch.testing.assert_close(parameter, other)
    run(tmp_path / "moved", 1, **settings)
    moved = load_weights(S3IMFusion(), tmp_path / "moved" / "model.pt")
    assert not torch.equal(moved.stem.weight, began.stem.weight)


DEPLOY = ROOT / "integrations" / "monai_deploy"


def test_the_application_selects_by_the_names_that_it_takes_and_copies_what_it_needs():
    rules = json.loads((DEPLOY / "series.json").read_text(encoding="utf-8"))
    assert [selection["name"] for selection in rules["selections"]] == ["image_a", "image_b"]
    copied = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert all(f" {name} " in copied for name in ("app.py", "series.json", "requirements.txt"))


@pytest.fixture
def study(tmp_path):
    """A T1, a T2 and a CT of one study."""
    series = {"t2": ("MR", "T2 TSE"), "t1": ("MR", "T1 MPRAGE"), "ct": ("CT", "head")}
    for number, (name, (modality, description)) in enumerate(series.items()):
        tags = {"StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4", "SeriesDescription": description}
        stored = np.abs(stored_volume((4, 24, 20), seed=number))
        slices = [new_slice(pixels, (0, 0, 3 * z), modality=modality, **tags) for z, pixels in enumerate(stored)]
        write_slices(tmp_path / "study" / name, slices, uid=f"1.2.3.{number + 1}")
    return tmp_path / "study"


@pytest.mark.slow
def test_monai_deploy_writes_the_series_that_the_command_writes(study, tmp_path):
    pytest.importorskip("holoscan", reason="needs the App SDK: install integrations/monai_deploy/requirements.txt")
    printed_by(DEPLOY / "app.py", "-i", study, "-o", tmp_path / "out", cwd=tmp_path)
    printed_by("-m", "monai_s3im", "fuse", study / "t1", study / "ct", "-o", tmp_path / "command", "--dicom")
    files = sorted((tmp_path / "command").glob("*.dcm"))
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (tmp_path / "out" / "1.2.3" / file.name).read_bytes()
    assert pydicom.dcmread(files[0]).StudyInstanceUID == "1.2.3"


@pytest.mark.slow
def test_monai_deploy_fails_where_a_study_has_not_both_series(study, tmp_path):
    pytest.importorskip("holoscan", reason="needs the App SDK: install integrations/monai_deploy/requirements.txt")
    command = [sys.executable, DEPLOY / "app.py", "-i", study / "t2", "-o", tmp_path / "out"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "has no study with the two series" in result.stdout + result.stderr
