"""The command: what it prints, what it leaves, how it exits."""

import errno
import io
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from dicom_samples import series_of, stored_volume, write_slices
from PIL import Image
from sample_images import GRID, SHAPE, blobs, write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.errors import OutputError
from monai_s3im.transforms.output import check_output


def run(*arguments):
    return CliRunner().invoke(app, ["fuse", *map(str, arguments)])


@pytest.fixture
def images(tmp_path):
    """Good images, and one of every kind that cannot be used."""
    folder = tmp_path / "images"
    write_picture(folder / "a.png", 0)
    write_picture(folder / "b.png", 5)
    write_picture(folder / "wide.png", 5, size=(20, 30))
    Image.new("L", (24, 20)).save(folder / "black.png")
    write_volume(folder / "a.nii.gz", 0)
    write_volume(folder / "b.nii.gz", 5)
    write_volume(folder / "zero.nii.gz", array=np.zeros(SHAPE, np.int16))
    write_volume(folder / "4d.nii.gz", array=np.stack([blobs(SHAPE).astype(np.float32)] * 2, axis=-1))
    infinite = blobs(SHAPE).astype(np.float32)
    infinite[3, 3, 3] = np.inf
    write_volume(folder / "infinite.nii.gz", array=infinite)
    far = GRID.copy()
    far[:3, 3] += 1000
    write_volume(folder / "far.nii.gz", 5, affine=far)
    (folder / "text.nii.gz").write_text("this is not a volume\n")
    content = (folder / "b.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (folder / "file").write_text("")
    torch.save({"weight": torch.ones(3)}, folder / "other.pt")
    (folder / "damaged.pt").write_bytes(b"PK\x03\x04 no more weights")
    return folder


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


MISTAKES = {
    "missing file": (["a.png", "none.png", "-o", "out.png"], "none.png does not exist"),
    "text as volume": (["a.nii.gz", "text.nii.gz", "-o", "out.nii.gz"], "text.nii.gz is damaged"),
    "truncated": (["a.nii.gz", "cut.nii.gz", "-o", "out.nii.gz"], "cut.nii.gz is damaged, cut short"),
    "infinite": (["a.nii.gz", "infinite.nii.gz", "-o", "out.nii.gz"], "infinite.nii.gz has 1 infinite voxel out of"),
    "all zero": (["zero.nii.gz", "b.nii.gz", "-o", "out.nii.gz"], "zero.nii.gz has no content"),
    "black": (["black.png", "b.png", "-o", "out.png"], "black.png has no content"),
    "4d": (["a.nii.gz", "4d.nii.gz", "-o", "out.nii.gz"], "4d.nii.gz is 4D and has 2 frames"),
    "two sizes": (["a.png", "wide.png", "-o", "out.png"], "wide.png 30 x 20 pixels: bring them to one size"),
    "picture and volume": (["a.png", "b.nii.gz", "-o", "out.png"], "pair a picture with a picture"),
    "no overlap": (["a.nii.gz", "far.nii.gz", "-o", "out.nii.gz"], "do not overlap in space"),
    "unknown modality": (["a.png", "b.png", "-o", "out.png", "--modality-b", "xray"], "unknown modality 'xray'"),
    "unknown plane": (["a.nii.gz", "b.nii.gz", "-o", "out.nii.gz", "--plane", "up"], "unknown plane 'up'"),
    "unknown device": (["a.png", "b.png", "-o", "out.png", "--device", "abacus"], "device 'abacus' is not available"),
    "no output": (["a.png", "b.png"], "say where the result goes with -o"),
    "png for a volume": (["a.nii.gz", "b.nii.gz", "-o", "out.png"], "out.png cannot hold a 3D image"),
    "nifti for a picture": (["a.png", "b.png", "-o", "out.nii.gz"], "out.nii.gz cannot hold a 2D image"),
    "jpeg": (["a.png", "b.png", "-o", "out.jpg"], "would lose detail as JPEG: name it out.png"),
    "a DICOM file": (["a.png", "b.png", "-o", "out.dcm"], "out.dcm would be one DICOM file: add --dicom"),
    "file as folder": (["a.png", "b.png", "-o", "file/out.png"], "file is a file): choose another folder"),
    "output is a source": (["a.png", "b.png", "-o", "b.png"], "b.png is one of the inputs"),
    "weights missing": (["a.png", "b.png", "-o", "out.png", "--weights", "none.pt"], "none.pt does not exist: name a"),
    "weights damaged": (["a.png", "b.png", "-o", "out.png", "--weights", "damaged.pt"], "damaged.pt has no weights"),
    "weights of another": (["a.png", "b.png", "-o", "out.png", "--weights", "other.pt"], "other.pt has no weights"),
    "one image": (["a.png", "-o", "out.png"], "give two images, two folders, or a list"),
    "image and list": (["a.png", "--pairs", "pairs.csv", "-o", "out"], "give two images, two folders, or a list"),
    "list missing": (["--pairs", "none.csv", "-o", "out"], "none.csv does not exist"),
    "file and folder": (["a.png", ".", "-o", "out.png"], ". is a folder of 12 images and a.png is one image"),
    "folder and file": ([".", "a.png", "-o", "out.png"], "name one image, or two folders"),
    "two outputs": (["a.png", "b.png", "out.png", "-o", "o.png"], "two outputs are given, out.png and o.png: give one"),
    "patterns without root": (["--pattern-a", "*", "-o", "out"], "give two images, two folders, a list"),
    "one pattern": (
        ["--root", ".", "--pattern-a", "*", "-o", "out"],
        "--root, --pattern-a and --pattern-b go together",
    ),
    "resume of one": (
        ["a.png", "b.png", "-o", "out.png", "--resume"],
        "out.png is the name of one image, but several pairs, --report",
    ),
    "workers of one": (["a.png", "b.png", "-o", "out.png", "--workers", "2"], "need a folder: name a folder with -o"),
    "nothing": ([], "give two images, two folders, a list"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_in_one_sentence_and_leaves_no_file(images, monkeypatch, arguments, words):
    monkeypatch.chdir(images)
    before = files_in(images)
    device = [] if "--device" in arguments or not arguments else ["--device", "cpu"]
    result = run(*arguments, *device)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert files_in(images) == before


def test_all_that_is_wrong_with_a_pair_is_reported_at_once(images):
    result = run(images / "none.png", images / "4d.nii.gz", "-o", images / "out.png", "--modality-a", "xray")
    assert result.exit_code == 2
    errors = result.stderr.splitlines()
    for text, line in zip(("unknown modality 'xray'", "none.png does not exist", "is 4D"), errors, strict=True):
        assert text in line
    assert all(line.startswith("error: ") for line in errors)


def test_unknown_options_are_refused_by_name():
    result = run("a.png", "b.png", "--colour")
    assert result.exit_code == 2
    assert "--colour" in result.stderr


def test_a_read_only_folder_is_reported_before_anything_is_computed(images, monkeypatch):
    def read_only(**arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("monai_s3im.transforms.output.tempfile.TemporaryFile", read_only)
    monkeypatch.setattr("monai_s3im.inferers.SliceWiseInferer.__call__", None)
    result = run(images / "a.png", images / "b.png", "-o", images / "out.png", "--device", "cpu")
    assert result.exit_code == 2
    assert "out.png cannot be written (Read-only file system in" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_reported(images):
    images.chmod(0o555)
    result = run(images / "a.png", images / "b.png", "-o", images / "out.png", "--device", "cpu")
    images.chmod(0o755)
    assert result.exit_code == 2
    assert "Permission denied" in result.stderr


def test_the_output_s_folder_is_made(images, tmp_path):
    output = tmp_path / "new" / "deep" / "out.png"
    result = run(images / "a.png", images / "b.png", "-o", output, "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout == f"{output}\n"
    assert files_in(output.parent) == ["out.json", "out.png"]


def test_pairs_that_cannot_be_registered_are_refused(images, tmp_path):
    picture = run(images / "a.png", images / "b.png", "-o", tmp_path / "out.png", "--register", "rigid")
    assert (picture.exit_code, picture.output.count("error:")) == (2, 1)
    assert "only volumes can be registered" in picture.output
    (tmp_path / "t.tfm").write_text("")
    many = run(images, images, "-o", tmp_path / "out", "--transform", tmp_path / "t.tfm")
    assert many.exit_code == 2
    assert "--transform belongs to one pair" in many.output
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.png").exists()


def test_modalities_may_be_written_as_people_write_them(images):
    options = ["--modality-a", "MRI", "--modality-b", "CT", "--device", "cpu"]
    assert run(images / "a.png", images / "b.png", "-o", images / "out.png", *options).exit_code == 0
    sources = json.loads((images / "out.json").read_text(encoding="utf-8"))["sources"]
    assert [sources[key]["modality"] for key in ("image_a", "image_b")] == ["mr", "ct"]


@pytest.mark.parametrize(
    "order", ["{pair} {options} {output}", "{options} {pair} {output}", "{pair} {output} {options}"]
)
@pytest.mark.parametrize("output", ["out.png", "-o out.png"])
def test_options_and_the_output_may_be_anywhere(images, monkeypatch, order, output):
    monkeypatch.chdir(images)
    options = "--modality-a T1 --modality-b PET --device CPU --task AUTO --precision Float32"
    result = run(*order.format(pair="a.png b.png", options=options, output=output).split())
    assert (result.exit_code, result.stdout, result.stderr) == (0, "out.png\n", "")
    sources = json.loads((images / "out.json").read_text(encoding="utf-8"))["sources"]
    assert [sources[key]["modality"] for key in ("image_a", "image_b")] == ["mr", "pet"]


def test_a_folder_with_one_image_can_be_paired_with_a_file(images, tmp_path):
    lone = write_picture(tmp_path / "lone" / "ct.png", 9)
    options = ["--modality-a", "mr", "--modality-b", "ct", "--device", "cpu"]
    result = run(images / "a.png", lone.parent, tmp_path / "by_folder.png", *options)
    assert result.exit_code == 0
    assert result.stderr == f"note: {lone} is the only image in {lone.parent}\n"
    assert run(images / "a.png", lone, tmp_path / "by_file.png", *options).exit_code == 0
    assert (tmp_path / "by_folder.png").read_bytes() == (tmp_path / "by_file.png").read_bytes()


def test_one_pair_into_a_folder_is_named_after_image_a(images, tmp_path):
    result = run(images / "a.nii.gz", images / "b.nii.gz", "-o", tmp_path, "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'a_fused.nii.gz'}\n"
    assert (tmp_path / "a_fused.nii.gz").is_file()


def a_list(images, *rows, header="name,image_a,image_b"):
    path = images / "pairs.csv"
    path.write_text("\n".join([header, *rows]))
    return path


def test_a_list_gives_png_for_pictures_and_nifti_for_volumes(images, tmp_path):
    pairs = a_list(images, "flat,a.png,b.png", "deep,a.nii.gz,b.nii.gz")
    result = run("--pairs", pairs, "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout == f"2 of 2 pairs fused into {tmp_path / 'out'}\n"
    assert files_in(tmp_path / "out") == ["deep.json", "deep.nii.gz", "flat.json", "flat.png", "summary.csv"]


def test_bad_cases_are_reported_by_name_and_the_rest_is_done(images, tmp_path):
    rows = ["early,a.png,none.png", "good,a.png,b.png", "late,a.nii.gz,cut.nii.gz", "too,a.nii.gz,b.nii.gz"]
    result = run("--pairs", a_list(images, *rows), "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 1
    assert "error: early: " in result.stderr
    assert "error: late: " in result.stderr
    assert result.stdout == f"2 of 4 pairs fused into {tmp_path / 'out'}\n"
    assert files_in(tmp_path / "out") == ["good.json", "good.png", "summary.csv", "too.json", "too.nii.gz"]


@pytest.mark.parametrize("row", ["one,a.png,none.png", "one,a.nii.gz,cut.nii.gz"])
def test_a_list_of_bad_cases_only_exits_with_2(images, tmp_path, row):
    result = run("--pairs", a_list(images, row, row.replace("one", "two")), "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 2
    assert result.stderr.count("error: ") == 2
    assert files_in(tmp_path / "out") == ["summary.csv"]


def test_cases_with_the_same_name_are_refused_and_the_rest_is_done(images, tmp_path):
    rows = ["same,a.png,b.png", "Same,b.png,a.png", "other,a.png,b.png"]
    result = run("--pairs", a_list(images, *rows), "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 1
    assert files_in(tmp_path / "out") == ["other.json", "other.png", "summary.csv"]


def test_modalities_of_the_command_apply_where_the_list_names_none(images, tmp_path):
    pairs = a_list(images, "one,a.png,b.png,", "two,a.png,b.png,spect", header="name,image_a,image_b,modality_b")
    assert run("--pairs", pairs, "-o", tmp_path, "--modality-b", "pet", "--device", "cpu").exit_code == 0
    records = [json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in ("one", "two")]
    assert [record["sources"]["image_b"]["modality"] for record in records] == ["pet", "spect"]


def test_a_monai_datalist_is_a_list_too(images, tmp_path):
    items = [{"image_a": "a.png", "image_b": "b.png"}]
    (images / "datalist.json").write_text(json.dumps({"test": items}))
    assert run("--pairs", images / "datalist.json", "-o", tmp_path / "out", "--device", "cpu").exit_code == 0
    assert files_in(tmp_path / "out") == ["a.json", "a.png", "summary.csv"]


def test_two_folders_are_matched_by_name(tmp_path):
    for index, name in enumerate(["case1", "case2"]):
        write_picture(tmp_path / "mr" / f"{name}.png", index)
        write_picture(tmp_path / "ct" / f"{name}.tif", index + 5)
    result = run(tmp_path / "mr", tmp_path / "ct", "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0
    assert files_in(tmp_path / "out") == ["case1.json", "case1.png", "case2.json", "case2.png", "summary.csv"]


def test_sources_in_the_output_folder_are_not_overwritten(tmp_path):
    source = write_picture(tmp_path / "mr" / "case.png", 0)
    write_picture(tmp_path / "ct" / "case.png", 5)
    before = source.read_bytes()
    result = run(tmp_path / "mr", tmp_path / "ct", "-o", tmp_path / "mr", "--device", "cpu")
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr
    assert source.read_bytes() == before


def test_a_folder_that_is_fused_with_itself_is_warned_about(tmp_path):
    for name in ("1.png", "2.png"):
        write_picture(tmp_path / "mr" / name, 0)
    result = run(tmp_path / "mr", tmp_path / "mr", "-o", tmp_path / "out")
    warning = f"warning: in all 2 pairs image A and image B are the same file, such as {tmp_path / 'mr' / '1.png'}\n"
    assert warning in result.stderr


def test_one_image_twice_is_warned_about_by_name(images, tmp_path, caplog):
    a, b = images / "a.png", images / "b.png"
    run(a, a, "-o", tmp_path / "one.png", "--modality-a", "mr", "--modality-b", "mr")
    warning = "a.png is both image A and image B: name two images"
    assert warning in caplog.messages
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))["warnings"] == [warning]
    path = a_list(images, "same,a.png,a.png", "good,a.png,b.png")
    warning = "warning: in 1 of 2 pairs image A and image B are the same file, such as same\n"
    assert warning in run("--pairs", path, "-o", tmp_path / "out").stderr
    assert "warning" not in run(a, b, "-o", tmp_path / "two.png").stderr


def test_what_will_be_replaced_is_reported_before_the_work(images, tmp_path):
    a, b, output = images / "a.png", images / "b.png", tmp_path / "fused.png"
    note = f"note: {output} already exists and will be replaced\n"
    assert note not in run(a, b, "-o", output).stderr
    assert run(a, b, "-o", output).stderr.startswith(note)
    path, out = a_list(images, "one,a.png,b.png", "two,b.png,a.png"), tmp_path / "out"
    assert "already" not in run("--pairs", path, "-o", out).stderr
    (out / "two.png").unlink()
    note = f"note: 1 of 2 results already exist in {out} and will be replaced, such as one; --resume keeps what is fin"
    assert note in run("--pairs", path, "-o", out).stderr
    assert "already" not in run("--pairs", path, "-o", out, "--resume").stderr


def test_an_image_of_the_user_is_replaced_only_on_request(images, tmp_path):
    """As after naming three images: the third is the output."""
    pet = write_picture(tmp_path / "pet.png", 9)
    before = pet.read_bytes()
    result = run(images / "a.png", images / "b.png", pet, "--device", "cpu")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {pet} exists and is not a fused image (it has no record beside it): choose another output, or replace "
        "it with --overwrite (overwrite=True)\n"
    )
    assert pet.read_bytes() == before
    assert run(images / "a.png", images / "b.png", pet, "--device", "cpu", "--overwrite").exit_code == 0
    assert pet.read_bytes() != before
    fused = pet.read_bytes()
    assert run(images / "a.png", images / "b.png", pet, "--device", "cpu").exit_code == 0  # which is a fused image now
    assert pet.read_bytes() == fused


def test_an_image_whose_record_another_batch_is_writing_is_not_one_of_the_user(images, tmp_path):
    fused = tmp_path / "out.png"
    assert run(images / "a.png", images / "b.png", fused, "--device", "cpu").exit_code == 0
    record = fused.with_suffix(".json").rename(tmp_path / "kept")
    fused.touch()
    later = threading.Timer(0.5, record.rename, [fused.with_suffix(".json")])
    later.start()
    check_output(fused, 2, [])
    later.join()
    fused.with_suffix(".json").rename(record)
    with pytest.raises(OutputError, match="is not a fused image"):
        check_output(fused, 2, [])


def test_a_batch_replaces_what_a_power_cut_left_but_no_image_of_the_user(images, tmp_path):
    path = a_list(images, "one,a.png,b.png", "two,b.png,a.png")
    other = write_picture(tmp_path / "out" / "one.png", 9)
    before = other.read_bytes()
    result = run("--pairs", path, "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 1
    assert f"error: one: {other} exists and is not a fused image" in result.stderr
    assert other.read_bytes() == before
    (tmp_path / "out" / "two.json").unlink()
    result = run("--pairs", path, "-o", tmp_path / "out", "--device", "cpu", "--resume")
    assert result.exit_code == 0
    assert files_in(tmp_path / "out") == ["one.json", "one.png", "summary.csv", "two.json", "two.png"]


def test_an_image_without_a_partner_is_named(tmp_path):
    for path in ("mr/case1.png", "mr/case2.png", "ct/case1.png"):
        write_picture(tmp_path / path)
    result = run(tmp_path / "mr", tmp_path / "ct", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"without a partner of the same name: {tmp_path / 'mr' / 'case2.png'}" in result.stderr


def test_gray_leaves_the_colour_out(images, tmp_path):
    colour = write_picture(tmp_path / "colour.png", 7, colour=True)
    for options, mode in (([], "RGB"), (["--gray"], "L")):
        assert run(images / "a.png", colour, "-o", tmp_path / "out.png", "--device", "cpu", *options).exit_code == 0
        with Image.open(tmp_path / "out.png") as fused:
            assert fused.mode == mode


@pytest.mark.parametrize(
    "place",
    ["monai_s3im.inferers.SliceWiseInferer.__call__", "monai_s3im.formats.atomic.os.replace"],
)
def test_an_interrupt_leaves_no_half_written_file_and_exits_with_130(images, tmp_path, monkeypatch, place):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    result = run(images / "a.nii.gz", images / "b.nii.gz", "-o", tmp_path / "out.nii.gz", "--device", "cpu")
    assert result.exit_code == 130
    assert files_in(tmp_path) == [f"images/{name}" for name in files_in(images)]


def python(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120)


def test_a_process_prints_one_sentence_and_no_traceback(images):
    result = python(
        "-m", "monai_s3im", "fuse", images / "a.nii.gz", images / "text.nii.gz", "-o", images / "out.nii.gz"
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {images / 'text.nii.gz'} is damaged")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["fuse"], ["data", "phantom"]])
def test_help_is_quick_and_imports_no_heavy_library(command):
    code = (
        f"import sys; sys.argv = ['s3im', *{list(command)}, '--help']\n"
        "from monai_s3im.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'monai', 'numpy', 'SimpleITK'} & set(sys.modules)))"
    )
    result = python("-c", code)
    assert result.stdout.endswith("0 []\n")
    assert "Examples:" in result.stdout


def test_the_package_runs_as_a_module():
    result = python("-m", "monai_s3im", "--help")
    assert result.returncode == 0
    assert "evaluate" in result.stdout


def test_several_pairs_are_not_written_into_the_name_of_one_image(images, tmp_path):
    result = run(images, images, "-o", tmp_path / "out.nii.gz")
    assert result.exit_code == 2
    assert "name a folder with -o" in result.stderr
    assert not (tmp_path / "out.nii.gz").exists()


def test_one_pair_may_have_names_that_could_not_name_an_output(tmp_path, monkeypatch):
    write_volume(tmp_path / "scan_10:30.nii.gz", 0)
    long = write_volume(tmp_path / f"{'x' * 210}.nii.gz", 5)
    result = run(tmp_path / "scan_10:30.nii.gz", long, "-o", tmp_path / "out.nii.gz", "--device", "cpu")
    assert result.exit_code == 0, result.output
    write_slices(tmp_path / "series", series_of(stored_volume((6, 12, 14)), modality="MR"))
    monkeypatch.chdir(tmp_path / "series")
    result = run(".", ".", "-o", tmp_path / "own.nii.gz", "--device", "cpu")
    assert result.exit_code == 0, result.output


def test_a_path_that_is_too_long_is_reported_in_one_sentence(images, tmp_path):
    long = "n" * 300 + ".nii.gz"
    for arguments in (
        [images / "a.nii.gz", images / long, "-o", images / "out.nii.gz"],
        [images / long, images / "b.nii.gz", "-o", images / "out.nii.gz"],
        ["--pairs", images / f"{long}.csv", "-o", tmp_path / "out"],
        [images / "a.nii.gz", images / "b.nii.gz", "-o", images / long],
    ):
        result = run(*arguments, "--device", "cpu")
        assert result.exit_code == 2
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.stderr.count("error: ") == 1


def test_a_locked_folder_fails_only_its_pair(images, tmp_path, monkeypatch):
    stat, locked = os.stat, tmp_path / "locked"

    def stat_of_no_owner(path, **options):
        if str(path).startswith(f"{locked}{os.sep}"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", stat_of_no_owner)
    rows = ["name,image_a,image_b", f"bad,{locked}/a.png,{images}/b.png", f"good,{images}/a.png,{images}/b.png"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    result = run("--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert errors == [f"error: bad: {locked}/a.png is not readable: check its permissions"]
    assert (tmp_path / "out" / "good.png").exists()
    for arguments in ([locked / "a.png", images / "b.png"], ["--pairs", locked / "pairs.csv"]):
        result = run(*arguments, "-o", tmp_path / "new.png", "--device", "cpu")
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")


def test_a_name_that_is_not_text_is_escaped(images, monkeypatch):
    output = os.fsdecode(os.fsencode(images) + b"/out\xff.png")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", stdout)
    app(["fuse", str(images / "a.png"), str(images / "b.png"), "-o", output, "--device", "cpu"], standalone_mode=False)
    stdout.flush()
    assert stdout.buffer.getvalue() == os.fsencode(images) + b"/out\\udcff.png\n"
