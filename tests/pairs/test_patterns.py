import pytest
from dicom_samples import series_of, stored_volume, write_slices

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
    assert (
        "matches sub-3/sub-3_rec-a_ct.nii.gz, sub-3/sub-3_rec-b_ct.nii.gz equally well"
        in ambiguous["sub-3/sub-3_T1w.nii.gz"]
    )
    assert unpaired == []


def test_another_session_is_not_a_partner(tmp_path):
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
        ("**/*_T2w.nii.gz", "**/*_ct.nii.gz", "T2w.nii.gz' matches nothing under"),
        ("**/*.nii.gz", "**/*_ct.nii.gz", "both patterns match .*p1_ct.nii.gz: make them differ"),
        ("/abs/*.nii", "**/*_ct.nii.gz", "'/abs/\\*.nii' is not a pattern"),
        ("", "**/*_ct.nii.gz", "'' is not a pattern"),
        ("**/p1_T1w.nii.gz", "**/p2_ct.nii.gz", "nothing to pair under"),
    ],
)
def test_patterns_that_cannot_be_used_are_reported(tmp_path, pattern_a, pattern_b, words):
    root = a_tree(tmp_path, "p1/p1_T1w.nii.gz", "p1/p1_ct.nii.gz", "p2/p2_ct.nii.gz")
    with pytest.raises(InputError, match=words):
        match_patterns(root, pattern_a, pattern_b)


def test_a_missing_root_is_reported(tmp_path):
    with pytest.raises(InputError, match="none is not a folder"):
        match_patterns(tmp_path / "none", "*", "*")


