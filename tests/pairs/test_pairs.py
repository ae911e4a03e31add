import json
from pathlib import Path

import pytest
from dicom_samples import series_of, stored_volume, write_slices

from monai_s3im.errors import InputError
from monai_s3im.pairs.lists import Pair, datalist_items, match_folders, read_pairs
from monai_s3im.recognition import recognise


def write_csv(folder, text, encoding="utf-8", name="pairs.csv"):
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def write_datalist(folder, content, name="datalist.json"):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_csv_gives_names_files_and_modalities(tmp_path):
    path = write_csv(tmp_path, "name,image_a,image_b,modality_a,modality_b\ncase 1,mr/1.nii,/data/ct.nii,MRI,CT\n")
    assert read_pairs(path) == [Pair("case 1", tmp_path / "mr/1.nii", Path("/data/ct.nii"), "mr", "ct")]


def test_pair_without_a_name_is_named_after_image_a(tmp_path):
    path = write_csv(tmp_path, "image_a,image_b\nmr/x.nii.gz,ct/y.nii.gz\n")
    assert read_pairs(path) == [Pair("x", tmp_path / "mr/x.nii.gz", tmp_path / "ct/y.nii.gz", None, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_make_of_a_csv_is_tolerated(tmp_path, encoding, newline, delimiter):
    lines = [
        "",
        " Name , IMAGE_A,image_b , modality_b",
        "",
        'é 1, "a b.png",c.png,  ',
        " ,,,",
        "2,d.png, e.png,pet",
        "",
    ]
    text = newline.join(lines).replace(",", delimiter)
    path = tmp_path / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    assert read_pairs(path) == [
        Pair("é 1", tmp_path / "a b.png", tmp_path / "c.png", None, None),
        Pair("2", tmp_path / "d.png", tmp_path / "e.png", None, "pet"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks the columns"),
        ("name,image_a\n1,a.png\n", "lacks the columns"),
        ("image_a,image_b,modalityb\na.png,b.png,ct\n", "unknown columns modalityb"),
        ("image_a,image_b\na.png\n", "row of 1 cells under 2 columns"),
        ("image_a,image_b\na.png,b.png,c.png\n", "row of 3 cells under 2 columns"),
        ("name,image_a,image_b\n1,a.png,\n", "without image_b"),
        ("image_a,image_b\n", "lists no pair"),
    ],
)
def test_csv_that_lacks_something_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as raised:
        read_pairs(write_csv(tmp_path, text))
    assert str(tmp_path / "pairs.csv") in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "name,image_a,image_b,,\nx,p1/T1.nii,p1/PET.nii,,\n",
        "name;image_a;image_b;;\nx;p1/T1.nii;p1/PET.nii;;\n;;;;\n",
        "sep=;\nname;image_a;image_b\nx;p1/T1.nii;p1/PET.nii\n",
        '"sep=\t"\nname\timage_a\timage_b\nx\tp1/T1.nii\tp1/PET.nii\n',
        'name,age,image_a,image_b,remark\nx,50,p1/T1.nii,p1/PET.nii,"good, old"\n',
        "name,image_a,image_b,image_c\nx,p1/T1.nii,p1/PET.nii,p1/CT.nii\n",
        "name,image_a,image_b,modality_a,age\nx,p1/T1.nii,p1/PET.nii\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_trailing_separators_and_other_columns_are_left_alone(tmp_path, text, encoding):
    path = write_csv(tmp_path, text, encoding)
    assert read_pairs(path) == [Pair("x", tmp_path / "p1/T1.nii", tmp_path / "p1/PET.nii")]


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt"])
def test_a_table_with_tabs_may_be_named_tsv(tmp_path, name):
    path = write_csv(tmp_path, "name\timage_a\timage_b\nx\ta.nii\tb.nii\n", name=name)
    assert read_pairs(path) == [Pair("x", tmp_path / "a.nii", tmp_path / "b.nii")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_a,image_b,\na,b.nii,c.nii\n", "row of 3 cells under 2 columns"),
        ("image_a,image_b,image_b\na.nii,b.nii,c.nii\n", "column image_b twice"),
        ("image_a,image_b,modalty_a\na.nii,b.nii,ct\n", "rename modalty_a to modality_a"),
    ],
)
def test_a_table_whose_columns_are_unclear_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_pairs(write_csv(tmp_path, text))


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (["p1/T1.nii,p1/PET.nii", "p2/T1.nii,p2/PET.nii"], ["p1_T1", "p2_T1"]),
        (["p1/anat/T1.nii,x.nii", "p2/anat/T1.nii,y.nii"], ["p1_anat_T1", "p2_anat_T1"]),
        (["/d/p1/T1.nii,/d/p1/PET.nii", "/d/p2/t1.nii,/d/p2/PET.nii"], ["p1_T1", "p2_t1"]),
        (["p1/T1.nii,p1/FDG.nii", "p1/T1.nii,p1/PIB.nii"], ["T1_FDG", "T1_PIB"]),
        (
            [f"p{number}/T1.nii,p{number}/{tracer}.nii" for number in "12" for tracer in ("FDG", "PIB")],
            ["p1_T1_FDG", "p1_T1_PIB", "p2_T1_FDG", "p2_T1_PIB"],
        ),
        (["a.nii,b.nii", "a.nii,b.nii"], ["a", "a"]),
    ],
)
@pytest.mark.parametrize("modality_b", ["", "pet"])
def test_pairs_without_names_are_distinguished_by_folder_or_image_b(tmp_path, rows, names, modality_b):
    lines = [f"{row},{modality_b}" for row in rows]
    path = write_csv(tmp_path, "\n".join(["image_a,image_b,modality_b", *lines]))
    assert [pair.name for pair in read_pairs(path)] == names


