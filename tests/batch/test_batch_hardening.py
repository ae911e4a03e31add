"""A batch of fifty cases of real volumes at a third of their resolution, half of them made unusable."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from batch_tools import are_whole, outputs
from sample_images import write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.batch import fuse_batch
from monai_s3im.cli import app
from monai_s3im.pairs.lists import read_pairs
from monai_s3im.phantom import write_phantom
from monai_s3im.pipeline import Fuser

pytestmark = pytest.mark.slow

REAL = {
    "stroke_flair": ("stroke_t1_t2_flair/T1.nii.gz", "stroke_t1_t2_flair/FLAIR.nii.gz", "mr", "mr"),
    "stroke_t2": ("stroke_t1_t2_flair/T1.nii.gz", "stroke_t1_t2_flair/T2.nii.gz", "mr", "mr"),
    "ct": ("ct_mr_template/T1_avg152.nii", "ct_mr_template/CT_scct.nii", "mr", "ct"),
    "pet": ("pet_mr_template/T1.nii", "pet_mr_template/PET.nii", "mr", "pet"),
    "pd": ("chris_t1_pd_pcasl/chris_t1.nii.gz", "chris_t1_pd_pcasl/chris_PD.nii.gz", "mr", "mr"),
}
LARGE = (112, 112, 80)


def reduced(source, target, step=3):
    """A copy with every third voxel along each axis."""
    image = nib.load(source).slicer[::step, ::step, ::step]
    target.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), target)
    return target


@pytest.fixture(scope="module")
def good(shared_data, tmp_path_factory):
    """The rows of 26 pairs that can be fused: real volumes, the phantom, pictures; and their folder."""
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for image_a, image_b, modality_a, modality_b in REAL.values():
        files = []
        for image in (image_a, image_b):
            file = folder / f"{image.replace('/', '_').split('.')[0]}.nii.gz"
            files.append(reduced(shared_data / "data" / "volumes" / image, file).name)
        rows.append([*files, modality_a, modality_b])
    write_phantom(folder / "phantom", subjects=2, volumes=True)
    for name, modality in (("ct", "ct"), ("pet", "pet"), ("spect", "spect")):
        rows.append(
            [f"phantom/volumes/small_{name}.nii.gz" if role else "phantom/volumes/small_t1.nii.gz" for role in (0, 1)]
        )
        rows[-1] += ["mr", modality]
        reduced(folder / f"phantom/volumes/{name}.nii.gz", folder / f"phantom/volumes/small_{name}.nii.gz")
    reduced(folder / "phantom/volumes/t1.nii.gz", folder / "phantom/volumes/small_t1.nii.gz")
    rows.append(
        [
            f"{write_picture(folder / 'gray.png', 1).name}",
            write_picture(folder / "colour.png", 2, colour=True).name,
            "mr",
            "pet",
        ]
    )
    return folder, [[f"good{index:02}", *rows[index % len(rows)]] for index in range(26)]


def make_odd(folder, good_a, good_b):
    """The rows of two unusual volumes that can be fused: of the one, two voxels have no value; the other is a slice."""
    image = nib.load(good_b)
    array = np.asarray(image.dataobj).astype(np.float32)
    write_volume(folder / "flat.nii.gz", array=array[..., 0], affine=image.affine)
    array[4:6, 4, 4] = np.nan
    write_volume(folder / "nan.nii.gz", array=array, affine=image.affine)
    return [[name, Path(good_a).name, f"{name}.nii.gz", "mr", "ct"] for name in ("nan", "flat")]


def make_bad(folder, good_a, good_b):
    """Unusable files, each with its row and message."""
    image = nib.load(good_b)
    array = np.asarray(image.dataobj).astype(np.float32)

    def save(name, values, affine=image.affine):
        return write_volume(folder / f"{name}.nii.gz", array=values, affine=affine)

    far = image.affine.copy()
    far[:3, 3] += 2000
    for name, length in (("truncated", 0.5), ("header_cut", 0.001)):
        data = Path(good_b).read_bytes()
        (folder / f"{name}.nii.gz").write_bytes(data[: int(len(data) * length)])
    save("no_value", np.full_like(array, np.nan))
    high = array > array.mean()
    infinite = f"infinite.nii.gz has {np.count_nonzero(high)} infinite voxels out of {array.size}"
    save("infinite", np.where(high, np.inf, array))
    save("4d", np.stack([array] * 3, axis=-1))
    save("no_content", np.zeros_like(array))
    save("elsewhere", array, far)
    (folder / "zero_bytes.nii.gz").touch()
    (folder / "text.nii.gz").write_text("patient list\n")
    (folder / "png.nii.gz").write_bytes((folder / "gray.png").read_bytes())
    (folder / "cut.png").write_bytes((folder / "gray.png").read_bytes()[:200])
    (folder / "dangling.nii.gz").symlink_to(folder / "nowhere.nii.gz")
    (folder / "a_folder.nii.gz").mkdir()
    write_picture(folder / "larger.png", 3, (30, 31))
    a, b = Path(good_a).name, Path(good_b).name
    return {
        "truncated": ([a, "truncated.nii.gz"], "truncated.nii.gz is damaged, cut short"),
        "header_cut": ([a, "header_cut.nii.gz"], "header_cut.nii.gz is damaged"),
        "no_value": ([a, "no_value.nii.gz"], "no_value.nii.gz has no content (every voxel is NaN)"),
        "infinite": ([a, "infinite.nii.gz"], infinite),
        "frames": ([a, "4d.nii.gz"], "4d.nii.gz is 4D and has 3 frames"),
        "no_content": ([a, "no_content.nii.gz"], "no_content.nii.gz has no content"),
        "elsewhere": ([a, "elsewhere.nii.gz"], "do not overlap in space"),
        "zero_bytes": ([a, "zero_bytes.nii.gz"], "zero_bytes.nii.gz is empty"),
        "text": ([a, "text.nii.gz"], "text.nii.gz is damaged"),
        "png_named_nii": ([a, "png.nii.gz"], "png.nii.gz is damaged"),
        "cut_picture": (["gray.png", "cut.png"], "cut.png"),
        "dangling": ([a, "dangling.nii.gz"], "dangling.nii.gz does not exist"),
        "a_folder": ([a, "a_folder.nii.gz"], "a_folder.nii.gz"),
        "missing": ([a, "missing.nii.gz"], "missing.nii.gz does not exist"),
        "picture_with_volume": (["gray.png", b], "gray.png"),
        "unequal": (["gray.png", "larger.png"], "larger.png"),
        "unknown": ([a, b, "mr", "xray"], "xray"),
        "not/a/name": ([a, b], "cannot name a file"),
        "no_image": ([a, "notes.docx"], "notes.docx"),
        "bad_a": (["infinite.nii.gz", b], infinite),
        "elsewhere_a": (["elsewhere.nii.gz", b], "do not overlap in space"),
    }


@pytest.fixture(scope="module")
def fifty(good):
    """A list of 28 good and 21 bad cases, alternating, and a large one; with the messages of the bad ones."""
    folder, rows = good
    (folder / "notes.docx").write_text("notes")
    bad = make_bad(folder, folder / rows[2][1], folder / rows[2][2])
    rows = [*rows[:9], *make_odd(folder, folder / rows[2][1], folder / rows[2][2]), *rows[9:]]
    random = np.random.default_rng(0)
    write_volume(folder / "large.nii.gz", array=random.integers(0, 1000, LARGE).astype(np.int16), affine=np.eye(4))
    mixed = [*rows[:5]]
    for name, (row, _) in bad.items():
        mixed += [[name, *row], rows[len(mixed) // 2 + 3]] if len(mixed) < 49 else [[name, *row]]
    named = {row[0]: row for row in [*mixed, *rows]}
    named["large"] = ["large", "large.nii.gz", "large.nii.gz", "mr", "mr"]
    for row in rows[-3:]:
        named[row[0]] = named.pop(row[0])  # after the large one
    assert len(named) == 50
    lines = ["name,image_a,image_b,modality_a,modality_b", *(",".join([*row, "", ""][:5]) for row in named.values())]
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder / "pairs.csv", [row[0] for row in rows], {name: words for name, (_, words) in bad.items()}


def summary_of(folder):
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def resident_mib():
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.fixture
def a_disk_of_8_mb(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    if not is_mounted:
        pytest.skip("no small disk can be mounted here (that needs root): a full disk is NOT tested")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def check(out, results, expected_good, faults):
    assert {name for name, row in results.items() if row["status"] == "fused"} == expected_good
    for name, words in faults.items():
        assert results[name]["status"] == "failed", name
        assert words in results[name]["error"], (name, results[name]["error"])
        assert "unexpected" not in results[name]["error"], (name, results[name]["error"])
        assert "\n" not in results[name]["error"]
        assert not list(out.glob(f"{Path(name).name}*"))
    assert are_whole(out)
    assert not list(out.glob(".*"))


def test_every_good_one_of_fifty_cases_on_a_small_disk_is_done_in_constant_memory(fifty, a_disk_of_8_mb):
    pairs, names, faults = fifty
    curve = {}
    for result in fuse_batch(read_pairs(pairs), a_disk_of_8_mb, Fuser(device="cpu")):
        curve[result.name] = resident_mib()
    assert len(curve) == 50
    rows = summary_of(a_disk_of_8_mb)
    check(a_disk_of_8_mb, rows, set(names), {**faults, "large": "large.nii.gz cannot be written (no space left on the"})
    read = [name for name in curve if float(rows[name]["seconds"])]  # the others are refused by their headers
    usual = [curve[name] for name in read[4 : read.index("large")]]
    assert len(usual) > 25
    assert max(usual) - usual[0] < 20


@pytest.mark.parametrize("workers", [1, 3])
def test_fifty_cases_end_with_code_1_and_a_line_for_each_bad_one(fifty, tmp_path, workers):
    pairs, names, faults = fifty
    out = tmp_path / "out"
    arguments = ["fuse", "--pairs", str(pairs), "-o", str(out), "--device", "cpu", "--workers", str(workers)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    check(out, summary_of(out), {*names, "large"}, faults)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert sorted(line.split(": ")[1] for line in lines) == sorted(faults)
    assert result.stdout == f"29 of 50 pairs fused into {out}\n"


@pytest.mark.parametrize("options", [["--workers", "2"], ["--register", "rigid"]])
def test_a_batch_killed_at_random_moments_and_resumed_is_that_of_an_undisturbed_one(good, tmp_path, options):
    folder, rows = good
    lines = ["name,image_a,image_b,modality_a,modality_b", *(",".join(row) for row in rows[:8])]
    (folder / "good.csv").write_text("\n".join(lines))
    command = [sys.executable, "-m", "monai_s3im", "fuse", "--pairs", str(folder / "good.csv"), "--device", "cpu"]
    subprocess.run([*command, *options, "-o", str(tmp_path / "undisturbed")], check=True, capture_output=True)
    random, out = np.random.default_rng(7), tmp_path / "out"
    for _ in range(4):
        with subprocess.Popen([*command, *options, "-o", str(out), "--resume"], stderr=subprocess.DEVNULL) as batch:
            time.sleep(random.uniform(2, 14))
            batch.kill()
        if out.exists():
            time.sleep(0.5)
            assert are_whole(out)
    subprocess.run([*command, *options, "-o", str(out), "--resume"], check=True, capture_output=True)
    assert outputs(out) == outputs(tmp_path / "undisturbed")


def test_heads_of_different_people_give_a_warning(shared_data, tmp_path):
    volumes = shared_data / "data" / "volumes"
    reduced(volumes / "stroke_t1_t2_flair/T1.nii.gz", tmp_path / "one.nii.gz", 2)
    reduced(volumes / "stroke_t1_t2_flair/FLAIR.nii.gz", tmp_path / "same.nii.gz", 2)
    reduced(volumes / "ct_head_single/ct.nii.gz", tmp_path / "other.nii.gz", 2)
    rows = ["name,image_a,image_b,modality_a,modality_b", "fits,one.nii.gz,same.nii.gz,mr,mr"]
    (tmp_path / "pairs.csv").write_text("\n".join([*rows, "wrong,one.nii.gz,other.nii.gz,mr,ct"]))
    arguments = ["fuse", "--pairs", str(tmp_path / "pairs.csv"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert CliRunner().invoke(app, [*arguments, "--register", "rigid"]).exit_code == 0
    rows = summary_of(tmp_path / "out")
    assert rows["fits"]["warnings"] == ""
    assert "may show different people" in rows["wrong"]["warnings"]
