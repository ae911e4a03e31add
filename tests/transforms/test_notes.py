"""Notes about a pair pass MONAI's collation unchanged, unlike lists and None."""

import pytest
import torch
from monai.data import decollate_batch, list_data_collate

from monai_s3im.transforms.notes import PROVENANCE, REGISTRATION, WARNINGS, noted, with_note, with_warnings

NOTES = {
    PROVENANCE: {"image_a": {"file": None, "sha256": None, "intensity_range": [0.0, 1.5]}},
    REGISTRATION: [{"kind": "rigid", "matrix_lps": [[1.0, 0.0], [0.0, 1.0]], "file": None}],
    WARNINGS: [],
}


def through_a_batch(item):
    return decollate_batch(list_data_collate([{**item, "image": torch.zeros(2, 3)}]))[0]


def test_notes_pass_through_a_batch_unchanged():
    item = {}
    for name, content in NOTES.items():
        item = with_note(item, name, content)
    assert {name: noted(through_a_batch(item), name) for name in NOTES} == NOTES


@pytest.mark.parametrize("name", [PROVENANCE, REGISTRATION])
def test_what_is_not_text_is_refused_by_the_collation(name):
    with pytest.raises(TypeError, match="default_collate"):
        through_a_batch({name: NOTES[name]})


def test_an_empty_list_is_lost_in_a_batch():
    assert through_a_batch({WARNINGS: []}).get(WARNINGS) is None


def test_warnings_are_added_each_once():
    item = with_warnings(with_warnings({}, ["one", "two"]), ["two", "three"])
    assert noted(item, WARNINGS) == ["one", "two", "three"]
    assert noted({}, WARNINGS) == []
