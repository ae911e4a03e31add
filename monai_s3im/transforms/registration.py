"""Register the sources: an estimated or given movement changes the affine only, not the voxels."""

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.utils import TraceKeys
from numpy.typing import NDArray

from monai_s3im.errors import InputError
from monai_s3im.settings import REGISTRATIONS

from .mattes_information import MattesInformation, extent_of
from .meta import like, with_meta
from .movement import moved_by, ras_to_lps, read_movement
from .notes import REGISTRATION, with_note, with_warnings
from .registration_checks import overlap_faults, plausibility_faults, sharpness_faults, shift_of

logger = logging.getLogger(__name__)


class Register(Transform):
    """Register a volume to a reference by changing its affine, so it is interpolated only once.

    Args:
        kind: ``"rigid"`` or ``"affine"``: the movement of the largest mutual information, see
            :class:`MattesInformation`; ``"none"``: no movement, only the fields of view are checked.
        movement: (4, 4), from points of the reference to points of the image, RAS mm; applied instead of an estimate.

    Raises:
        InputError: if the kind is unknown.
    """

    def __init__(self, kind: str, movement: NDArray[np.float64] | None = None) -> None:
        if kind not in REGISTRATIONS:
            raise InputError(f"unknown registration {kind!r}: choose one of {', '.join(REGISTRATIONS)}")
        self.kind = kind if movement is None else "given"
        self.movement = movement

    def __call__(self, image: MetaTensor, reference: MetaTensor) -> MetaTensor:
        """Register.

        Args:
            image: (1 or 3, X, Y, Z), normalised, with affine, RAS mm.
            reference: in the same form.

        Returns:
            The same voxels. ``meta`` gains ``registration``: its ``kind``, the ``matrix_lps`` from the reference's
            points to the image's (LPS mm, as in a .tfm file), the ``mutual_information`` in nats, and ``faults``,
            reasons to doubt it, in sentences.
        """
        if self.kind == "none":
            faults = overlap_faults(reference, image)
            found = {"kind": "none", "matrix_lps": None, "mutual_information": None, "faults": faults}
            return like(image.as_tensor(), image, registration=found)
        information = MattesInformation(reference, image)
        movement = information.maximise(self.kind) if self.movement is None else self.movement
        moved = moved_by(movement, image)
        centre = np.asarray(reference.affine.cpu()) @ [*(np.array(reference.shape[1:]) - 1) / 2, 1.0]
        faults = [
            *overlap_faults(reference, moved),
            *plausibility_faults(movement, centre[:3], extent_of(reference)),
            *sharpness_faults(
                information, movement, shift_of(min(map(extent_of, (reference, image))), reference, image)
            ),
        ]
        moved.meta["registration"] = {
            "kind": self.kind,
            "matrix_lps": ras_to_lps(movement).tolist(),
            "mutual_information": information(movement),
            "faults": faults,
        }
        return moved


class RegisterSourcesd(MapTransform, InvertibleTransform):
    """Register each other source to the first, and warn of a pair that does not match.

    ``registration`` is added, a list with the result of :class:`Register` for each other source and the ``file`` of a
    given transform; and ``warnings``, a list of sentences; see :mod:`.notes`. Pictures are assumed to be registered.
    ``Invertd`` moves images on a moved source's grid back to its original position.

    Args:
        keys: sources, normalised.
        register: ``"none"``, ``"rigid"`` or ``"affine"``.
        transform: an ITK file, see :func:`read_movement`; applied instead of an estimate.

    Raises:
        InputError: if ``register`` is unknown, the file cannot be used, or registration of pictures is requested.
    """

    def __init__(self, keys: KeysCollection, register: str = "none", transform: str | Path | None = None) -> None:
        super().__init__(keys)
        self.transform = Path(transform) if transform else None
        self.register = Register(register, read_movement(self.transform) if self.transform else None)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Register."""
        result = {**data, **{key: with_meta(data[key]) for key in self.keys}}
        reference, *others = self.keys
        if any(result[key].ndim == 3 for key in self.keys):
            if self.register.kind != "none":
                raise InputError(
                    f"{_name(result, reference)} and {_name(result, others[0])} are not both volumes, and only volumes "
                    "can be registered: leave the registration out, or fuse the volumes that pictures are slices of; "
                    "docs/faq.md shows how to register pictures"
                )
            return result
        found: list[dict[str, Any]] = []
        warnings: list[str] = []
        for key in others:
            affine = result[key].affine.clone()
            moved = self.register(result[key], result[reference])
            told = moved.meta.pop("registration")
            is_moved = told["kind"] != "none"
            result[key] = self.push_transform(moved, extra_info={"affine": affine}) if is_moved else moved
            pair = f"{_name(result, reference)} and {_name(result, key)}"
            faults = [f"{pair} {fault}: look at the result before you use it" for fault in told.pop("faults")]
            for fault in faults:
                logger.warning("%s", fault)
            warnings += faults
            found.append({**told, "file": self.transform.name if self.transform else None})
        return with_warnings(with_note(result, REGISTRATION, found), warnings)

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the movement, for sources and for results that carry its trace."""
        result = dict(data)
        for key, image in data.items():
            if isinstance(image, MetaTensor) and any(map(self._transforms_match, image.applied_operations)):
                kept = like(image.as_tensor(), image)
                affine = torch.as_tensor(self.pop_transform(kept)[TraceKeys.EXTRA_INFO]["affine"])
                result[key] = like(kept.as_tensor(), kept, affine)
        return result


def _name(data: Mapping[Hashable, Any], key: Hashable) -> str:
    return Path(str(data[key].meta.get("filename_or_obj", key))).name
