"""The bundle's command, s3im and fuse() are one pipeline: the same files, byte for byte."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from sample_images import SMALLER, write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.modalities import TASKS
from monai_s3im.pairs.inference import fusion_pairs
from monai_s3im.pipeline import Fuser
from monai_s3im.workflows import Inference

OUTPUTS = {
    "gray": "gray.png",
    "colour": "colour.png",
    "night": "night.png",
    "volume": "volume.nii.gz",
    "uptake": "uptake.nii.gz",
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A list of a gray pair, two coloured pairs, a pair of volumes on one grid, and a PET with its own grid.

    One pair is infrared and visible light, of the other task, and stands between medical ones.
    """
    folder = tmp_path_factory.mktemp("pairs")
    write_picture(folder / "gray_a.png", 0)
    write_picture(folder / "gray_b.png", 5)
    write_picture(folder / "colour_b.png", 7, colour=True)
    write_volume(folder / "a.nii.gz", 0)
    write_volume(folder / "b.nii.gz", 5)
    write_volume(folder / "pet.nii.gz", 5, *SMALLER)
    rows = [
        "name,image_a,image_b,modality_a,modality_b",
        "gray,gray_a.png,gray_b.png,mr,ct",
        "colour,gray_a.png,colour_b.png,mr,pet",
        "night,colour_b.png,gray_b.png,visible,infrared",
        "volume,a.nii.gz,b.nii.gz,,",
        "uptake,a.nii.gz,pet.nii.gz,mr,pet",
    ]
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def expected(pairs, tmp_path_factory):
    """What fuse() writes: by case, the bytes of the image and of its record."""
    folder, fuser = tmp_path_factory.mktemp("function"), Fuser(device="cpu")
    for pair in fusion_pairs(pairs=pairs):
        fuser(pair.image_a, pair.image_b, folder / OUTPUTS[pair.name], pair.modality_a, pair.modality_b)
    return written_to(folder)


def test_each_pair_is_fused_by_the_weights_of_its_task(expected):
    used = {name: json.loads(expected[f"{name}.json"]) for name in OUTPUTS}
    tasks = {"gray": "ct-mri", "night": "infrared-visible", "volume": "medical"}
    models = {name: task.weights for name, task in TASKS.items()}
    for name, record in used.items():
        task = tasks.get(name, "spect-pet-mri")
        assert (record["task"], record["weights_file"]) == (task, models[task])
        weights = (bundle_root() / "models" / models[task]).read_bytes()
        assert record["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def written_to(folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "summary.csv"}
    assert sorted(files) == sorted([*OUTPUTS.values(), *[f"{name}.json" for name in OUTPUTS]])
    return files


def test_list_by_the_bundle_command_gives_the_same_bytes(pairs, expected, tmp_path):
    config = bundle_root() / "configs" / "inference.json"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]
    options = {"bundle_root": bundle_root(), "pairs": pairs, "output_dir": tmp_path / "out", "device": "cpu"}
    result = subprocess.run(
        [*command, *[text for name, value in options.items() for text in (f"--{name}", str(value))]],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert written_to(tmp_path / "out") == expected


def test_list_by_the_command_gives_the_same_bytes(pairs, expected, tmp_path):
    result = CliRunner().invoke(app, ["fuse", "--pairs", str(pairs), "-o", str(tmp_path / "out"), "--device", "cpu"])
    assert result.exit_code == 0, result.stderr
    assert written_to(tmp_path / "out") == expected


def modalities(pair):
    return {name: getattr(pair, name) for name in ("modality_a", "modality_b") if getattr(pair, name)}


def test_single_pairs_by_the_command_give_the_same_bytes(pairs, expected, tmp_path):
    for pair in fusion_pairs(pairs=pairs):
        output = tmp_path / OUTPUTS[pair.name]
        options = [text for key, value in modalities(pair).items() for text in (f"--{key.replace('_', '-')}", value)]
        images = [str(pair.image_a), str(pair.image_b)]
        result = CliRunner().invoke(app, ["fuse", *images, "-o", str(output), "--device", "cpu", *options])
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"{output}\n"
    assert written_to(tmp_path) == expected


def test_single_pairs_by_the_bundle_s_workflow_give_the_same_voxels(pairs, expected, tmp_path):
    for pair in fusion_pairs(pairs=pairs):
        workflow = Inference(
            image_a=str(pair.image_a),
            image_b=str(pair.image_b),
            output_dir=str(tmp_path / pair.name),
            device="cpu",
            logging_file=False,
            **modalities(pair),
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        suffix = OUTPUTS[pair.name].removeprefix(pair.name)
        stem = pair.image_a.name.removesuffix(suffix)
        assert (tmp_path / pair.name / f"{stem}{suffix}").read_bytes() == expected[OUTPUTS[pair.name]]


def test_a_registered_pair_gives_the_same_bytes_through_all_three_entry_points(pairs, tmp_path):
    image_a, image_b = pairs.parent / "a.nii.gz", pairs.parent / "pet.nii.gz"
    Fuser(device="cpu", register="rigid")(image_a, image_b, tmp_path / "function" / "a.nii.gz")
    options = ["--device", "cpu", "--register", "rigid"]
    output = tmp_path / "command" / "a.nii.gz"
    result = CliRunner().invoke(app, ["fuse", str(image_a), str(image_b), "-o", str(output), *options])
    assert result.exit_code == 0, result.stderr
    workflow = Inference(
        image_a=str(image_a),
        image_b=str(image_b),
        output_dir=str(tmp_path / "bundle"),
        device="cpu",
        register="rigid",
        logging_file=False,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    function, command, bundle = (
        {path.name: path.read_bytes() for path in (tmp_path / entry_point).iterdir()}
        for entry_point in ("function", "command", "bundle")
    )
    assert sorted(function) == ["a.json", "a.nii.gz", "a.tfm"]
    assert function == command == bundle
