"""Training with the bundle: learning, resuming, interruption, repeatability."""

import json
import operator
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanAbsoluteError, from_engine
from monai.losses import SSIMLoss
from process_tools import printed_by

from monai_s3im.bundle_config import bundle_parser, bundle_root
from monai_s3im.errors import InputError
from monai_s3im.networks import S3IMFusion, load_weights
from monai_s3im.training import leave_process_group
from monai_s3im.training.handlers import BestModel, ResumableCheckpoints, latest_checkpoint
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


def mean_absolute_error():
    handler = {"_target_": "MeanAbsoluteError", "output_transform": "$monai.handlers.from_engine(['pred', 'first'])"}
    return {"MAE": handler}


def test_another_key_metric_where_less_is_better_and_no_other_metric(tiny_dataset, tmp_path):
    settings = {"validate#key_metric": mean_absolute_error(), "validate#additional_metrics": {}}
    settings["validate#evaluator#metric_cmp_fn"] = "$lambda value, best: value < best"
    first = {"_target_": "Lambdad", "keys": "image", "func": "$lambda image: image[:1]", "overwrite": "first"}
    clip = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda fused: fused.clamp(0, 1)"}
    settings["validate#postprocessing"] = {"_target_": "Compose", "transforms": [clip, first]}
    workflow = training(tiny_dataset, tmp_path, epochs=2, **settings)
    seen = []
    workflow.evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(dict(engine.state.metrics)))
    workflow.run()
    assert [list(metrics) for metrics in seen] == [["MAE"]] * 2
    assert workflow.parser.get_parsed_content("validate#best_model").best == min(metrics["MAE"] for metrics in seen)


def test_the_best_model_is_that_of_the_engine_s_key_metric_and_its_sign(tmp_path):
    network = torch.nn.Conv2d(1, 1, 1)
    images = {"image": torch.zeros(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4)}
    error = MeanAbsoluteError(output_transform=from_engine(["pred", "label"]))

    def saved_of(is_better, **metrics):
        best = BestModel(tmp_path / "model.pt", network)
        evaluator = SupervisedEvaluator(
            "cpu", [images], network, metric_cmp_fn=is_better, val_handlers=[best], **metrics
        )  # fmt: skip
        for bias in (0.5, 0.1, 0.3):
            torch.nn.init.constant_(network.bias, bias)
            evaluator.run()
        restored = BestModel(tmp_path / "model.pt", network)
        restored.load_state_dict(best.state_dict())
        assert str(restored.best) == str(best.best)
        return torch.load(tmp_path / "model.pt", weights_only=True)["bias"].item()

    assert saved_of(operator.lt, key_val_metric={"MAE": error}) == pytest.approx(0.1)
    assert saved_of(operator.gt, key_val_metric={"MAE": error}) == pytest.approx(0.5)
    assert saved_of(operator.gt) == pytest.approx(0.3)  # no key metric: the last


