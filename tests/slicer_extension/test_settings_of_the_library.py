"""The panel and scripts in Slicer have the library's options, with its defaults, and guess a modality as it does."""

from dataclasses import fields

import pytest

pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer-test]")

from recognition_cases import CASES
from S3IMFusionLib import appearance, settings

from monai_s3im import modalities
from monai_s3im.formats.paths import stem_of_file, suffix_of
from monai_s3im.settings import DEFAULTS
from monai_s3im.settings import FusionSettings as LibrarySettings

NOT_IN_SLICER = {
    "spacing": "the grid is that of a volume of the scene",
    "unit": "SUV takes the headers of a series, which a volume of the scene has not",
    "transform": "a transform of the scene is one above the volume",
    "dicom": "Slicer itself exports DICOM",
    "precision": "float32 on every device of a user",
    "deterministic": "for comparisons of files",
    "overwrite": "a result is a volume of the scene",
    "max_gib": "the volumes are in memory already",
}
OF_THE_PAIR = {"modality_a", "modality_b"}


def test_an_option_of_the_library_is_in_the_module_or_has_a_reason_not_to_be():
    of_the_library = {option.name for option in fields(LibrarySettings)}
    of_the_module = {option.name for option in fields(settings.FusionSettings)} - OF_THE_PAIR
    assert of_the_module == of_the_library - NOT_IN_SLICER.keys()


def test_the_defaults_are_those_of_the_library():
    own = settings.FusionSettings()
    values = {option.name: getattr(own, option.name) for option in fields(own)}
    assert {name: value for name, value in values.items() if value != getattr(DEFAULTS, name, None)} == {}


@pytest.mark.parametrize(
    ("name", "modality"),
    [("MRHead", "mr"), ("chris_t1", "mr"), ("sub-01_T2w", "mr"), ("pet 2", "pet"), ("FDG", "pet"), ("CTChest", "ct")],
)
def test_a_volume_is_guessed_from_its_name_as_the_library_guesses_a_file(add_volume, name, modality):
    import numpy as np

    volume = add_volume(name, np.zeros((2, 2, 2), dtype=np.float32), np.eye(4))
    assert appearance.guess_modality(volume) == modality == modalities.modality_of_name(name).name


@pytest.mark.parametrize(("path", "partner", "modality"), CASES.values(), ids=CASES.keys())
def test_a_volume_from_a_file_is_guessed_as_the_library_guesses_the_file(add_volume, path, partner, modality, tmp_path):
    """The node has the name that Slicer gives it: that of the file without its suffix."""
    import numpy as np

    nodes = []
    for name in (path, partner):
        file = tmp_path / name.partition("#")[0]
        title = stem_of_file(file) if suffix_of(file) else file.name.removesuffix(".dcm")
        node = add_volume(title, np.zeros((2, 2, 2), np.float32), np.eye(4))
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(file))
        nodes.append(node)
    assert appearance.guess_modality(*nodes) == modality


@pytest.mark.parametrize("code", modalities.DICOM_CODES)
def test_a_volume_is_guessed_from_its_dicom_code_as_the_library_guesses_a_series(add_volume, code):
    import numpy as np

    volume = add_volume("volume", np.zeros((2, 2, 2), dtype=np.float32), np.eye(4))
    volume.SetAttribute("DICOM.Modality", code)
    assert appearance.guess_modality(volume) == modalities.modality_of_dicom(code).name
