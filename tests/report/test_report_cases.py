"""The states of cases, and summaries read back."""

import math

import pytest

from monai_s3im.batch.summary import CaseResult, Summary, read_summary
from monai_s3im.errors import InputError
from monai_s3im.report.cases import Distribution
from monai_s3im.report.strips import WIDTH, Strip

VALUES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 30.0)  # median 5, absolute deviations 0 1 1 2 2 3 3 4 25, MAD 2


def test_an_outlier_is_further_from_the_median_than_three_and_a_half_robust_deviations():
    distribution = Distribution(VALUES)
    edge = 3.5 * 2 / 0.6745
    assert [value for value in VALUES if distribution.is_outlier(value)] == [30.0]
    assert distribution.is_outlier(5 + edge + 1e-9)
    assert not distribution.is_outlier(5 + edge - 1e-9)
    assert distribution.is_outlier(5 - edge - 1e-9)


def test_a_far_value_does_not_hide_another():
    assert Distribution((*VALUES, 1e6)).is_outlier(30.0)


def test_few_values_have_no_outlier():
    assert not Distribution(VALUES[-7:]).is_outlier(1e9)


def test_values_of_which_most_are_equal_have_no_outlier():
    assert not Distribution((1.0,) * 8 + (2.0,)).is_outlier(2.0)


def test_a_strip_reaches_from_the_least_to_the_greatest_value():
    strip = Strip(Distribution((2.0, 4.0, 3.0)))
    assert (strip.place(2), strip.place(3), strip.place(4)) == (6, WIDTH / 2, WIDTH - 6)
    assert strip.ticks.count("M") == 3
    assert strip.box == (strip.place(2.5), strip.place(3.5))


def test_equal_values_are_in_the_middle_of_a_strip():
    strip = Strip(Distribution((2.0, 2.0)))
    assert strip.place(2) == WIDTH / 2
    assert strip.box == (WIDTH / 2, WIDTH / 2)


def test_a_summary_is_read_back_unchanged(tmp_path):
    results = [
        CaseResult("=1+1", "failed", "'-' is wrong, \"said\" a\nline", seconds=0.5),
        CaseResult(
            "case, 2",
            "fused",
            output=tmp_path / "case, 2.png",
            fused_sha256="0" * 64,
            warnings=("look",),
            seconds=1.25,
            metrics={"EN": 6.5, "VIF": -0.125},
        ),
        CaseResult("3", "skipped", output=tmp_path / "3.nii.gz", fused_sha256="1" * 64, metrics={"EN": math.nan}),
    ]
    summary = Summary(tmp_path, [result.name for result in results], metrics=True)
    for result in results:
        summary.add(result)
    summary.write()
    first, second, third = read_summary(tmp_path)
    assert (first, second) == (results[0], results[1])
    assert third == CaseResult("3", "skipped", output=tmp_path / "3.nii.gz", fused_sha256="1" * 64)


@pytest.mark.parametrize("output", ["../other.png", "/elsewhere/other.png"])
def test_an_output_is_looked_for_in_the_folder_only(tmp_path, output):
    row = f"one,fused,,,1.0,{output},00"
    (tmp_path / "summary.csv").write_text(f"name,status,error,warnings,seconds,output,fused_sha256\n{row}\n")
    assert read_summary(tmp_path)[0].output == tmp_path / "other.png"


@pytest.mark.parametrize(
    "row", ["one", "one,fused", "one,fused,,,,,", "one,fused,,,soon,one.png,00", "one,melted,,,1,,"]
)
def test_a_row_that_is_cut_short_or_odd_is_not_a_summary(tmp_path, row):
    (tmp_path / "summary.csv").write_text(f"name,status,error,warnings,seconds,output,fused_sha256\n{row}\n")
    with pytest.raises(InputError, match=r"summary.csv is not the summary of a batch"):
        read_summary(tmp_path)