def test_a_loss_of_monai_is_applied_to_each_source(tiny_dataset, tmp_path):
    workflow = training(tiny_dataset, tmp_path, loss={"_target_": "SSIMLoss", "spatial_dims": 2}, val_interval=5)
    loss = workflow.trainer.loss_function
    fused, sources = torch.rand(2, 1, 32, 32), torch.rand(2, 2, 32, 32)
    each = [SSIMLoss(spatial_dims=2)(fused, sources[:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(fused, sources), (each[0] + each[1]) / 2)
    workflow.run()
    assert (tmp_path / "model.pt").is_file()


def test_a_network_for_other_sources_is_refused_before_anything_is_read(tmp_path):
    words = r"the network takes 3 sources, but the data has 2 \(image_a, image_b\): set network_def#in_channels to 2"
    with pytest.raises(InputError, match=words):
        training(tmp_path / "not looked for", tmp_path, **{"network_def#in_channels": 3})


@pytest.mark.parametrize(("device", "is_on"), [("cpu", False), ("cuda:0", True)])
@pytest.mark.parametrize("kind", [str, torch.device])
def test_half_precision_is_only_for_a_gpu(monkeypatch, device, is_on, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    parser = bundle_parser("train")
    parser["device"] = kind(device)
    assert parser.get_parsed_content("train#trainer#amp") is is_on


@pytest.mark.parametrize("task", ["ct_mri", "spect_mri", "medical"])
def test_a_config_for_one_task_continues_from_weights_of_the_package_with_all_its_terms(task, tiny_dataset, tmp_path):
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


def test_resume_continues_at_the_right_epoch(tiny_dataset, tmp_path):
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


def test_an_immediate_failure_leaves_no_checkpoint(tiny_dataset, tmp_path):
    workflow = training(tiny_dataset, tmp_path, patch_size=32)
    with pytest.raises(RuntimeError, match="Failed to evaluate"):
        workflow.run()
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_an_epoch_whose_validation_is_interrupted_is_repeated(tiny_dataset, tmp_path):
    training(tiny_dataset, tmp_path / "whole", epochs=2).run()
    workflow = training(tiny_dataset, tmp_path / "cut", epochs=2)

    def press_ctrl_c(engine):
        if workflow.trainer.state.epoch == 2:
            raise KeyboardInterrupt

    workflow.evaluator.add_event_handler(Events.ITERATION_COMPLETED, press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        workflow.run()
    assert latest_checkpoint(tmp_path / "cut" / "checkpoints").name == "checkpoint_iteration=2.pt"
    training(tiny_dataset, tmp_path / "cut", epochs=2, resume="latest").run()
    whole, resumed = (
        torch.load(latest_checkpoint(tmp_path / name / "checkpoints"), weights_only=True) for name in ("whole", "cut")
    )
    torch.testing.assert_close(resumed["network"], whole["network"], rtol=0, atol=0)
    assert resumed["best"] == whole["best"]


def test_an_earlier_training_is_not_mixed_with_a_new_one(tiny_dataset, tmp_path):
    training(tiny_dataset, tmp_path).run()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pt")}
    with pytest.raises(InputError, match=r"belongs to an earlier training: continue it with resume latest, or choose"):
        training(tiny_dataset, tmp_path, seed=5).run()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pt")} == before


def test_a_resumed_training_keeps_to_its_batches_and_reports_its_learning_rate(tiny_dataset, tmp_path, caplog):
    training(tiny_dataset, tmp_path).run()
    with pytest.raises(InputError, match=r"has 2 batches per epoch, but now there are 4: resume with the same data"):
        training(tiny_dataset, tmp_path, epochs=2, resume="latest", batch_size=1).run()
    training(tiny_dataset, tmp_path, resume="latest", learning_rate=0.5).run()
    assert "the learning rate is that of the checkpoint, 0.001, not 0.5" in caplog.messages
    assert "it has already been trained for 1 epochs: give more to continue" in caplog.messages


def test_a_longer_training_continues_with_the_learning_rates_of_its_length(tmp_path):
    def rates(epochs, lengths):
        """Of each epoch, the training begun with the first length and resumed with more."""
        found = []
        for part, length in enumerate(lengths):
            parameter = torch.nn.Parameter(torch.zeros(1))
            optimizer = torch.optim.Adam([parameter], lr=0.1)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=length, eta_min=0.01)
            state = {"optimizer": optimizer, "lr_schedule": schedule}
            checkpoints = ResumableCheckpoints(tmp_path, state, resume="latest" if part else None)
            engine = SimpleNamespace(state=SimpleNamespace(max_epochs=length, epoch_length=1, iteration=len(found)))
            if part:
                checkpoints.load(engine)
            while len(found) < min(length, epochs):
                found.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            engine.state.iteration = len(found)
            checkpoints.save(engine)
        return found

    assert rates(6, [2, 6])[2:] == pytest.approx(rates(6, [6])[2:])


def test_processes_draw_crops_of_their_own(tmp_path, monkeypatch):
    drawn, engine = [], SimpleNamespace(state=SimpleNamespace(epoch=1), data_loader=SimpleNamespace(dataset=None))
    monkeypatch.setattr("monai_s3im.training.handlers.set_rnd", lambda dataset, seed: drawn.append(seed))
    for rank in (0, 1, 0):
        monkeypatch.setattr("monai_s3im.training.handlers.idist.get_rank", lambda rank=rank: rank)
        ResumableCheckpoints(tmp_path, {}, seed=3).seed_epoch(engine)
    assert drawn[0] == drawn[2] != drawn[1]


def test_no_checkpoint_kept_is_refused(tmp_path):
    with pytest.raises(InputError, match="keep is 0"):
        ResumableCheckpoints(tmp_path, {}, keep=0)


def test_another_loss_and_network_are_trained(tiny_dataset, tmp_path):
    network = {"_target_": "torch.nn.Conv2d", "in_channels": 2, "out_channels": 1, "kernel_size": 3, "padding": 1}
    loss = {"_target_": "monai_s3im.losses.StochasticSSIMLoss"}
    training(tiny_dataset, tmp_path, network_def=network, loss=loss, val_interval=5).run()
    assert torch.load(tmp_path / "model.pt", weights_only=True).keys() == {"weight", "bias"}


@pytest.mark.parametrize("damage", ["missing", "truncated", "other network"])
def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path, damage):
    path = tmp_path / "checkpoint_iteration=1.pt"
    if damage == "truncated":
        torch.save({"network": S3IMFusion().state_dict()}, path)
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "other network":
        torch.save({"network": S3IMFusion(features=4).state_dict()}, path)
    checkpoints = ResumableCheckpoints(tmp_path, {"network": S3IMFusion()}, resume="latest")
    engine = SimpleNamespace(state=SimpleNamespace(max_epochs=1, epoch_length=1))
    with pytest.raises(InputError, match=str(tmp_path)):
        checkpoints.load(engine)


@pytest.mark.parametrize("content", ["missing", "empty"])
def test_an_empty_data_set_folder_is_named(tmp_path, content):
    folder = tmp_path / "data"
    if content == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match=str(folder)):
        training(folder, tmp_path / "out").run()


def test_no_property_that_monai_requires_is_missing(tiny_dataset, tmp_path):
    settings = {"output_dir": str(tmp_path), "device": "cpu", "logging_file": False}
    for workflow in (
        Training(dataset_dir=str(tiny_dataset), **settings),
        Evaluation(dataset_dir=str(tiny_dataset), **settings),
        Inference(dataset_dir=str(tiny_dataset), **settings),
    ):
        workflow.initialize()
        assert workflow.check_properties() == []


THREADS = Path("/proc/self/task")


@pytest.mark.skipif(not THREADS.is_dir(), reason="needs /proc: the threads cannot be counted here")
def test_no_thread_of_the_process_group_is_left_at_the_end():
    """It could abort the process when Python ends; destroying the group does not end it while the network holds it."""
    before = set(THREADS.iterdir())
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    network = torch.nn.parallel.DistributedDataParallel(torch.nn.Conv2d(2, 1, 3))
    network(torch.rand(1, 2, 8, 8)).sum().backward()
    assert any("gloo" in (thread / "comm").read_text() for thread in set(THREADS.iterdir()) - before)
    leave_process_group(network)
    assert set(THREADS.iterdir()) <= before
    leave_process_group(network)


def train_in_two_processes(configs, tiny_dataset, output_dir, **settings):
    settings = {"dataset_dir": tiny_dataset, "batch_size": 1, "patch_size": 64, **settings}
    return run_in_two_processes("training", [*configs, "multi_gpu_train"], output_dir=output_dir, **settings)


def run_in_two_processes(run_id, configs, **settings):
    files = [str(bundle_root() / "configs" / f"{name}.json") for name in configs]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", run_id, "--config_file", str(files)]
    settings |= {"device": "cpu", "bundle_root": bundle_root()}
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    return printed_by(*command)


def test_two_processes_train_together(tiny_dataset, tmp_path):
    # random weights that give a negative, which both processes have to turn round
    told = train_in_two_processes(["train"], tiny_dataset, tmp_path, epochs=2, seed=1)
    assert told.count("sign flipped") == 2
    assert latest_checkpoint(tmp_path / "checkpoints").name == "checkpoint_iteration=4.pt"
    load_weights(S3IMFusion(), tmp_path / "model.pt")


def test_two_processes_train_with_the_second_recipe_and_one_pair_validates(tiny_dataset, tmp_path):
    data = shutil.copytree(tiny_dataset, tmp_path / "data")
    pairs = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    (data / "datalist.json").write_text(json.dumps({**pairs, "validation": pairs["validation"][:1]}))
    out = tmp_path / "out"
    train_in_two_processes(["train", "train_salient"], data, out, epochs=1, learning_rate=0.0)
    started = torch.load(bundle_root() / "models" / "model_paper.pt", weights_only=True)
    saved = torch.load(out / "model.pt", weights_only=True)
    for name, _ in S3IMFusion().named_parameters():
        torch.testing.assert_close(saved[name], started[name])
    counts = [name for name in saved if name.endswith("num_batches_tracked")]
    assert counts
    assert all(saved[name] == started[name] + 2 for name in counts)  # the mean of the weights went along


@pytest.mark.parametrize(
    "configs",
    [
        ("train", "evaluate", "multi_gpu_evaluate"),
        pytest.param(("train", "evaluate", "multi_gpu_train"), marks=pytest.mark.slow),
        pytest.param(("train", "multi_gpu_train", "evaluate"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_two_processes_evaluate_as_one_does(configs, tiny_dataset, tmp_path):
    """Three pairs, so that the processes have different numbers of them."""
    data = shutil.copytree(tiny_dataset, tmp_path / "data")
    pairs = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    (data / "datalist.json").write_text(json.dumps({**pairs, "validation": pairs["training"][:3]}))
    run_in_two_processes("run", configs, dataset_dir=data, output_dir=tmp_path / "two")
    workflow = Evaluation(dataset_dir=str(data), output_dir=str(tmp_path / "one"), device="cpu", logging_file=False)
    workflow.initialize()
    workflow.run()
    for name in ("Qabf_raw.csv", "SSIM_raw.csv"):
        one, two = ((tmp_path / folder / name).read_text(encoding="utf-8").splitlines() for folder in ("one", "two"))
        assert len(one) == 4
        assert sorted(one) == sorted(two)
