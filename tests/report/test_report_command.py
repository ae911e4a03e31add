"""The report from the command: at the end of a batch, and afterwards."""

import numpy as np
import pytest
from dicom_samples import series_of, write_slices
from page_reading import read_page
from sample_images import blobs, write_picture
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.formats.writing import sha256_of
from monai_s3im.report.cases import read_batch


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folders(tmp_path):
    """Two folders of two pictures each."""
    for index, name in enumerate(("one", "two")):
        write_picture(tmp_path / "a" / f"{name}.png", index)
        write_picture(tmp_path / "b" / f"{name}.png", index + 5)
    return tmp_path / "a", tmp_path / "b"


def shown_by_case(folder):
    page = read_page(folder / "report.html")
    return {article.one("h3").text: article.one("img").attributes["alt"] for article in page.all("article")}


BOTH = "A: generic, B: generic, fused, checkerboard of A and B"


def test_a_batch_ends_with_its_report(folders, tmp_path):
    out = tmp_path / "out"
    result = run("fuse", *folders, "-o", out, "--report", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert shown_by_case(out) == {"one": f"one: {BOTH}", "two": f"two: {BOTH}"}


def test_a_resumed_batch_reports_what_was_finished_earlier(folders, tmp_path):
    out = tmp_path / "out"
    run("fuse", *folders, "-o", out, "--device", "cpu")
    result = run("fuse", *folders, "-o", out, "--resume", "--report", "--device", "cpu")
    assert "2 of them earlier" in result.stdout
    assert shown_by_case(out) == {"one": f"one: {BOTH}", "two": f"two: {BOTH}"}


def test_an_existing_report_is_updated_only_with_new_results(folders, tmp_path):
    out = tmp_path / "out"
    run("fuse", *folders, "-o", out, "--report", "--device", "cpu")
    before = (out / "report.html").read_bytes()
    for seed, folder in enumerate(folders, 8):
        write_picture(folder / "three.png", seed)
    result = run("fuse", *folders, "-o", out, "--resume", "--device", "cpu")
    assert result.stdout.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert list(shown_by_case(out)) == ["one", "three", "two"]
    renewed = (out / "report.html").read_bytes()
    assert renewed != before
    assert "report:" not in run("fuse", *folders, "-o", out, "--resume", "--device", "cpu").stdout
    assert (out / "report.html").read_bytes() == renewed


@pytest.mark.parametrize("output", ["one.png", "elsewhere.png"])
def test_a_result_replaced_alone_removes_the_report_of_its_batch(folders, tmp_path, output):
    out = tmp_path / "out"
    run("fuse", *folders, "-o", out, "--report", "--device", "cpu")
    alone = ["fuse", folders[0] / "one.png", folders[1] / "two.png", "-o", out / output, "--device", "cpu"]
    result = run(*alone)
    assert result.exit_code == 0
    is_replaced = output == "one.png"
    assert (out / "report.html").exists() == (not is_replaced)
    note = f"note: {out / 'report.html'} was about earlier results and is removed: fuse the batch again with --resume"
    assert (f"{note} --report\n" in result.stderr) == is_replaced
    run("fuse", *folders, "-o", out, "--resume", "--report", "--device", "cpu")
    assert shown_by_case(out) == {"one": f"one: {BOTH}", "two": f"two: {BOTH}"}


def test_a_series_replaced_alone_removes_the_report_of_its_batch(tmp_path):
    stored = np.rint(800 * blobs((16, 24, 20)))
    mr = write_slices(tmp_path / "mr", series_of(stored, modality="MR", StudyInstanceUID="1.2"))
    slices = series_of(np.where(stored > 200, stored / 10, -1000), StudyInstanceUID="1.2")
    ct = write_slices(tmp_path / "ct", slices, uid="1.2.9")
    (tmp_path / "pairs.csv").write_text(f"name,image_a,image_b\nknown,{mr},{ct}\n", encoding="utf-8")
    out, options = tmp_path / "out", ["--dicom", "--device", "cpu"]
    run("fuse", "--pairs", tmp_path / "pairs.csv", "-o", out, "--report", *options)
    assert (out / "report.html").exists()
    assert run("fuse", mr, ct, "-o", out / "known", *options).exit_code == 0
    assert not (out / "report.html").exists()


def test_metrics_of_an_image_that_was_replaced_are_not_reported(folders, tmp_path):
    out = tmp_path / "out"
    run("fuse", *folders, "-o", out, "--metrics", "--device", "cpu")
    run("fuse", folders[0] / "one.png", folders[1] / "two.png", "-o", out / "one.png", "--device", "cpu")
    by_name = {case.result.name: case.result for case in read_batch(out).cases}
    assert (bool(by_name["one"].metrics), bool(by_name["two"].metrics)) == (False, True)
    assert by_name["one"].fused_sha256 == sha256_of(out / "one.png")
    assert run("report", out).exit_code == 0


def test_a_page_of_another_program_is_not_a_report(folders, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("<title>Mine</title>")
    assert "report:" not in run("fuse", *folders, "-o", out, "--device", "cpu").stdout
    assert (out / "report.html").read_text() == "<title>Mine</title>"


def test_a_report_that_cannot_be_made_loses_nothing_and_is_reported(folders, tmp_path):
    out = tmp_path / "out"
    (out / "report.html").mkdir(parents=True)
    result = run("fuse", *folders, "-o", out, "--report", "--device", "cpu")
    assert result.exit_code == 1
    assert "2 of 2 pairs fused" in result.stdout
    assert "error: no report:" in result.stderr
    assert "report.html cannot be written" in result.stderr
    assert {"one.png", "two.png", "summary.csv"} <= {path.name for path in out.iterdir()}


def test_a_fault_in_the_report_loses_nothing_and_is_reported(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("monai_s3im.report._page", lambda *arguments: 1 / 0)
    result = run("fuse", *folders, "-o", tmp_path / "out", "--report", "--device", "cpu")
    assert result.exit_code == 1
    assert "error: no report: unexpected ZeroDivisionError" in result.stderr
    assert (tmp_path / "out" / "two.png").exists()


def test_a_report_is_made_if_all_cases_failed(folders, tmp_path):
    for path in folders[1].iterdir():
        path.write_bytes(b"no picture")
    result = run("fuse", *folders, "-o", tmp_path / "out", "--report", "--device", "cpu")
    assert result.exit_code == 2
    page = read_page(tmp_path / "out" / "report.html")
    assert [case.one("h3").text for case in page.one(class_="failed-cases").all("li")] == ["one", "two"]
    assert page.all("article") == []


def test_a_report_is_made_afterwards_of_the_folder_and_the_sources(folders, tmp_path):
    out = tmp_path / "out"
    run("fuse", *folders, "-o", out, "--device", "cpu")
    result = run("report", out, *folders)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(out / "report.html")
    assert shown_by_case(out) == {"one": f"one: {BOTH}", "two": f"two: {BOTH}"}
    assert run("report", out).exit_code == 0
    assert shown_by_case(out) == {"one": "one: fused", "two": "two: fused"}


def test_a_folder_of_something_else_is_refused(tmp_path):
    result = run("report", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"error: {tmp_path / 'summary.csv'} does not exist: give the output folder of a batch"
    ]


def test_one_pair_has_a_report_in_a_folder(folders, tmp_path):
    files = [folder / "one.png" for folder in folders]
    out = tmp_path / "out"
    result = run("fuse", *files, "-o", out, "--metrics", "--report", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert shown_by_case(out) == {"one": f"one: {BOTH}"}
    (case,) = read_batch(out).cases
    assert case.result.metrics["Qabf"] > 0
    alone = tmp_path / "alone.png"
    assert run("fuse", *files, "-o", alone, "--device", "cpu").exit_code == 0
    assert (out / "one.png").read_bytes() == alone.read_bytes()


def test_a_report_of_one_pair_needs_a_folder(folders, tmp_path):
    files = [folder / "one.png" for folder in folders]
    result = run("fuse", *files, "-o", tmp_path / "one.png", "--report")
    assert result.exit_code == 2
    assert "one.png is the name of one image, but several pairs, --report" in result.stderr
    assert not (tmp_path / "one.png").exists()
