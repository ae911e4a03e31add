"""Make copied tags valid: values that violate the standard are corrected, emptied or left out."""

import re

import pydicom
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import validate_value

_VERBATIM = {"PatientName", "PatientID", "StudyInstanceUID", "SpecificCharacterSet"}
_UNPAIRED = frozenset(  # PS3.16 annex L: parts of the body without a left and a right one
    {"ABDOMEN", "ABDOMENPELVIS", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COCCYX", "COLON"}
    | {"CSPINE", "HEAD", "HEADNECK", "HEART", "JAW", "LIVER", "LSPINE", "LSSPINE", "MEDIASTINUM", "NECK", "PANCREAS"}
    | {"NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV", "NOSE", "PELVIS", "PROSTATE", "SKULL", "SPINE", "SPLEEN"}
    | {"SSPINE", "STERNUM", "STOMACH", "THYROID", "TLSPINE", "TONGUE", "TRACHEA", "TSPINE", "UTERUS", "WHOLEBODY"}
)
_OF_ANIMALS = ("PatientBreedDescription", "ResponsiblePerson", "ResponsibleOrganization", "PatientSexNeutered")
_CHARACTER_SET = re.compile(r"ISO[-_ ]?IR[-_ ]?([0-9]+)", re.IGNORECASE)


def make_valid(study: Dataset, never_absent: frozenset[str]) -> None:
    """Make the tags of patient, study and series that were copied from a source valid, in place.

    Patient name, patient ID and study UID stay unchanged, because archives sort by them.

    Args:
        study: the tags.
        never_absent: tags that are emptied instead of left out.
    """
    _correct_character_set(study)
    for element in list(study):
        name = element.keyword
        if name in _VERBATIM:
            continue
        if element.VR == "SQ":
            if not element.value:
                del study[name]
            continue
        if not _is_valid(element.VR, element.value) and not _is_corrected(element):
            if name in never_absent:
                setattr(study, name, None)
            else:
                del study[name]
    if study.get("PatientSex") not in {"M", "F", "O", "", None}:
        study.PatientSex = None
    if study.get("PatientIdentityRemoved") == "YES" and not (
        study.get("DeidentificationMethod") or study.get("DeidentificationMethodCodeSequence")
    ):
        study.DeidentificationMethod = "not stated by the source"
    _settle_laterality(study)
    _settle_animal(study)


def _correct_character_set(study: Dataset) -> None:
    """Correct the name of a misspelt character set; the bytes of the texts stay unchanged."""
    names = study.get("SpecificCharacterSet")
    if not names:
        study.pop("SpecificCharacterSet", None)
        return
    listed = [names] if isinstance(names, str) else list(names)
    corrected = [_CHARACTER_SET.sub(r"ISO_IR \1", str(name)) for name in listed]
    if all(_is_valid("CS", name) for name in corrected):
        study.SpecificCharacterSet = corrected[0] if len(corrected) == 1 else corrected
    else:
        del study.SpecificCharacterSet


def _is_valid(vr: str, value: object) -> bool:
    values = value if isinstance(value, list | pydicom.multival.MultiValue) else [value]
    try:
        for each in values:
            validate_value(vr, str(each) if vr in {"CS", "DA", "TM", "AS", "DS", "IS", "PN"} else each, config.RAISE)
    except (ValueError, TypeError):
        return values == [None]
    return True


def _is_corrected(element: pydicom.DataElement) -> bool:
    """Whether an old-style date or time, or lower-case text, could be rewritten to the standard."""
    text = str(element.value).strip()
    corrected = {"DA": text.replace(".", "").replace("-", ""), "TM": text.replace(":", ""), "CS": text.upper()}
    if element.VR not in corrected or not _is_valid(element.VR, corrected[element.VR]):
        return False
    element.value = corrected[element.VR]
    return True


def _settle_laterality(study: Dataset) -> None:
    """Add Laterality, if only empty, unless the body part is unpaired."""
    part = str(study.get("BodyPartExamined") or "")
    if not part:
        study.pop("BodyPartExamined", None)
    if part in _UNPAIRED:
        study.pop("Laterality", None)
    elif study.get("Laterality") not in {"L", "R"}:
        study.Laterality = None


def _settle_animal(study: Dataset) -> None:
    """Add the tags that the standard requires for an animal, at least empty."""
    if not (study.get("PatientSpeciesDescription") or study.get("PatientSpeciesCodeSequence")):
        return
    for name in _OF_ANIMALS:
        if name not in study:
            setattr(study, name, None)
    for name in ("PatientBreedCodeSequence", "BreedRegistrationSequence"):
        if name not in study:
            setattr(study, name, Sequence([]))