LAYOUTS = {
    "a number for each modality, as nnU-Net has it": (
        ["case_{}_0000.nii.gz", "case_{}_0001.nii.gz"],
        "*_0000.nii.gz",
        "*_0001.nii.gz",
    ),
    "a word for each modality, as TNO has it": (["{}_Vis.png", "{}_IR.png"], "*_Vis.png", "*_IR.png"),
    "a word before the name": (["vis-{}.png", "ir-{}.png"], "vis-*.png", "ir-*.png"),
    "patient, then modality": (["p{}/CT/img.nii.gz", "p{}/PET/img.nii.gz"], "*/CT/*.nii.gz", "*/PET/*.nii.gz"),
    "modality, then patient": (["CT/p{}/img.nii.gz", "PET/p{}/img.nii.gz"], "CT/*/*.nii.gz", "PET/*/*.nii.gz"),
    "modality, then file": (["images/ct/{}.nii", "images/mr/{}.nii"], "**/ct/*.nii", "**/mr/*.nii"),
    "the modality in folder and name": (["p/CT/CT_{}.nii", "p/PET/PET_{}.nii"], "*/CT/*", "*/PET/*"),
    "other names in folders of a patient": (["p{}/mr/brain.nii", "p{}/pt/fdg.nii"], "*/mr/*", "*/pt/*"),
    "any depth": (["c{}/x/anat/T1.nii", "c{}/x/pet/PET.nii"], "**/T1.nii", "**/PET.nii"),
    "single letters": (["case{}a.png", "case{}b.png"], "case?a.png", "case[0-9]b.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_text_of_the_wildcards_makes_a_pair(tmp_path, layout):
    names, pattern_a, pattern_b = LAYOUTS[layout]
    root = a_tree(tmp_path, *[name.format(case) for name in names for case in (1, 2, 3)])
    pairs, ambiguous, unpaired = match(root, pattern_a, pattern_b)
    assert list(pairs.values()) == [(names[0].format(case), names[1].format(case)) for case in (1, 2, 3)]
    assert (ambiguous, unpaired) == ({}, [])


def test_pairs_are_named_after_what_the_wildcards_matched(tmp_path):
    root = a_tree(tmp_path, *[f"case_{case}_000{number}.nii" for case in "12" for number in "01"])
    assert list(match(root, "*_0000.nii", "*_0001.nii")[0]) == ["case_1", "case_2"]
    root = a_tree(tmp_path / "other", *[f"{folder}/p{case}/img.nii" for case in "12" for folder in ("CT", "PET")])
    assert list(match(root, "CT/*/*.nii", "PET/*/*.nii")[0]) == ["p1_img", "p2_img"]


@pytest.mark.parametrize("folder", ["", "imagesTr/"])
def test_a_case_that_lacks_a_modality_gets_that_of_no_other_case(tmp_path, folder):
    names = ["case_1_0000.nii", "case_2_0000.nii", "case_2_0001.nii", "case_3_0001.nii"]
    root = a_tree(tmp_path, *[folder + name for name in names])
    pairs, ambiguous, unpaired = match(root, f"{'**/' if folder else ''}*_0000.nii", "**/*_0001.nii")
    assert list(pairs.values()) == [(folder + names[1], folder + names[2])]
    assert (ambiguous, unpaired) == ({}, [folder + names[0], folder + names[3]])


def test_two_files_that_have_nothing_in_common_but_a_flat_folder_are_not_a_pair(tmp_path):
    root = a_tree(tmp_path, "anna_T1.nii", "berta_CT.nii")
    with pytest.raises(InputError, match="no two of 1 and 1 images match"):
        match_patterns(root, "*_T1.nii", "*_CT.nii")


def test_points_in_time_named_t1_and_t2_are_not_modalities(tmp_path):
    root = a_tree(tmp_path, "p/t1/ct/a.nii", "p/t2/pet/a.nii", "q/t1/ct/a.nii", "q/t1/pet/a.nii")
    pairs, _, unpaired = match(root, "**/ct/*.nii", "**/pet/*.nii")
    assert list(pairs.values()) == [("q/t1/ct/a.nii", "q/t1/pet/a.nii")]
    assert unpaired == ["p/t1/ct/a.nii", "p/t2/pet/a.nii"]


@pytest.mark.parametrize(
    ("mr", "pet"),
    [
        ("sub-1/ses-mri/anat/sub-1_ses-mri_T1w.nii.gz", "sub-1/ses-pet/pet/sub-1_ses-pet_pet.nii.gz"),
        ("sub-1/ses-mri01/anat/sub-1_ses-mri01_T1w.nii.gz", "sub-1/ses-pet01/pet/sub-1_ses-pet01_pet.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/ses-pet/pet/sub-1_ses-pet_pet.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/ses-1/pet/sub-1_ses-1_pet.nii.gz"),
        ("sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz", "sub-1/pet/sub-1_pet.nii.gz"),
    ],
)
def test_a_session_named_after_a_modality_or_only_in_one_image_separates_no_pair(tmp_path, mr, pet):
    assert list(match(a_tree(tmp_path, mr, pet), "**/*_T1w.nii.gz", "**/*_pet.nii.gz")[0].values()) == [(mr, pet)]


def test_sessions_that_the_patterns_name_are_paired(tmp_path):
    root = a_tree(tmp_path, "sub-1/ses-1/sub-1_ses-1_T1w.nii", "sub-1/ses-2/sub-1_ses-2_ct.nii")
    assert len(match(root, "**/*_ses-1_T1w.nii", "**/*_ses-2_ct.nii")[0]) == 1


@pytest.mark.parametrize("key", ["trc", "ses", "ce"])
def test_one_image_goes_with_each_of_several_tracers_or_sessions(tmp_path, key):
    root = a_tree(tmp_path, "sub-1/anat/sub-1_T1w.nii", *[f"sub-1/pet/sub-1_{key}-{name}_pet.nii" for name in "AB"])
    pairs, ambiguous, unpaired = match(root, "**/*_T1w.nii", "**/*_pet.nii")
    assert pairs == {
        f"sub-1_{key}-{name}": ("sub-1/anat/sub-1_T1w.nii", f"sub-1/pet/sub-1_{key}-{name}_pet.nii") for name in "AB"
    }
    assert (ambiguous, unpaired) == ({}, [])


def test_two_reconstructions_of_one_tracer_stay_undecided(tmp_path):
    names = ["trc-A_rec-1", "trc-A_rec-2", "trc-B"]
    root = a_tree(tmp_path, "sub-1/sub-1_T1w.nii", *[f"sub-1/sub-1_{name}_pet.nii" for name in names])
    pairs, _, _ = match(root, "**/*_T1w.nii", "**/*_pet.nii")
    assert list(pairs.values()) == [("sub-1/sub-1_T1w.nii", "sub-1/sub-1_trc-B_pet.nii")]


def test_an_index_with_a_leading_zero_is_the_same_index(tmp_path):
    names = ["run-01_T1w", "run-02_T1w", "run-1_ct", "run-2_ct"]
    root = a_tree(tmp_path, *[f"sub-1/sub-1_{name}.nii.gz" for name in names])
    assert [(a[-18:], b[-15:]) for a, b in match(root)[0].values()] == [
        ("_run-01_T1w.nii.gz", "run-1_ct.nii.gz"),
        ("_run-02_T1w.nii.gz", "run-2_ct.nii.gz"),
    ]


def test_files_that_are_not_images_are_ignored(tmp_path):
    names = [
        f"sub-1/{kind}/sub-1_{kind}{suffix}" for kind in ("T1w", "pet") for suffix in (".nii.gz", ".json", ".bval")
    ]
    pairs, ambiguous, unpaired = match(a_tree(tmp_path, *names), "**/*_T1w*", "**/*_pet*")
    assert list(pairs.values()) == [("sub-1/T1w/sub-1_T1w.nii.gz", "sub-1/pet/sub-1_pet.nii.gz")]
    assert (ambiguous, unpaired) == ({}, [])
    with pytest.raises(InputError, match=r"matches no image under .*, only other files such as sub-1_T1w\.json"):
        match_patterns(tmp_path, "**/*_T1w.json", "**/*_pet.nii.gz")


@pytest.mark.parametrize(("pattern_a", "pattern_b"), [("*/CT", "*/PET"), ("*/CT/*.dcm", "*/PET/*.dcm")])
def test_folders_of_dicom_series_are_paired_by_their_names_or_their_slices(tmp_path, pattern_a, pattern_b):
    for folder in ("p1/CT", "p1/PET", "p2/CT", "p2/PET"):
        write_slices(tmp_path / folder, series_of(stored_volume()))
    pairs, ambiguous, unpaired = match(tmp_path, pattern_a, pattern_b)
    assert pairs == {"p1": ("p1/CT", "p1/PET"), "p2": ("p2/CT", "p2/PET")}
    assert (ambiguous, unpaired) == ({}, [])
