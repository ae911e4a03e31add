"""Recognise the modality of an image from its sidecar, its name, then its folders.

DICOM's tag takes precedence over all of these, and the values come after them;
:class:`monai_s3im.transforms.NormalizeModality` has the full order. Every interface uses this module: the command,
Python, the bundle, 3D Slicer and the web page, so all recognise the same names. Nothing here imports torch.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_s3im.formats.paths import frame_of, isfile, stem_of_file, suffix_of

from .modalities import MODALITIES, Modality, known_modality, modality_of_dicom, modality_of_name, region_named

_MOST_FOLDERS = 4  # above a file: subject, session, kind of data, series
_LARGEST_SIDECAR = 2**20  # bytes
_CHANNEL = re.compile(r"_(\d{4})$")  # nnU-Net: case_0001 is the second channel
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+_")
_SPM_PREFIX = re.compile(r"^[swrmu]{1,4}(?=[A-Za-z])")  # smoothed, warped, resliced, bias-corrected, unwarped
_MOVED_ONTO = re.compile(r"(?i)(?:[_\-. ](?:to|in|on|onto|over|space)[_\-. ]|(?<=[a-z])2(?=[a-z])).*")
_FIELDS = {  # fields of BIDS sidecars without the modality
    "pet": ("TracerName", "TracerRadionuclide", "InjectedRadioactivity"),
    "mr": ("MagneticFieldStrength", "EchoTime", "RepetitionTime"),
    "ct": ("KVP", "CTDIvol"),
}


@dataclass(frozen=True)
class Recognised:
    """A recognised modality and its origin.

    Attributes:
        modality: the modality.
        by: ``"sidecar"``, ``"name"`` or ``"folder"``.
        text: the name of the file or folder it came from.
    """

    modality: Modality
    by: str
    text: str


def recognise(path: str | Path | None, partner: str | Path | None = None, name: str | None = None) -> Recognised | None:
    """Recognise the modality of an image; None if nothing names it, or words contradict each other.

    The first of these that names it is used:
        1. the suffix of a BIDS name: ``sub-01_ses-pet_T1w`` is MR;
        2. the JSON file next to it, as dcm2niix and BIDS write it; for a channel number of nnU-Net (``case_0001``) the
           ``channel_names`` of ``dataset.json``;
        3. words in its name (of ``pet_to_t1`` and ``ct2mr``, those before the target), or DICOM's code at its end
           (``case_PT``);
        4. words in the names of its folders, nearest first, except folders that also hold its partner.

    Args:
        path: a file, ``FILE#FRAME``, or the folder of a DICOM series; it need not exist. None: only a name is known.
        partner: the other image of the pair; None: only the immediate folder is used.
        name: the current name of the image, such as that of a node in 3D Slicer; None: that of the path.
    """
    file = frame_of(path)[0] if path is not None else None
    stem = name or (_stem(file) if file else "")
    found = _by_bids(stem)
    if found is None and file and (says := _by_sidecar(file) or _by_channel(file, stem)) is not None:
        return Recognised(says[0], "sidecar", says[1])
    if found is None:
        found = modality_of_name(stem) or modality_of_name(_MOVED_ONTO.sub("", stem)) or _by_code(stem)
        found = found or modality_of_name(_SPM_PREFIX.sub("", stem))
    if found is not None:
        return Recognised(found, "name", stem)
    for folder in _folders_of(file, partner) if file else ():
        if (found := known_modality(folder) or modality_of_name(folder)) is not None:
            return Recognised(found, "folder", folder)
    return None


def region_in_sidecar(path: str | Path) -> str | None:
    """``"head"`` or ``"body"``, if the JSON file next to an image names the body part."""
    content = _sidecar_of(frame_of(path)[0])
    texts = (content.get(name) for name in ("BodyPartExamined", "BodyPart", "SeriesDescription", "ProtocolName"))
    return next((region for text in texts if isinstance(text, str) and (region := region_named(text))), None)


def _stem(file: Path) -> str:
    return stem_of_file(file) if suffix_of(file) or isfile(file) else file.name


def _by_bids(stem: str) -> Modality | None:
    if not _SUBJECT.match(stem):
        return None
    suffix = stem.rpartition("_")[2]
    return next((modality for modality in MODALITIES.values() if suffix in modality.bids), None)


def _by_code(stem: str) -> Modality | None:
    """By DICOM's code at the end of a name; codes that are words, such as CT, count anywhere."""
    code = re.split(r"[_\-. ]", stem)[-1]
    found = modality_of_dicom(code) if code.isupper() else None
    return None if found is None or code in found.words else found


def _by_sidecar(file: Path) -> tuple[Modality, str] | None:
    content = _sidecar_of(file)
    text = str(content.get("Modality", ""))
    found = modality_of_dicom(text) or known_modality(text)
    if found is None:
        names = [name for name, keys in _FIELDS.items() if any(key in content for key in keys)]
        found = MODALITIES[names[0]] if len(names) == 1 else None
    return (found, f"{_stem(file)}.json") if found else None


def _by_channel(file: Path, stem: str) -> tuple[Modality, str] | None:
    """By nnU-Net's channel number and the list of channels in the folder above the images."""
    number = _CHANNEL.search(stem)
    if number is None:
        return None
    content = _json_of(file.parent.parent / "dataset.json")
    channels = content.get("channel_names") or content.get("modality")
    label = channels.get(str(int(number[1]))) if isinstance(channels, Mapping) else None
    found = (known_modality(label) or modality_of_name(label)) if isinstance(label, str) else None
    return (found, "dataset.json") if found else None


def _sidecar_of(file: Path) -> dict[str, Any]:
    """The content of the JSON file next to an image; empty if it is missing or is one of our records."""
    content = _json_of(file.with_name(f"{_stem(file)}.json")) if file.name else {}
    return {} if "fused_sha256" in content else content


def _json_of(file: Path) -> dict[str, Any]:
    try:
        if not isfile(file) or file.stat().st_size > _LARGEST_SIDECAR:
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _folders_of(file: Path, partner: str | Path | None) -> Iterator[str]:
    """The names of the folders above an image, nearest first, without those of its partner."""
    folders = file.absolute().parents
    if partner is None:
        yield from (folder.name for folder in folders[:1])
        return
    shared = set(frame_of(partner)[0].absolute().parents)
    yield from (folder.name for folder in folders[:_MOST_FOLDERS] if folder not in shared)
