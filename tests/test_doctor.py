"""`s3im doctor` reports what is broken, and shows no names."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from runpy import run_path

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_root
from monai_s3im.cli import app
from monai_s3im.doctor import environment, examine, function
from monai_s3im.errors import InputError
from monai_s3im.networks import read_manifest
from monai_s3im.phantom import head_phantom

ROOT = Path(__file__).resolve().parents[1]
MODELS = bundle_root() / "models"
CHECKS = ["software", "extras", "device", "memory", "writing", "codecs", "weights", "answer"]


def run_doctor(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "monai_s3im", "doctor", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


@pytest.fixture
def bundle(tmp_path):
    """A bundle to break."""
    shutil.copytree(MODELS, tmp_path / "bundle" / "models")
    return tmp_path / "bundle"


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_complete_installation_passes_in_under_20_s(tmp_path):
    before = time.process_time()  # of this process, whatever else runs
    result = CliRunner().invoke(app, ["doctor", str(tmp_path), "--json"])
    assert time.process_time() - before < 20
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["ok"] is True
    assert list(dict.fromkeys(check["name"] for check in record["checks"])) == CHECKS


def test_the_weights_of_the_package_are_those_of_their_manifest():
    manifest = read_manifest(MODELS)
    assert sorted(manifest) == sorted(file.name for file in MODELS.glob("*.pt"))
    for name, entry in manifest.items():
        assert hashlib.sha256((MODELS / name).read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("name", sorted(read_manifest(MODELS)))
def test_the_known_answer_is_what_the_command_writes_for_files_of_the_known_pair(tmp_path, name):
    volumes = head_phantom((40, 48, 6), (4.8, 4.8, 20.0)).volumes
    for key in ("t1", "ct"):
        nib.save(nib.Nifti1Image(volumes[key][0].numpy(), volumes[key].affine.numpy()), tmp_path / f"{key}.nii.gz")
    files = [str(tmp_path / f"{key}.nii.gz") for key in ("t1", "ct", "fused")]
    options = ["--modality-a", "mr", "--modality-b", "ct", "--weights", str(MODELS / name), "--device", "cpu", "--gray"]
    result = CliRunner().invoke(app, ["fuse", *files[:2], "-o", files[2], *options])
    assert result.exit_code == 0, result.output
    fused = nib.load(files[2]).get_fdata()[::4, ::4, 2].ravel()
    np.testing.assert_allclose(fused, read_manifest(MODELS)[name]["answer"], rtol=0, atol=1e-4)


def test_a_damaged_file_of_weights_is_named_and_the_others_are_well(bundle):
    flip_a_byte(bundle / "models" / "model.pt")
    found = {text.split()[0]: status for status, text in function.weights(bundle / "models")}
    assert found.pop("model.pt") == "failed"
    assert set(found.values()) == {"ok"}


def test_weights_that_give_another_image_are_reported_though_their_sha256_is_listed(bundle):
    file = bundle / "models" / "model.pt"
    state = torch.load(file, weights_only=True)
    state["stem.weight"] *= 1.05
    torch.save(state, file)
    manifest = read_manifest(bundle / "models")
    manifest["model.pt"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (bundle / "models" / "manifest.json").write_text(json.dumps(manifest))
    assert {status for status, _ in function.weights(bundle / "models")} == {"ok"}
    failed = [text for status, text in function.answers(bundle / "models") if status == "failed"]
    assert failed
    assert all(text.startswith("model.pt on") and text.endswith("do not use the results") for text in failed)


def test_missing_weights_are_named(bundle):
    (bundle / "models" / "model_paper.pt").unlink()
    assert ("failed", "model_paper.pt is missing: install the package again") in function.weights(bundle / "models")


def test_other_weights_in_the_folder_are_noted(bundle):
    shutil.copy(bundle / "models" / "model.pt", bundle / "models" / "mine.pt")
    assert ("note", "mine.pt is not part of this package") in function.weights(bundle / "models")


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"model.pt": {}}'])
def test_a_manifest_that_is_gone_or_damaged_fails(bundle, content):
    manifest = bundle / "models" / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    failed = [check for check in examine(bundle=bundle) if check.status == "failed"]
    assert failed
    assert {check.name for check in failed} <= {"weights", "answer"}
    assert all("install the package again" in check.text for check in failed)


def test_a_folder_that_cannot_be_written_fails():
    (result, _) = environment.writing(Path("/proc"))
    assert result[0] == "failed"
    assert result[1].startswith("the folder for results cannot be written (")


def test_a_compression_that_cannot_be_read_is_named(monkeypatch):
    def only_uncompressed(file):
        if b"1.2.840.10008.1.2.5" in file.read_bytes():
            raise RuntimeError("no decoder")
        return read_image(file)

    from monai_s3im.formats.reading import read_image

    monkeypatch.setattr("monai_s3im.formats.reading.read_image", only_uncompressed)
    ((status, text),) = function.codecs()
    assert status == "failed"
    assert "compression RLE (RuntimeError: no decoder)" in text
    assert "JPEG" not in text


def test_a_package_of_another_version_is_named(monkeypatch):
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.1" if name.lower() == "monai" else version(name))
    assert [text for status, text in environment.software() if status == "failed"] == [
        "monai 1.1 is not <1.7,>=1.6: install the package again"
    ]


def test_a_missing_package_is_named_without_a_traceback(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'nibabel':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    result = run_doctor(cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "nibabel is missing: install the package again" in result.stdout
    assert re.search(
        r"failed +answer +cannot be checked: ModuleNotFoundError: No module named 'nibabel'", result.stdout
    )
    assert "ok      device" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_nothing_that_is_printed_names_a_person_or_a_folder(bundle, monkeypatch):
    home = bundle.parent / "Erika PLANTED"
    shutil.move(bundle, home / "bundle")
    flip_a_byte(home / "bundle" / "models" / "model.pt")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "eplanted")
    monkeypatch.setattr("socket.gethostname", lambda: "planted-pc")
    monkeypatch.chdir(home)
    texts = [check.text for check in examine(home / "eplanted on planted-pc", home / "bundle")]
    assert any("model.pt is not the file that" in text for text in texts)
    assert not re.search(r"planted|Erika|pytest", "\n".join(texts), re.IGNORECASE)


@pytest.fixture(scope="module")
def update_weights():
    """The function of the script that updates the weights manifest."""
    return run_path(str(ROOT / ".ci" / "weights.py"))["update_weights"]


def test_updated_weights_are_checked_by_their_own_manifest(update_weights, bundle, tmp_path):
    models = bundle / "models"
    state = torch.load(models / "model.pt", weights_only=True)
    state["stem.weight"] *= 1.05
    torch.save(state, tmp_path / "new.pt")
    update_weights(models, {"model": tmp_path / "new.pt", "other": models / "model_paper.pt"})
    assert sorted(read_manifest(models)) == sorted([*read_manifest(MODELS), "other.pt"])
    assert torch.equal(torch.load(models / "model.pt", weights_only=True)["stem.weight"], state["stem.weight"])
    found = [*function.weights(models), *function.answers(models)]
    assert {status for status, _ in found} == {"ok"}
    before, after = read_manifest(MODELS), read_manifest(models)
    paper = before["model_paper.pt"]
    assert {key: after["model_paper.pt"][key] for key in ("sha256", "bytes")} == {
        key: paper[key] for key in ("sha256", "bytes")
    }
    assert after["other.pt"]["answer"] == after["model_paper.pt"]["answer"]
    assert after["other.pt"]["answer"] == pytest.approx(paper["answer"], abs=function.BOUND)
    assert after["model.pt"]["answer"] != pytest.approx(before["model.pt"]["answer"], abs=function.BOUND)


def test_weights_of_another_network_change_nothing(update_weights, bundle, tmp_path):
    models = bundle / "models"
    before = {file.name: file.read_bytes() for file in models.iterdir()}
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "new.pt")
    with pytest.raises(InputError, match="has no weights of this network"):
        update_weights(models, {"model": tmp_path / "new.pt"})
    assert {file.name: file.read_bytes() for file in models.iterdir()} == before
