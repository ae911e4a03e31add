"""Training by the bundle: it learns, it can be resumed, interrupted and repeated."""

import os
import subprocess
import sys

import pytest
import torch
from ignite.engine import Events

from monai_s3im.bundle_config import bundle_root
from monai_s3im.errors import InputError
from monai_s3im.handlers import BestModel, ResumableCheckpoints, latest_checkpoint
from monai_s3im.networks import S3IMFusion, load_weights
from monai_s3im.workflows import Evaluation, Inference, Training

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def training(tiny_dataset, output_dir, **overrides):
    settings = {"dataset_dir": str(tiny_dataset), "output_dir": str(output_dir), "device": "cpu", "logging_file": False}
    settings |= {"epochs": 1, "batch_size": 2, "patch_size": 64}
    workflow = Training(**{**settings, **overrides})
    workflow.initialize()
    return workflow


def test_training_lowers_the_loss_and_writes_weights_checkpoints_and_curves(tiny_dataset, tmp_path):
    workflow = training(tiny_dataset, tmp_path, epochs=15)
    losses = []
    workflow.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["loss"])
    )
    workflow.run()
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    network = load_weights(S3IMFusion(), tmp_path / "model.pt")
    assert torch.isfinite(network(torch.rand(1, 2, 32, 32))).all()
    assert latest_checkpoint(tmp_path / "checkpoints").name == "checkpoint_iteration=30.pt"
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_validation_reports_the_ten_metrics_and_keeps_the_best_model(tiny_dataset, tmp_path):
    workflow = training(tiny_dataset, tmp_path, epochs=2)
    seen = []
    workflow.evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(dict(engine.state.metrics)))
    workflow.run()
    assert set(seen[-1]) == {"EN", "AG", "MI", "SSIM", "PSNR", "Qabf", "SCD", "SF", "SD", "VIF"}
    best = workflow.parser.get_parsed_content("validate#best_model")
    assert isinstance(best, BestModel)
    assert best.best == max(metrics["Qabf"] for metrics in seen)


@pytest.mark.parametrize("task", ["ct_mri", "spect_mri"])
def test_a_config_for_one_task_goes_on_from_weights_of_the_package_with_all_its_terms(task, tiny_dataset, tmp_path):
    configs = bundle_root() / "configs"
    files = [str(configs / f"{name}.json") for name in ("train", "train_salient", "train_one_task", f"train_{task}")]
    workflow = training(tiny_dataset, tmp_path, config_file=files, datalist=None, patch_size=72, learning_rate=0.0)
    named = workflow.parser.get_parsed_content("init_weights")
    started = {name: value.clone() for name, value in workflow.network_def.state_dict().items()}
    torch.testing.assert_close(started, torch.load(named, weights_only=True))
    workflow.run()
    loss, settings = workflow.parser.get_parsed_content("loss"), workflow.parser["loss"]
    assert set(loss.parts) == {name for name in settings if hasattr(loss.losses, name)}
    assert all(part.isfinite() for part in loss.parts.values())


def test_two_seeded_runs_are_bitwise_equal(tiny_dataset, tmp_path):
    weights = []
    for run in ("first", "second"):
        training(tiny_dataset, tmp_path / run, seed=3).run()
        weights.append(torch.load(latest_checkpoint(tmp_path / run / "checkpoints"), weights_only=True)["network"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    training(tiny_dataset, tmp_path / "other", seed=4).run()
    other = torch.load(latest_checkpoint(tmp_path / "other" / "checkpoints"), weights_only=True)["network"]
    assert not torch.equal(weights[0]["stem.weight"], other["stem.weight"])


def test_resume_goes_on_at_the_right_epoch(tiny_dataset, tmp_path):
    training(tiny_dataset, tmp_path, epochs=1).run()
    workflow = training(tiny_dataset, tmp_path, epochs=3, resume="latest")
    iterations = []
    workflow.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: iterations.append(engine.state.iteration)
    )
    workflow.run()
    assert iterations == [3, 4, 5, 6]
    assert workflow.trainer.state.epoch == 3


def test_an_interruption_leaves_a_checkpoint_to_resume_from(tiny_dataset, tmp_path):
    workflow = training(tiny_dataset, tmp_path, epochs=50)

    def press_ctrl_c(engine):
        if engine.state.iteration == 5:
            raise KeyboardInterrupt

    workflow.trainer.add_event_handler(Events.ITERATION_COMPLETED, press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        workflow.run()
    assert latest_checkpoint(tmp_path / "checkpoints").name == "checkpoint_iteration=5.pt"
    resumed = training(tiny_dataset, tmp_path, epochs=3, resume="latest")
    resumed.run()
    assert resumed.trainer.state.iteration == 6


@pytest.mark.parametrize("damage", ["missing", "truncated", "other network"])
def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path, damage):
    path = tmp_path / "checkpoint_iteration=1.pt"
    if damage == "truncated":
        torch.save({"network": S3IMFusion().state_dict()}, path)
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "other network":
        torch.save({"network": S3IMFusion(features=4).state_dict()}, path)
    checkpoints = ResumableCheckpoints(tmp_path, {"network": S3IMFusion()}, resume="latest")
    engine = type("Engine", (), {"state": type("State", (), {"max_epochs": 1})()})()
    with pytest.raises(InputError, match=str(tmp_path)):
        checkpoints.load(engine)


@pytest.mark.parametrize("content", ["missing", "empty"])
def test_a_data_set_folder_that_holds_nothing_is_named(tmp_path, content):
    folder = tmp_path / "data"
    if content == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match=str(folder)):
        training(folder, tmp_path / "out").run()


def test_no_property_that_monai_asks_for_is_missing(tiny_dataset, tmp_path):
    settings = {"output_dir": str(tmp_path), "device": "cpu", "logging_file": False}
    for workflow in (
        Training(dataset_dir=str(tiny_dataset), **settings),
        Evaluation(dataset_dir=str(tiny_dataset), **settings),
        Inference(dataset_dir=str(tiny_dataset), **settings),
    ):
        workflow.initialize()
        assert workflow.check_properties() == []


def test_two_processes_train_together(tiny_dataset, tmp_path):
    configs = bundle_root() / "configs"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "training"]
    command += ["--config_file", f"['{configs / 'train.json'}','{configs / 'multi_gpu_train.json'}']"]
    command += ["--dataset_dir", str(tiny_dataset), "--output_dir", str(tmp_path), "--epochs", "2"]
    command += ["--batch_size", "1", "--patch_size", "64", "--device", "cpu", "--bundle_root", str(bundle_root())]
    command += ["--seed", "1"]  # whose random weights give a negative, which both processes have to turn round
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert (result.stdout + result.stderr).count("turned round") == 2
    assert latest_checkpoint(tmp_path / "checkpoints").name == "checkpoint_iteration=4.pt"
    load_weights(S3IMFusion(), tmp_path / "model.pt")
