"""The inference config in MONAI's own functions and other programs."""

import json

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow, load
from monai.data import MetaTensor
from monai.networks.nets import BasicUNet
from sample_images import SMALLER, write_picture, write_volume

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.reading import read_image
from monai_s3im.networks import S3IMFusion
from monai_s3im.pipeline import Fuser

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

BASIC_UNET = {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 2, "out_channels": 1, "features": [4] * 6}


@pytest.fixture
def files(tmp_path):
    return str(write_volume(tmp_path / "a.nii.gz", 0)), str(write_volume(tmp_path / "pet.nii.gz", 5, *SMALLER))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A current folder unrelated to the bundle."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def workflow(bundle, elsewhere):
    def make(*layers, **settings):
        files = [str(bundle / "configs" / "inference.json"), *map(str, layers)]
        settings = {"workflow_type": "inference", "logging_file": False, "device": "cpu", **settings}
        return create_workflow(config_file=files if layers else files[0], **settings)

    return make


def test_bundle_load_gives_the_network_with_its_weights_from_any_folder(bundle, elsewhere):
    network = load(bundle.name, bundle_dir=bundle.parent, workflow_type="inference", device="cpu")
    assert isinstance(network, S3IMFusion)
    torch.testing.assert_close(network.state_dict(), torch.load(bundle / "models" / "model.pt", weights_only=True))


def test_a_workflow_made_in_any_folder_without_a_bundle_root_fuses(workflow, files, elsewhere):
    made = workflow(image_a=files[0], image_b=files[1], modality_a="mr", modality_b="pet", output_dir="out")
    made.run()
    Fuser(device="cpu")(*files, elsewhere / "expected" / "a.nii.gz", "mr", "pet")
    for name in ("a.nii.gz", "a.json"):
        assert (elsewhere / "out" / name).read_bytes() == (elsewhere / "expected" / name).read_bytes()


@pytest.mark.parametrize("name", ["train", "inference"])
def test_nothing_is_loaded_before_it_runs(bundle, elsewhere, monkeypatch, name):
    def refuse(*arguments, **options):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(torch, "load", refuse)
    kind = name.removesuffix("ing")
    config = str(bundle / "configs" / f"{name}.json")
    made = create_workflow(config_file=config, workflow_type=kind, logging_file=False, device="cpu")
    assert isinstance(made.network_def, S3IMFusion)
    network = made.parser.get_parsed_content("network")
    assert network is made.network_def
    assert type(network) is S3IMFusion


def refusal_of(workflow, kind):
    """The message of our own error that ends a run; MONAI wraps what its transforms raise."""
    with pytest.raises((kind, RuntimeError)) as refusal:
        workflow.run()
    error = refusal.value
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return str(error)


def weights_of(network, path):
    torch.save(network.state_dict(), path)
    return str(path)


def by_hand(network, *files):
    pair = np.stack([read_image(file).numpy()[0] for file in files]) / 255
    with torch.no_grad():
        return (network.eval()(torch.from_numpy(pair)[None])[0].clamp(0, 1) * 255).round().numpy()


def checkpoint_loader(path):
    return {"_target_": "CheckpointLoader", "load_path": path, "load_dict": {"model": "@network"}}


@pytest.mark.parametrize("how", ["instead", "added"])
@pytest.mark.parametrize("network_def", [None, BASIC_UNET])
def test_a_checkpoint_loader_on_the_network_and_another_network_are_used(workflow, tmp_path, how, network_def):
    torch.manual_seed(0)
    network = S3IMFusion() if network_def is None else BasicUNet(2, 2, 1, features=(4,) * 6)
    files = [str(write_picture(tmp_path / f"{name}.png", seed, (32, 32))) for seed, name in enumerate("ab")]
    loader = checkpoint_loader(weights_of(network, tmp_path / "own.pt"))
    torch.manual_seed(1)  # MONAI's DataLoader goes back to the seed, and the network would begin with these weights
    layer = tmp_path / "own.json"
    layer.write_text(json.dumps({"handlers" if how == "instead" else "+handlers": [loader]}))
    settings = {} if network_def is None else {"network_def": network_def}
    made = workflow(layer, image_a=files[0], image_b=files[1], output_dir=str(tmp_path / "out"), **settings)
    made.run()
    fused = read_image(tmp_path / "out" / "a.png").numpy()
    assert np.abs(fused - by_hand(network, *files)).max() <= 1
    record = json.loads((tmp_path / "out" / "a.json").read_text(encoding="utf-8"))
    assert (record["task"], record["weights_file"], record["weights_sha256"]) == (None, None, None)


