"""The comparison of methods: against stored scores of real methods, and by hand."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_s3im.errors import InputError
from monai_s3im.evaluation import Comparison, compare, run_quality, write_tables
from monai_s3im.evaluation.comparison import CONTENT_METRICS, PAPER_METRICS
from monai_s3im.evaluation.pictures import region_of_most_detail

FOLDERS = {"MRI_CT": ("CT-MRI", "CT"), "MRI_SPECT": ("SPECT-MRI", "SPECT")}


def made_up(table: dict[str, list[float]], patients: list[str]) -> Comparison:
    """Every metric of a method has the same values."""
    cases = [f"case{index}" for index in range(len(patients))]
    values = {
        method: {
            case: dict.fromkeys((*PAPER_METRICS, *CONTENT_METRICS), value)
            for case, value in zip(cases, column, strict=True)
        }
        for method, column in table.items()
    }
    return Comparison(values, dict(zip(cases, patients, strict=True)))


@pytest.fixture
def small_pairs(tmp_path):
    """Two folders of sources with four pictures of two patients, and the folder of a method."""
    random = np.random.default_rng(0)
    for folder in ("mr", "ct", "ours", "peers/theirs/task", "peers/other_task_only/else"):
        (tmp_path / folder).mkdir(parents=True)
    for stem in ("1001", "1002", "2001", "2002"):
        first, second = random.integers(0, 256, (2, 40, 48), dtype=np.uint8)
        pictures = {"mr": first, "ct": second, "ours": np.maximum(first, second), "peers/theirs/task": first}
        for folder, picture in pictures.items():
            Image.fromarray(picture).save(tmp_path / folder / f"{stem}.png")
    return tmp_path


@pytest.mark.parametrize(("task", "method"), [("MRI_CT", "EMFusion"), ("MRI_SPECT", "IFCNN")])
def test_means_are_those_stored_for_the_methods_of_others(task, method, shared_data):
    data, other = FOLDERS[task]
    val = shared_data / "data" / "harvard" / data / "val"
    found = compare({method: shared_data / "peers" / "val" / method / task}, val / "MRI", val / other)
    stored = json.loads((shared_data / "peers" / "scores_val.json").read_text(encoding="utf-8"))[task]
    for name in PAPER_METRICS:
        assert found.mean(method, name) == pytest.approx(stored[method][name], abs=5.1e-5)  # stored with four decimals
    assert found.mean("Max", "Qabf") == pytest.approx(stored["Max"]["Qabf"], abs=5.1e-5)


def test_ranks_and_wins_by_hand():
    found = made_up({"a": [1, 3], "b": [2, 2], "c": [5, 5]}, ["p", "q"])
    assert found.mean_rank("c") == 1
    assert found.mean_rank("a") == found.mean_rank("b") == 2  # equal means share the better rank
    assert found.ahead("c", "a") == list(PAPER_METRICS)
    assert found.ahead("a", "b") == []


def test_a_case_without_a_value_is_left_out_of_the_mean():
    found = made_up({"a": [1, math.nan, 3]}, ["p", "q", "r"])
    assert found.mean("a", "EN") == 2
    assert all(math.isfinite(end) for end in found.interval("a", "EN"))


def test_a_method_without_a_value_is_the_last_and_the_best_of_the_others_is_bold(tmp_path):
    found = made_up({"none": [math.nan], "worse": [1], "best": [2]}, ["p"])
    assert [found.mean_rank(method) for method in ("best", "worse", "none")] == [1, 2, 3]
    table = write_tables(found, tmp_path, "A title")[0].read_text(encoding="utf-8")
    assert "| best | **2.000** |" in table
    assert "| worse | 1.000 |" in table
    assert "| **none** | nan |" in table


def test_in_the_paper_tables_a_row_without_a_value_is_the_last(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "studies"))
    from paper_tables import cells, mean_rank, row_of

    values = {"none": math.nan, "worse": 1.0, "best": 2.0}
    rows = {method: row_of(PAPER_METRICS, [[value] * 8]) for method, value in values.items()}
    assert [mean_rank(method, rows) for method in ("best", "worse", "none")] == [1, 2, 3]
    assert [cells(row, rows, ("<", ">"), "")[0] for row in rows.values()] == ["", "1.000", "<2.000>"]


def test_the_interval_draws_patients_not_images():
    # two patients of very many images: the means drawn are 0, 0.5 or 1 with chances of a quarter, a half and a quarter
    found = made_up({"a": [0.0] * 50 + [1.0] * 50}, ["p"] * 50 + ["q"] * 50)
    assert found.interval("a", "EN") == (0.0, 1.0)
    alone = made_up({"a": [0.0] * 50 + [1.0] * 50}, ["p"] * 100)
    lower, upper = alone.interval("a", "EN")  # of images: 0.5 give or take 1.96 * 0.05
    assert (lower, upper) == (pytest.approx(0.4, abs=0.02), pytest.approx(0.6, abs=0.02))


def test_how_sure_it_is_to_be_ahead_by_hand(tmp_path):
    # of the four equally likely draws of two patients, "q" twice alone puts b ahead; no value counts nothing
    found = made_up({"a": [3, 0, math.nan], "b": [1, 1, 0], "c": [0, -1, 0]}, ["p", "q", "q"])
    share = found.share_as_far_ahead("a", "b")
    assert share == pytest.approx(3 / 4, abs=0.03)
    assert found.share_as_far_ahead("a", "c") == 1
    assert found.share_as_far_ahead("b", "a") == 1  # no fewer than none
    table = write_tables(found, tmp_path, "A title")[0].read_text(encoding="utf-8")
    assert f"| 8 of 8 ({share:.0%}) |" in table
    assert "| 8 of 8 (100%) |" in table
    images = made_up({"a": [1.0] * 50 + [-1.0] * 49, "b": [0.0] * 99}, ["p"] * 99)  # drawn by image: about even
    assert 0.4 < images.share_as_far_ahead("a", "b") < 0.65


def test_the_interval_of_a_difference_is_paired():
    found = made_up({"a": [1, 11, 21], "b": [0, 10, 20]}, ["p", "q", "r"])
    assert found.interval_of_difference("a", "b", "EN") == (1.0, 1.0)
    lower, upper = found.interval("a", "EN")
    assert upper - lower > 10


def test_a_difference_is_of_the_cases_that_both_have_a_value_of(tmp_path):
    found = made_up({"a": [1, 11, 90], "b": [0, 10, math.nan], "c": [2, 12, 0]}, ["p", "q", "r"])
    assert found.difference("a", "b", "EN") == 1  # the difference of the means is 29
    assert "| b | +1.000 [+1.000, +1.000] |" in write_tables(found, tmp_path, "A title")[0].read_text(encoding="utf-8")
    assert found.mean("b", "EN") > found.mean("c", "EN")
    assert found.ahead("b", "c") == []
    assert found.ahead("c", "b") == list(PAPER_METRICS)
    nothing = made_up({"a": [1], "b": [math.nan]}, ["p"])
    assert math.isnan(nothing.difference("a", "b", "EN"))
    assert nothing.ahead("a", "b") == nothing.ahead("b", "a") == []


def test_patients_come_from_file_names(small_pairs):
    found = compare({"ours": small_pairs / "ours"}, small_pairs / "mr", small_pairs / "ct", modality_b="ct")
    assert found.patients == {"1001": "1", "1002": "1", "2001": "2", "2002": "2"}
    assert found.has_several_patients
    assert list(found.values) == ["ours", "Average", "Max"]
    assert found.mean("ours", "EN") == found.mean("Max", "EN")  # the method is the maximum


def test_a_missing_picture_and_a_wrong_size_are_named(small_pairs):
    (small_pairs / "ours" / "1002.png").unlink()
    with pytest.raises(InputError, match="lacks 1002"):
        compare({"ours": small_pairs / "ours"}, small_pairs / "mr", small_pairs / "ct")
    Image.fromarray(np.arange(63, dtype=np.uint8).reshape(9, 7)).save(small_pairs / "ours" / "1002.png")
    with pytest.raises(InputError, match=r"1002.png is 9 x 7 and its sources are 40 x 48"):
        compare({"ours": small_pairs / "ours"}, small_pairs / "mr", small_pairs / "ct")


@pytest.mark.parametrize("expression", ["no group", "(unclosed"])
def test_an_expression_that_names_no_patient_is_refused(expression, small_pairs):
    with pytest.raises(InputError, match="expression"):
        compare({"o": small_pairs / "ours"}, small_pairs / "mr", small_pairs / "ct", patient=expression)


def test_tables_hold_the_means_and_mark_the_best(tmp_path):
    found = made_up({"we_1": [1, 3], "they": [4, 4]}, ["p", "q"])
    markdown, latex, table, record = write_tables(found, tmp_path, "A title")
    rows = [line for line in markdown.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| they | **4.000** |")
    assert rows[1].endswith("| 1.00 | 0 of 8 |")
    assert rows[2].startswith("| **we_1** | 2.000 |")
    assert "we\\_1 & 2.000" in latex.read_text(encoding="utf-8")
    assert "\\textbf{4.000}" in latex.read_text(encoding="utf-8")
    cells = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(row["method"], row["case"], row["EN"]) for row in cells][:2] == [
        ("we_1", "case0", "1"),
        ("we_1", "case1", "3"),
    ]
    numbers = json.loads(record.read_text(encoding="utf-8"))
    assert numbers["mean"]["we_1"]["EN"] == 2
    assert numbers["ahead"] == {"they": {"metrics": [], "share": 1, "on content": []}}


def test_the_region_enlarged_is_where_both_sources_have_edges():
    import torch

    first, second = torch.zeros(1, 100, 100), torch.zeros(1, 100, 100)
    first[0, 10:20:2], second[0, 10:20, ::2] = 255.0, 0.0
    first[0, 70:80:2, 60:70], second[0, 70:80, 60:70:2] = 255.0, 255.0
    top, left, height, width = region_of_most_detail(first, second)
    assert top <= 70
    assert top + height >= 80
    assert left <= 60
    assert left + width >= 70


def test_the_whole_run_fuses_compares_and_draws(small_pairs):
    out = small_pairs / "out"
    seen = []
    table = run_quality(
        small_pairs / "mr",
        small_pairs / "ct",
        out,
        "ct",
        peers=small_pairs / "peers",
        task="task",
        progress=seen.append,
    )
    assert seen == ["S3IMFusion", "S3IMFusion", "theirs"]
    assert table.read_text(encoding="utf-8").count("| theirs |") == 5
    assert "other_task_only" not in table.read_text(encoding="utf-8")
    for name in ("radar.png", "boxes.png", "montage.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 300
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50
    assert len(list((out / "S3IMFusion").glob("*.png"))) == 4
