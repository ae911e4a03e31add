import pytest

from monai_s3im.errors import InputError
from monai_s3im.pairs.patterns import match_patterns


def a_tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def match(root, pattern_a="**/*_T1w.nii.gz", pattern_b="**/*_ct.nii.gz"):
    found = match_patterns(root, pattern_a, pattern_b, "mr", "ct")
    pairs = {
        pair.name: (str(pair.image_a.relative_to(root)), str(pair.image_b.relative_to(root))) for pair in found.pairs
    }
    return pairs, found.ambiguous, [str(path.relative_to(root)) for path in found.unpaired]


def test_a_bids_tree_is_paired_by_subject_and_session(tmp_path):
    files = [
        f"sub-{sub}/ses-{ses}/{folder}/sub-{sub}_ses-{ses}_{suffix}.nii.gz"
        for sub in ("01", "02")
        for ses in ("1", "2")
        for folder, suffix in (("anat", "T1w"), ("ct", "ct"))
    ]
    pairs, ambiguous, unpaired = match(a_tree(tmp_path, *files, "sub-01/ses-1/pet/sub-01_ses-1_pet.nii.gz"))
    assert pairs == {
        f"sub-{sub}_ses-{ses}": (
            f"sub-{sub}/ses-{ses}/anat/sub-{sub}_ses-{ses}_T1w.nii.gz",
            f"sub-{sub}/ses-{ses}/ct/sub-{sub}_ses-{ses}_ct.nii.gz",
        )
        for sub in ("01", "02")
        for ses in ("1", "2")
    }
    assert ambiguous == {}
    assert unpaired == []


def test_the_longest_common_set_of_entities_decides(tmp_path):
    root = a_tree(
        tmp_path,
        "sub-1/sub-1_run-1_acq-fine_T1w.nii.gz",
        "sub-1/sub-1_run-2_acq-fine_T1w.nii.gz",
        "sub-1/sub-1_run-1_ct.nii.gz",
        "sub-1/sub-1_run-2_acq-bone_ct.nii.gz",
    )
    assert match(root) == (
        {
            "sub-1_run-1": ("sub-1/sub-1_run-1_acq-fine_T1w.nii.gz", "sub-1/sub-1_run-1_ct.nii.gz"),
            "sub-1_run-2": ("sub-1/sub-1_run-2_acq-fine_T1w.nii.gz", "sub-1/sub-1_run-2_acq-bone_ct.nii.gz"),
        },
        {},
        [],
    )


def test_among_equal_entities_the_same_folder_decides(tmp_path):
    root = a_tree(
        tmp_path, "sub-1/x/a_T1w.nii.gz", "sub-1/x/b_ct.nii.gz", "sub-1/y/a_T1w.nii.gz", "sub-1/y/b_ct.nii.gz"
    )
    pairs, ambiguous, unpaired = match(root)
    assert pairs == {
        "sub-1_x_a_T1w": ("sub-1/x/a_T1w.nii.gz", "sub-1/x/b_ct.nii.gz"),
        "sub-1_y_a_T1w": ("sub-1/y/a_T1w.nii.gz", "sub-1/y/b_ct.nii.gz"),
    }
    assert (ambiguous, unpaired) == ({}, [])


def test_what_fits_several_alike_is_listed_and_not_guessed(tmp_path):
    root = a_tree(
        tmp_path,
        "sub-1/sub-1_run-1_T1w.nii.gz",
        "sub-1/sub-1_run-2_T1w.nii.gz",
        "sub-1/sub-1_ct.nii.gz",
        "sub-2/sub-2_T1w.nii.gz",
        "sub-2/sub-2_ct.nii.gz",
        "sub-3/sub-3_T1w.nii.gz",
        "sub-3/sub-3_rec-a_ct.nii.gz",
        "sub-3/sub-3_rec-b_ct.nii.gz",
    )
    pairs, ambiguous, unpaired = match(root)
    assert list(pairs) == ["sub-2"]
    assert list(ambiguous) == [
        "sub-1/sub-1_run-1_T1w.nii.gz",
        "sub-1/sub-1_run-2_T1w.nii.gz",
        "sub-3/sub-3_T1w.nii.gz",
    ]
    assert "fits sub-3/sub-3_rec-a_ct.nii.gz, sub-3/sub-3_rec-b_ct.nii.gz alike" in ambiguous["sub-3/sub-3_T1w.nii.gz"]
    assert unpaired == []


def test_another_session_is_no_partner(tmp_path):
    root = a_tree(tmp_path, "sub-1_ses-1_T1w.nii.gz", "sub-1_ses-2_ct.nii.gz", "sub-2_T1w.nii.gz", "sub-2_ct.nii.gz")
    pairs, ambiguous, unpaired = match(root)
    assert list(pairs) == ["sub-2"]
    assert ambiguous == {}
    assert unpaired == ["sub-1_ses-1_T1w.nii.gz", "sub-1_ses-2_ct.nii.gz"]


def test_without_entities_the_folder_makes_and_names_the_pair(tmp_path):
    root = a_tree(tmp_path, "p1/mr.nii", "p1/ct.nii", "p2/scan/mr.nii", "p2/scan/ct.nii", "p3/mr.nii", "p4/ct.nii")
    pairs, _, unpaired = match(root, "**/mr.nii", "**/ct.nii")
    assert pairs == {"p1": ("p1/mr.nii", "p1/ct.nii"), "p2_scan": ("p2/scan/mr.nii", "p2/scan/ct.nii")}
    assert unpaired == ["p3/mr.nii", "p4/ct.nii"]


def test_hidden_files_are_left_out(tmp_path):
    root = a_tree(tmp_path, "p1/a_T1w.nii.gz", "p1/a_ct.nii.gz", ".trash/a_T1w.nii.gz", "p1/._a_ct.nii.gz")
    assert list(match(root)[0]) == ["p1"]


@pytest.mark.parametrize(
    ("pattern_a", "pattern_b", "words"),
    [
        ("**/*_T2w.nii.gz", "**/*_ct.nii.gz", "T2w.nii.gz' finds nothing under"),
        ("**/*.nii.gz", "**/*_ct.nii.gz", "both patterns find .*p1_ct.nii.gz: make them differ"),
        ("/abs/*.nii", "**/*_ct.nii.gz", "'/abs/\\*.nii' is no pattern"),
        ("", "**/*_ct.nii.gz", "'' is no pattern"),
        ("**/p1_T1w.nii.gz", "**/p2_ct.nii.gz", "nothing to pair under"),
    ],
)
def test_patterns_that_cannot_be_used_are_told(tmp_path, pattern_a, pattern_b, words):
    root = a_tree(tmp_path, "p1/p1_T1w.nii.gz", "p1/p1_ct.nii.gz", "p2/p2_ct.nii.gz")
    with pytest.raises(InputError, match=words):
        match_patterns(root, pattern_a, pattern_b)


def test_a_missing_root_is_told(tmp_path):
    with pytest.raises(InputError, match="none is no folder"):
        match_patterns(tmp_path / "none", "*", "*")