@pytest.mark.parametrize("text", ["T1w", "T1", "FLAIR", "T1 post", "MR T2"])
def test_a_weighting_names_the_modality(tmp_path, text):
    (pair,) = read_pairs(write_csv(tmp_path, f"image_a,image_b,modality_a,modality_b\na.nii,b.nii,{text},18F-FDG\n"))
    assert (pair.modality_a, pair.modality_b) == ("mr", "pet")


def test_csv_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00PK\x93")
    with pytest.raises(InputError, match="UTF-8"):
        read_pairs(tmp_path / "pairs.csv")


def test_csv_has_no_sections(tmp_path):
    with pytest.raises(InputError, match="no section 'validation'"):
        read_pairs(write_csv(tmp_path, "image_a,image_b\na.png,b.png\n"), section="validation")


DATALIST = {
    "modality": {"image_a": "MRI", "image_b": "SPECT"},
    "training": [{"image_a": "a/1.png", "image_b": "b/1.png"}, {"image_a": "a/2.png", "image_b": "b/2.png"}],
    "validation": [{"name": "last", "image_a": "a/3.png", "image_b": "b/3.png", "modality_b": "pet"}],
}


def test_datalist_gives_the_pairs_of_a_section(tmp_path):
    path = write_datalist(tmp_path, DATALIST)
    assert read_pairs(path, "training") == [
        Pair("1", tmp_path / "a/1.png", tmp_path / "b/1.png", "mr", "spect"),
        Pair("2", tmp_path / "a/2.png", tmp_path / "b/2.png", "mr", "spect"),
    ]
    assert read_pairs(path, "validation") == [Pair("last", tmp_path / "a/3.png", tmp_path / "b/3.png", "mr", "pet")]


def test_a_datalist_gives_all_sections_if_none_is_named(tmp_path):
    assert [pair.name for pair in read_pairs(write_datalist(tmp_path, DATALIST))] == ["1", "2", "last"]


