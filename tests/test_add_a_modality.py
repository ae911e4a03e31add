"""The page on adding a modality: its entry and its test work as they are printed."""

import re
from pathlib import Path

import pytest
import torch

from monai_s3im import modalities
from monai_s3im.functional import intensity_range
from monai_s3im.pipeline import fuse

PAGE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "add_a_modality.md"
ENTRY, TEST = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def added(monkeypatch):
    """The modality of the page."""
    modality = eval(ENTRY, {"Modality": modalities.Modality})  # noqa: S307 (our own page)
    monkeypatch.setitem(modalities.MODALITIES, modality.name, modality)
    return modality


def test_the_test_of_the_page_fails_without_the_entry_and_passes_with_it(request):
    names = {"torch": torch, "intensity_range": intensity_range, **vars(modalities)}
    exec(TEST, names)  # noqa: S102 (our own page)
    test = next(value for name, value in names.items() if name.startswith("test_"))
    with pytest.raises(modalities.InputError, match="unknown modality"):
        test()
    request.getfixturevalue("added")
    test()


def test_each_argument_of_the_table_is_one_of_a_modality():
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert named == list(modalities.Modality.__dataclass_fields__)


def test_real_volumes_are_fused_with_it(added, shared_data):
    folder = shared_data / "data" / "volumes" / "pet_mr_template"
    fused = fuse(folder / "T1.nii", folder / "PET.nii", modality_a="mr", modality_b=added.name, spacing=6, device="cpu")
    assert fused.shape == (3, 30, 36, 30)
    assert (fused.amax(0) - fused.amin(0)).max() > 0.3
