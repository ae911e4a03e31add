"""The page has the library's options, with its defaults and its choices."""

from dataclasses import fields

import pytest
from s3im_web.page import CHOICES, MODALITIES, OWN_COLOURS, RANGES, STATE
from s3im_web.work import ChoiceError, chosen_settings

from monai_s3im import modalities
from monai_s3im.settings import DEFAULTS, FusionSettings, choices_of

NOT_ON_THE_PAGE = {
    "device": "the server's",
    "weights": "a file of the server",
    "slice_batch": "the server's",
    "spacing": "the grid is that of a volume",
    "unit": "SUV takes the headers of a series, and the page has volumes of a scene",
    "transform": "a file of the server",
    "dicom": "the page saves NRRD and NIfTI",
    "precision": "float32",
    "deterministic": "for comparisons of files",
    "overwrite": "a result is a volume of the scene",
    "max_gib": "the server has a limit of its own",
}
ON_THE_PAGE = {option.name for option in fields(FusionSettings)} - NOT_ON_THE_PAGE.keys()


def test_an_option_of_the_library_is_on_the_page_or_has_a_reason_not_to_be() -> None:
    assert {*CHOICES, *RANGES, "gray"} == ON_THE_PAGE


@pytest.mark.parametrize("name", sorted(ON_THE_PAGE))
def test_defaults_and_choices_are_those_of_the_library(name: str) -> None:
    default = getattr(DEFAULTS, name)
    shown = {"color_map": OWN_COLOURS, **dict.fromkeys(RANGES, "")}  # for None
    assert STATE[name] == shown.get(name, default)
    assert (default is None) == (name in shown)
    if choices_of(name):
        assert [item for item in CHOICES[name][1] if item != shown.get(name)] == list(choices_of(name))
    assert name not in CHOICES or STATE[name] in CHOICES[name][1]


@pytest.mark.parametrize(("text", "meant"), [("", None), (" 0,6 ", "0,6")])
def test_a_range_on_the_page_is_that_of_the_source(text: str, meant: str | None) -> None:
    chosen = chosen_settings({**STATE, "range_b": text}, "cpu")
    assert (chosen.range_a, chosen.range_b) == (None, meant)


@pytest.mark.parametrize("value", [None, 5, ["0", "6"], 41 * "1"])
def test_what_is_no_text_of_a_range_is_refused(value: object) -> None:
    with pytest.raises(ChoiceError, match="range_a cannot have this value: write two numbers, such as 0,6"):
        chosen_settings({**STATE, "range_a": value}, "cpu")


def test_the_modalities_are_those_of_the_table() -> None:
    of_volumes = [name for name in modalities.MODALITIES if name not in {"visible", "infrared"}]
    assert [item["value"] for item in MODALITIES] == [None, *of_volumes]