def test_another_network_without_weights_is_refused(workflow, files, elsewhere):
    made = workflow(image_a=files[0], image_b=files[1], output_dir="out", network_def=BASIC_UNET)
    assert "model_medical.pt has no weights of this network" in refusal_of(made, InputError)
    assert not list(elsewhere.rglob("*.nii.gz"))


@pytest.mark.parametrize("item", [lambda a, b: {"image_a": a, "image_b": b}, lambda a, b: {"image": [a, b]}])
def test_an_item_needs_exactly_two_images(workflow, files, elsewhere, item):
    made = workflow(output_dir="out")
    made.dataset_data = [item(*files)]
    made.initialize()
    made.run()
    Fuser(device="cpu")(*files, elsewhere / "expected.nii.gz")
    assert (elsewhere / "out" / "a.nii.gz").read_bytes() == (elsewhere / "expected.nii.gz").read_bytes()


def test_an_item_with_one_image_is_refused_in_one_sentence(workflow, files):
    made = workflow(output_dir="out")
    made.dataset_data = [{"image": files[0]}]
    made.initialize()
    told = f"an item of the data has no image_a, and image is {files[0]}: give image_a and image_b, or image with"
    assert told in refusal_of(made, InputError)


def test_two_pairs_with_the_same_name_are_refused(workflow, files, tmp_path):
    other = str(write_volume(tmp_path / "other" / "a.nii.gz", 3))
    made = workflow(output_dir=str(tmp_path / "out"))
    made.dataset_data = [{"image": [files[0], files[1]]}, {"image": [other, files[1]]}]
    made.initialize()
    assert "was already written for another pair: give each pair a unique name" in refusal_of(made, OutputError)


def test_training_takes_such_items_too(bundle, elsewhere, files):
    config = str(bundle / "configs" / "train.json")
    settings = {"workflow_type": "train", "logging_file": False, "device": "cpu", "epochs": 1, "patch_size": 64}
    made = create_workflow(config_file=config, **settings)
    made.train_dataset_data = made.val_dataset_data = [{"image": list(files)}]
    made.initialize()
    item = made.train_dataset[0]
    assert item["name"] == "a"
    assert item["image"].shape == (2, 64, 64)


@pytest.mark.parametrize("kind", ["volumes", "pictures"])
def test_tensors_are_accepted_and_returned(bundle, workflow, files, tmp_path, kind):
    if kind == "pictures":
        files = [
            str(write_picture(tmp_path / f"{name}.png", seed, colour=name == "b")) for seed, name in enumerate("ab")
        ]
    images = [read_image(file) for file in files]
    made = workflow(bundle / "configs" / "inference_tensors.json", output_dir=str(tmp_path / "out"))
    made.dataset_data = [{"image_a": images[0], "image_b": images[1], "modality_a": "mr", "modality_b": "pet"}]
    made.initialize()
    made.run()
    fused = made.evaluator.state.output[0]["pred"]
    expected = Fuser(device="cpu")(*files, modality_a="mr", modality_b="pet")
    assert isinstance(fused, MetaTensor)
    assert torch.equal(fused.as_tensor(), expected.as_tensor())
    assert torch.equal(fused.affine, expected.affine)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
def test_one_tensor_with_a_channel_for_each_source_is_a_pair(bundle, workflow, files, tmp_path, last):
    """As from programs that load images themselves; they would pass any other tensor of the item to the network."""
    images = [read_image(files[0]), read_image(files[0]).flip(1)]
    made = workflow(bundle / "configs" / "inference_tensors.json", output_dir=str(tmp_path / "out"))
    both = torch.cat(images).as_tensor()
    meta = {"affine": images[0].affine, **({"original_channel_dim": -1} if last else {})}
    image = MetaTensor(both.movedim(0, -1) if last else both, meta=meta)
    made.dataset_data = [{"image": image, "modality": ["mr", "mr"]}]
    made.initialize()
    assert [key for key, value in made.dataset[0].items() if isinstance(value, torch.Tensor)] == ["image"]
    made.run()
    fused = made.evaluator.state.output[0]["pred"]
    expected = Fuser(device="cpu")(*images, modality_a="mr", modality_b="mr")
    assert torch.equal(fused.as_tensor(), expected.as_tensor())