def test_a_modality_that_the_list_does_not_name_is_left_to_the_pipeline(tmp_path):
    path = write_datalist(tmp_path, {"test": [{"image_a": "x/MRI/1.png", "image_b": "x/SPECT/1.png"}]})
    assert [(pair.modality_a, pair.modality_b) for pair in read_pairs(path)] == [(None, None)]


def test_names_that_would_clash_get_the_modality_of_image_b(tmp_path):
    items = [
        {"image_a": "ct/MRI/28005.png", "image_b": "ct/CT/28005.png"},
        {"image_a": "spect/MRI/28005.png", "image_b": "spect/SPECT/28005.png"},
        {"image_a": "ct/MRI/28006.png", "image_b": "ct/CT/28006.png"},
    ]
    names = [pair.name for pair in read_pairs(write_datalist(tmp_path, {"training": items}))]
    assert names == ["28005_ct", "28005_spect", "28006"]


def test_names_that_were_given_are_kept_even_if_they_clash(tmp_path):
    path = write_csv(tmp_path, "name,image_a,image_b,modality_b\nx,1.png,2.png,ct\nx,3.png,4.png,ct\n")
    assert [pair.name for pair in read_pairs(path)] == ["x", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "none of the sections"),
        ('{"pairs": []}', "none of the sections"),
        ('{"training": []}', "lists no pair"),
        ('{"training": ["a.png"]}', "without keys"),
        ('{"training": [{"image_a": "a.png"}]}', "without image_b"),
        ('{"training": [{"image_a": 1, "image_b": "b.png"}]}', "without image_a"),
    ],
)
def test_datalist_that_lacks_something_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as raised:
        read_pairs(write_csv(tmp_path, text, name="datalist.json"))
    assert str(tmp_path / "datalist.json") in str(raised.value)


@pytest.mark.parametrize("modality", ["modality", "channel_names"])
def test_two_images_in_one_list_are_a_pair_as_monai_has_them(tmp_path, modality):
    item = {"image": ["p1/T1.nii", "p1/PET.nii"], "label": "p1/seg.nii", "fold": 0}
    content = {modality: {"0": "T1", "1": "PET"}, "training": [item]}
    expected = [Pair("T1", tmp_path / "p1/T1.nii", tmp_path / "p1/PET.nii", "mr", "pet")]
    assert read_pairs(write_datalist(tmp_path, content)) == expected


@pytest.mark.parametrize("images", [["a.nii"], ["a.nii", "b.nii", "c.nii"]])
def test_another_number_of_images_is_refused_with_what_to_do(tmp_path, images):
    with pytest.raises(
        InputError, match=f"an item of {len(images)} images .* name the two to fuse image_a and image_b"
    ):
        read_pairs(write_datalist(tmp_path, {"training": [{"image": images}]}))


@pytest.mark.parametrize(("written", "asked"), [("testing", "test"), ("testing", "testing"), ("test", "testing")])
def test_testing_is_the_section_test(tmp_path, written, asked):
    content = {"val": DATALIST["training"], written: DATALIST["validation"]}
    path = write_datalist(tmp_path, content)
    assert [pair.name for pair in read_pairs(path, asked)] == ["last"]
    assert [pair.name for pair in read_pairs(path, "validation")] == ["1", "2"]
    assert [pair.name for pair in read_pairs(path)] == ["1", "2", "last"]


def test_section_that_is_missing_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match="no section 'test': use one of training, validation"):
        read_pairs(write_datalist(tmp_path, DATALIST), "test")


def test_folder_with_one_list_is_read(tmp_path):
    write_csv(tmp_path, "image_a,image_b\n1.png,2.png\n", name="mine.csv")
    assert [pair.name for pair in read_pairs(tmp_path)] == ["1"]


def test_pairs_csv_wins_over_other_lists(tmp_path):
    write_datalist(tmp_path, DATALIST)
    write_csv(tmp_path, "image_a,image_b\nx.png,2.png\n")
    assert [pair.name for pair in read_pairs(tmp_path)] == ["x"]


