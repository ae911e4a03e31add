"""Each command in the README, as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image
from process_tools import printed_by

SETTINGS = ["--epochs", "1", "--batch_size", "2", "--patch_size", "64", "--device", "cpu"]


def monai_bundle(*arguments: str, cwd: Path) -> str:
    return printed_by("-m", "monai.bundle", *arguments, cwd=cwd)


def test_training_in_the_bundle_folder_then_evaluation_of_its_weights(bundle, tiny_dataset, tmp_path):
    data = ["--dataset_dir", str(tiny_dataset)]
    run = ["run", "training", "--config_file", "configs/train.json", "--output_dir", str(tmp_path / "training")]
    monai_bundle(*run, *data, *SETTINGS, cwd=bundle)
    evaluation = ["run", "--config_file", "['configs/train.json','configs/evaluate.json']", "--device", "cpu"]
    evaluation += ["--ckpt_path", str(tmp_path / "training" / "model.pt"), "--output_dir", str(tmp_path / "values")]
    monai_bundle(*evaluation, *data, cwd=bundle)
    rows = (tmp_path / "values" / "Qabf_raw.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["4", "5"]


def test_training_from_outside_the_bundle_folder(bundle, tiny_dataset, tmp_path):
    run = ["run", "training", "--config_file", str(bundle / "configs" / "train.json"), "--bundle_root", str(bundle)]
    monai_bundle(*run, "--dataset_dir", str(tiny_dataset), *SETTINGS, cwd=tmp_path)
    assert (tmp_path / "runs" / "training" / "model.pt").is_file()


def test_training_with_no_config_file_named_runs_on_the_phantom(tmp_path):
    monai_bundle("run_workflow", "monai_s3im.workflows.Training", *SETTINGS, cwd=tmp_path)
    output = tmp_path / "runs" / "training"
    assert (output / "phantom" / "datalist.json").is_file()
    assert list((output / "checkpoints").iterdir())


def test_inference_in_the_bundle_folder(bundle, tiny_dataset, tmp_path):
    pairs = tmp_path / "pairs.csv"
    items = json.loads((tiny_dataset / "datalist.json").read_text(encoding="utf-8"))["validation"]
    lines = [
        f"case{i},{tiny_dataset / item['image_a']},{tiny_dataset / item['image_b']}" for i, item in enumerate(items)
    ]
    pairs.write_text("\n".join(["name,image_a,image_b", *lines]) + "\n")
    run = ["run", "--config_file", "configs/inference.json", "--pairs", str(pairs), "--device", "cpu"]
    monai_bundle(*run, "--output_dir", str(tmp_path / "fused"), cwd=bundle)
    for name in ("case0.png", "case1.png"):
        with Image.open(tmp_path / "fused" / name) as fused:
            assert fused.size == (72, 72)


@pytest.mark.parametrize(
    "name", ["train", "evaluate", "inference", "inference_tensors", "multi_gpu_train", "multi_gpu_evaluate", "metadata"]
)
def test_configs_are_json(bundle, name):
    assert json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8"))
