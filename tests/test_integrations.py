"""What runs in other programs of MONAI: federated training by MonaiAlgo."""

from pathlib import Path
from runpy import run_path

import pytest
import torch

from monai_s3im.networks import S3IMFusion, load_weights

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.slow
def test_two_clients_train_and_the_server_takes_the_mean(tmp_path):
    """Without a learning rate the weights stay those that the server began with."""
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
