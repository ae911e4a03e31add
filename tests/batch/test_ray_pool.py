"""Batches on a Ray cluster: a real one, of two nodes on this machine, whose workers and drivers are killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from batch_tools import FakeFuser, outputs
from dicom_samples import series_of, stored_volume, write_slices
from pool_tools import tries, visible_gpus, work
from sample_images import write_picture
from typer.testing import CliRunner

from monai_s3im.batch import fuse_batch
from monai_s3im.batch import run as batch
from monai_s3im.batch.local_pool import LostWorkerError
from monai_s3im.batch.ray_pool import TRIES, _share_of, run_on_ray
from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.pairs.lists import Pair, read_pairs
from monai_s3im.pipeline import Fuser

TESTS = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::FutureWarning:ray"
)


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes of one CPU each."""
    before = dict(os.environ)
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    pytest.importorskip("ray", reason="no Ray here: batches on a cluster are NOT tested")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    yield cluster
    cluster.shutdown()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ |= before


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A list of 24 pairs of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(24):
        write_picture(folder / "a" / f"{index}.png", index)
    rows = ["image_a,image_b", *(f"a/{index}.png,a/{(index + 1) % 24}.png" for index in range(24))]
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def expected(pictures, tmp_path_factory):
    """The output of a batch on this machine without a cluster."""
    out = tmp_path_factory.mktemp("local")
    list(fuse_batch(read_pairs(pictures), out, Fuser(device="cpu")))
    assert len(outputs(out)) == 48
    return outputs(out)


