"""The page offers the library's options, defaults and choices."""

from dataclasses import fields

import pytest
from s3im_web.choices import (
    CHOICES,
    MODALITIES,
    OWN_COLOURS,
    RANGES,
    ChoiceError,
    chosen_modality,
    chosen_movement,
    chosen_settings,
    default_of,
    offered,
)

from monai_s3im import modalities
from monai_s3im.settings import DEFAULTS, FusionSettings, choices_of

NOT_ON_THE_PAGE = {
    "device": "an option of the server",
    "weights": "a file on the server",
    "slice_batch": "chosen by the server",
    "spacing": "the grid is that of A or B",
    "register": "registration is a separate step, and its transform is used when fusing",
    "transform": "the one that the user accepted",
    "dicom": "a download link",
    "precision": "always float32",
    "deterministic": "for comparing files",
    "overwrite": "results are files of the session",
    "max_gib": "the server has its own limit",
}
ON_THE_PAGE = {option.name for option in fields(FusionSettings)} - NOT_ON_THE_PAGE.keys()


def test_every_option_of_the_library_is_on_the_page_or_has_a_reason_not_to_be() -> None:
    assert {*CHOICES, *RANGES, "gray"} == ON_THE_PAGE


@pytest.mark.parametrize("name", sorted(ON_THE_PAGE))
def test_defaults_and_choices_are_those_of_the_library(name: str) -> None:
    assert chosen_settings({})[name] == getattr(DEFAULTS, name)
    if choices_of(name):
        assert [item for item in CHOICES[name][1] if item != OWN_COLOURS] == list(choices_of(name))
    if name in CHOICES:
        assert default_of(name) in CHOICES[name][1]


def test_the_page_gets_every_setting() -> None:
    settings = offered()
    assert {each["name"] for each in (*settings["selects"], *settings["texts"])} | {"gray"} == ON_THE_PAGE


@pytest.mark.parametrize(("text", "meant"), [("", None), (" 0,6 ", "0,6")])
def test_a_range_on_the_page_applies_to_its_source(text: str, meant: str | None) -> None:
    chosen = chosen_settings({"range_b": text})
    assert (chosen["range_a"], chosen["range_b"]) == (None, meant)


@pytest.mark.parametrize("value", [None, 5, ["0", "6"], 41 * "1"])
def test_a_value_that_is_not_a_range_is_refused(value: object) -> None:
    with pytest.raises(ChoiceError, match="range_a cannot have this value: write two numbers, such as 0,6"):
        chosen_settings({"range_a": value})


def test_a_descending_range_is_refused_with_the_message_of_the_library() -> None:
    with pytest.raises(ChoiceError, match="unusable range '6,0': use LOWER,UPPER"):
        chosen_settings({"range_b": "6,0"})


@pytest.mark.parametrize("choices", [None, [], {"plane": "$import os"}, {"gray": "yes"}, {"window": ["brain"]}])
def test_what_the_page_does_not_offer_is_refused(choices: object) -> None:
    with pytest.raises(ChoiceError):
        chosen_settings(choices)


TURN = [[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -3.5], [0.0, 0.0, 0.0, 1.0]]


def test_a_movement_is_kept_unchanged() -> None:
    assert chosen_movement(TURN) == TURN


@pytest.mark.parametrize(
    "matrix",
    [
        None,
        "1",
        [[1]],
        TURN[:3],
        [*TURN[:3], [0, 0, 0, 2]],
        [[0, -1, 0, 1e4], *TURN[1:]],
        [[0, -1, 0, float("nan")], *TURN[1:]],
        [[0, 0, 0, 0], *TURN[1:]],
        [[0, -100, 0, 0], *TURN[1:]],
    ],
)
def test_a_matrix_that_is_not_a_movement_is_refused(matrix: object) -> None:
    with pytest.raises(ChoiceError, match="not a movement of B"):
        chosen_movement(matrix)


def test_the_modalities_are_those_of_the_table() -> None:
    of_volumes = [name for name in modalities.MODALITIES if name not in {"visible", "infrared"}]
    assert [item["value"] for item in MODALITIES] == [None, *of_volumes]
    with pytest.raises(ChoiceError, match="no such modality"):
        chosen_modality("xray")
