import hashlib
import json
import pickle

import pytest
import torch

from monai_s3im.errors import InputError
from monai_s3im.networks import S3IMFusion, load_weights


def small_network(**options):
    return S3IMFusion(features=4, branch_features=2, token_features=8, depth=1, heads=2, **options)


def test_the_weights_of_one_network_make_another_the_same(tmp_path):
    torch.manual_seed(0)
    trained, fresh = small_network(), small_network()
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    assert load_weights(fresh, tmp_path / "model.pt") is fresh
    assert not fresh.training
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)


def test_the_file_may_be_named_as_text(tmp_path):
    torch.save(small_network().state_dict(), tmp_path / "model.pt")
    load_weights(small_network(), str(tmp_path / "model.pt"))


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"gone\.pt does not exist: name a weights file"):
        load_weights(small_network(), tmp_path / "gone.pt")


def test_a_folder_is_not_a_weights_file(tmp_path):
    with pytest.raises(InputError, match="does not exist: name a weights file"):
        load_weights(small_network(), tmp_path)


def write_empty(path):
    path.write_bytes(b"")


def write_text(path):
    path.write_text("version https://git-lfs.github.com/spec/v1")


def write_half(path):
    torch.save(small_network().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_other_width(path):
    torch.save(small_network(stages=1).state_dict(), path)


def write_other_network(path):
    torch.save(torch.nn.Linear(3, 3).state_dict(), path)


def write_tensor(path):
    torch.save(torch.zeros(3), path)


@pytest.mark.parametrize(
    "write", [write_empty, write_text, write_half, write_other_width, write_other_network, write_tensor]
)
def test_a_file_without_weights_of_this_network_is_named_in_one_line(tmp_path, write):
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(InputError, match=r"model\.pt has no weights of this network") as refusal:
        load_weights(small_network(), path)
    assert "\n" not in str(refusal.value)
    assert "name another file" in str(refusal.value)


class _Code:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_file_with_code_is_refused_and_the_code_does_not_run(tmp_path, save):
    path, marker = tmp_path / "model.pt", tmp_path / "ran"
    save({"weights": _Code(marker)}, path)
    with pytest.raises(InputError, match=r"model\.pt has no weights"):
        load_weights(small_network(), path)
    assert not marker.exists()


def write_with_manifest(folder, sha256=None, name="model.pt"):
    torch.save(small_network().state_dict(), folder / "model.pt")
    sha256 = sha256 or hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({name: {"sha256": sha256}}))
    return folder / "model.pt"


def test_weights_that_their_manifest_names_are_loaded(tmp_path):
    load_weights(small_network(), write_with_manifest(tmp_path))


def test_weights_whose_sha256_differs_from_their_manifest_are_refused(tmp_path):
    path = write_with_manifest(tmp_path, sha256="0" * 64)
    with pytest.raises(InputError, match=r"model\.pt is not the file that manifest\.json lists"):
        load_weights(small_network(), path)


def test_weights_that_a_manifest_does_not_name_are_loaded(tmp_path):
    load_weights(small_network(), write_with_manifest(tmp_path, sha256="0" * 64, name="other.pt"))


def test_a_damaged_manifest_is_named(tmp_path):
    path = write_with_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json cannot be read: install the package again"):
        load_weights(small_network(), path)