def worker_processes():
    """Processes of the workers of this machine's clusters."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if command.read_bytes().startswith(b"ray::_Worker"):
                found.append(int(command.parent.name))
        except OSError:  # it ended
            continue
    return found


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("fragile", ["frail", pytest.param("deadly", marks=pytest.mark.slow)])
def test_an_item_whose_worker_dies_is_tried_again_and_the_rest_is_done(cluster, tmp_path, fragile):
    items = ["one", fragile, "two"]
    results = list(run_on_ray(work, tmp_path, items, address=cluster.address))
    assert sorted(item for item, _ in results) == sorted(items)
    found = dict(results)
    assert (found["one"], found["two"]) == ("ONE", "TWO")
    if fragile == "frail":
        assert found["frail"] == "FRAIL"
    else:
        assert isinstance(found["deadly"], LostWorkerError)
    expected = {"one": 1, "two": 1, fragile: 2 if fragile == "frail" else TRIES}
    assert {item: tries(tmp_path, item) for item in items} == expected


def test_a_batch_loses_nothing_and_reports_nothing_twice_when_a_worker_is_killed(cluster, pictures, expected, tmp_path):
    results, killed = [], None
    run = partial(fuse_batch, engine="ray", ray_address=cluster.address)
    for result in run(read_pairs(pictures), tmp_path / "out", Fuser(device="cpu")):
        results.append(result)
        if len(results) == 4:
            killed = worker_processes()[0]
            os.kill(killed, signal.SIGKILL)
    assert killed
    assert Counter(result.name for result in results) == Counter(str(index) for index in range(24))
    assert {result.status for result in results} == {"fused"}
    assert outputs(tmp_path / "out") == expected


def ray_command(cluster, pictures, out):
    options = ["--pairs", str(pictures), "-o", str(out), "--device", "cpu", "--resume"]
    return [sys.executable, "-m", "monai_s3im", "fuse", *options, "--engine", "ray", "--ray-address", cluster.address]


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_batch_that_is_stopped_on_a_cluster_is_resumed_without_one(cluster, pictures, expected, tmp_path, sign):
    out = tmp_path / "out"
    command = ray_command(cluster, pictures, out)
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", start_new_session=True)
    wait_until(lambda: len(list(out.glob("*.json"))) > 3)
    os.killpg(driver.pid, sign)  # as a terminal does for Ctrl-C
    _, errors = driver.communicate(timeout=30)
    assert driver.returncode == (130 if sign == signal.SIGINT else -sign)
    if sign == signal.SIGINT:
        assert "pairs: continue with --resume" in errors
        assert "Traceback" not in errors
    wait_until(lambda: not worker_processes())
    assert len(list(out.glob("*.json"))) < 24
    arguments = ["fuse", "--pairs", str(pictures), "-o", str(out), "--device", "cpu", "--resume"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "of them earlier" in result.stdout
    assert outputs(out) == expected


@pytest.mark.slow
def test_a_batch_continues_when_a_node_is_lost(cluster, pictures, expected, tmp_path):
    node = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    results = []
    for result in fuse_batch(
        read_pairs(pictures), tmp_path / "out", Fuser(device="cpu"), engine="ray", ray_address=cluster.address
    ):
        results.append(result.name)
        if len(results) == 4:
            cluster.remove_node(node, allow_graceful=False)
    assert sorted(results, key=int) == [str(index) for index in range(24)]
    assert outputs(tmp_path / "out") == expected


@pytest.mark.slow
def test_each_worker_of_a_node_with_gpus_has_one_of_its_own_and_no_other_node_works(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1, num_gpus=2, object_store_memory=100 * 2**20)  # Ray takes our word for it
    for folder in ("gpus", "cpus"):
        (tmp_path / folder).mkdir()
    results = run_on_ray(visible_gpus, tmp_path / "gpus", [2, 2], address=cluster.address)
    assert sorted(gpus for _, gpus in results) == ["0", "1"]
    results = run_on_ray(visible_gpus, tmp_path / "cpus", [3, 3, 3], address=cluster.address, use_gpus=False)
    assert [gpus for _, gpus in results] == ["", "", ""]
    cluster.remove_node(node)


@pytest.mark.slow
def test_without_an_address_a_cluster_of_this_machine_is_started_and_ended(pictures, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "monai_s3im", "fuse", "--pairs", str(pictures), "-o", str(out)]
    options = ["--device", "cpu", "--engine", "ray", "--workers", "2"]
    subprocess.run([*command, *options], check=True, timeout=120)
    assert outputs(out) == expected
    wait_until(lambda: not worker_processes())


class OtherElsewhere(FakeFuser):
    """A copy in another process has other weights."""

    def __init__(self):
        super().__init__()
        self.weights_sha256 = {"medical": "1" * 64}

    def __reduce__(self):
        return FakeFuser, ()


def test_workers_with_other_weights_get_no_work(cluster, tmp_path):
    picture = write_picture(tmp_path / "a.png")
    run = fuse_batch(
        [Pair("one", picture, picture)],
        tmp_path / "out",
        OtherElsewhere(),
        engine="ray",
        workers=1,
        ray_address=cluster.address,
    )
    with pytest.raises(InputError, match=r"^worker .*: weights differ here: install the same on all nodes$"):
        list(run)
    assert list((tmp_path / "out").glob("*.png")) == []


def test_a_node_that_has_another_output_folder_gets_no_work(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_SEEN_WITHIN_S", 0.0)
    with pytest.raises(InputError, match="is a different folder here: give an output folder on a file system that all"):
        batch._check_worker(FakeFuser(), FakeFuser().record_settings, tmp_path / "mark")


def test_an_image_that_a_node_does_not_see_is_named(tmp_path):
    picture = write_picture(tmp_path / "a.png")
    settle = partial(batch._settle, output_dir=tmp_path, resume=False, metrics=False)
    result = batch._settle_on_node(settle, FakeFuser(), Pair("one", picture, tmp_path / "b.png"))
    assert result.status == "failed"
    assert result.error.startswith(f"{tmp_path / 'b.png'} does not exist on ")
    assert result.error.endswith(": put it on a file system that all nodes share")


def test_a_node_reads_one_frame_of_a_file_and_one_series_of_a_folder(tmp_path):
    write_slices(tmp_path / "study", series_of(stored_volume()), uid="1.2.9")
    write_slices(tmp_path / "study", series_of(stored_volume(seed=1)), [f"b{n}.dcm" for n in range(6)], uid="1.2.10")
    affine = np.array([[-0.8, 0, 0, -10], [0, -0.7, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])
    values = np.random.default_rng(0).random((4, 5, 6, 2), dtype=np.float32)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "pet.nii.gz")
    settle = partial(batch._settle, output_dir=tmp_path / "out", resume=False, metrics=False)
    pair = Pair("one", tmp_path / "study#1.2.9", tmp_path / "pet.nii.gz#2", "ct", "pet")
    result = batch._settle_on_node(settle, Fuser(device="cpu", reference="b"), pair)
    assert (result.status, result.error) == ("fused", None)
    gone = batch._settle_on_node(settle, FakeFuser(), Pair("two", tmp_path / "study#1.2.9", tmp_path / "mr.nii#2"))
    assert gone.error.startswith(f"{tmp_path / 'mr.nii#2'} does not exist on ")


@pytest.mark.parametrize(
    ("nodes", "workers", "use_gpus", "share"),
    [
        ([{"CPU": 8}, {"CPU": 4}], None, True, {"CPU": 4}),
        ([{"CPU": 8}, {"CPU": 8}], 3, True, {"CPU": 4}),
        ([{"CPU": 8}, {"CPU": 8}], 2, True, {"CPU": 8}),
        ([{"CPU": 2}], 5, True, {"CPU": 1}),
        ([{}, {"CPU": 8, "GPU": 2}], None, True, {"GPU": 1}),
        ([{"CPU": 8, "GPU": 2}], None, False, {"CPU": 8}),
        ([{}], None, True, {}),
    ],
)
def test_workers_divide_the_gpus_or_without_any_the_cpus(nodes, workers, use_gpus, share):
    assert _share_of(nodes, workers, use_gpus)[0] == share


def test_threads_are_those_of_the_share():
    assert _share_of([{"CPU": 8}, {"CPU": 8}], 3, True)[1] == 4
    assert _share_of([{"CPU": 16, "GPU": 4}], None, True)[1] == 4


def test_a_cluster_that_does_not_answer_is_reported(cluster):
    with pytest.raises(InputError, match=r"no usable Ray cluster at '127.0.0.1:1' \(.*refused\): check that it"):
        list(run_on_ray(work, ".", ["one"], address="127.0.0.1:1"))


def test_without_ray_the_extra_is_named(pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ["fuse", "--pairs", str(pictures), "-o", str(tmp_path / "out"), "--device", "cpu", "--engine", "ray"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == "error: a cluster needs Ray: python -m pip install 'ray>=2.40'\n"


def test_an_unknown_engine_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown engine 'spark': choose local or ray"):
        list(fuse_batch([], tmp_path, FakeFuser(), engine="spark"))