def test_folder_with_several_lists_is_refused_with_their_names(tmp_path):
    write_csv(tmp_path, "image_a,image_b\n1.png,2.png\n", name="one.csv")
    write_datalist(tmp_path, DATALIST, name="datalist_two.json")
    with pytest.raises(InputError, match=r"datalist_two\.json, one\.csv"):
        read_pairs(tmp_path)


def test_what_is_not_a_list_of_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no list of pairs: put a pairs\.csv"):
        read_pairs(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_pairs(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="is not a list of pairs"):
        read_pairs(tmp_path / "a.png")


def test_folders_are_matched_by_stem(tmp_path):
    touch(tmp_path / "mr", "2.nii.gz", "1.nii.gz", "only_mr.nii", ".hidden.nii", "notes.txt")
    touch(tmp_path / "ct", "1.nrrd", "2.nii", "only_ct.png")
    pairs, unpaired = match_folders(tmp_path / "mr", tmp_path / "ct", "mr", "ct")
    assert pairs == [
        Pair("1", tmp_path / "mr/1.nii.gz", tmp_path / "ct/1.nrrd", "mr", "ct"),
        Pair("2", tmp_path / "mr/2.nii.gz", tmp_path / "ct/2.nii", "mr", "ct"),
    ]
    assert unpaired == [tmp_path / "mr/only_mr.nii", tmp_path / "ct/only_ct.png"]


def test_folders_that_cannot_be_matched_are_refused(tmp_path):
    touch(tmp_path / "a", "1.png")
    touch(tmp_path / "b", "2.png")
    touch(tmp_path / "twice", "1.png", "1.tif")
    touch(tmp_path / "empty")
    for other, words in [
        ("b", "same name"),
        ("twice", r"1\.png and 1\.tif"),
        ("empty", "no image"),
        ("c", "not a folder"),
    ]:
        with pytest.raises(InputError, match=words) as raised:
            match_folders(tmp_path / "a", tmp_path / other)
        assert str(tmp_path / other) in str(raised.value)


def test_datalist_items_are_text_for_monai(tmp_path):
    pair = Pair("1", Path("a") / "1.png", Path("b") / "1.png", "mr", None)
    assert datalist_items([pair]) == [
        {
            "name": "1",
            "image_a": str(Path("a") / "1.png"),
            "image_b": str(Path("b") / "1.png"),
            "modality_a": "mr",
            "modality_b": None,
        }
    ]


@pytest.mark.parametrize(
    ("name", "training", "validation"),
    [("CT-MRI", 133, 16), ("SPECT-MRI", 246, 30), ("PET-MRI", 230, 27), ("CT+SPECT-MRI", 379, 46)],
)
def test_harvard_datalists_have_the_counts_of_their_table(shared_data, name, training, validation):
    path = shared_data / "data" / "harvard" / f"datalist_{name}.json"
    assert len(read_pairs(path, "training")) == training
    assert len(read_pairs(path, "validation")) == validation
    pairs = read_pairs(path)
    assert len({pair.name for pair in pairs}) == len(pairs) == training + validation
    assert {recognise(pair.image_a, pair.image_b).modality.name for pair in pairs} == {"mr"}
    assert {recognise(pair.image_b, pair.image_a).modality.name for pair in pairs} == set(
        name.lower().removesuffix("-mri").split("+")
    )


def test_names_from_a_list_do_not_depend_on_the_working_folder(tmp_path, monkeypatch):
    for uid in ("1.2.840.1", "1.2.840.2", "ct"):
        write_slices(tmp_path / uid, series_of(stored_volume()))
    (tmp_path / "pairs.csv").write_text("image_a,image_b\n1.2.840.1,ct\n1.2.840.2,ct")
    elsewhere = [pair.name for pair in read_pairs(tmp_path / "pairs.csv")]
    monkeypatch.chdir(tmp_path)
    assert elsewhere == [pair.name for pair in read_pairs("pairs.csv")] == ["1.2.840.1", "1.2.840.2"]
