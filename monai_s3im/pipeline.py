"""Fuse one pair by the bundle's inference config."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Transform

from .bundle_config import bundle_parser
from .errors import InputError, own_errors
from .modalities import OWN_WEIGHTS
from .settings import FusionSettings
from .transforms import RegisterSourcesd

Progress = Callable[[str, int, int], None]
"""Called with the current step, the number of parts done and of all parts; 0 if they are not counted."""


def choose_device(device: str = "auto") -> str:
    """The device to compute on: for ``"auto"``, CUDA if available; else the one named.

    Raises:
        InputError: if the device is unknown or not available.
    """
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not available: use auto or cpu") from error
    return device


@contextmanager
def _errors_of(device: str) -> Iterator[None]:
    """Re-raise our own errors, and turn out-of-memory errors of a device into one of them."""
    try:
        with own_errors():
            yield
    except (MemoryError, RuntimeError) as error:
        is_full = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not is_full:
            raise
        raise InputError(
            f"the images do not fit into the memory of {device}: crop or resample them, or use another device"
        ) from error


class _Step(Transform):
    """Reports progress and passes the data on unchanged."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def __call__(self, data: Any) -> Any:
        self._tell()
        return data


def _with_step_before(pipeline: Compose, kind: type[Transform], step: Transform) -> Compose:
    at = pipeline.get_index_of_first(lambda transform: isinstance(transform, kind))
    transforms = list(pipeline.transforms)
    return Compose([*transforms[:at], step, *transforms[at:]])


class Fuser:
    """The pipeline of the bundle's inference config, set up once for many pairs.

    Args:
        settings: the settings; None: the defaults.
        progress: called with the current step, the number of parts done and of all parts. Steps are ``"reading"``,
            ``"registering"`` (``"aligning"`` if no movement is estimated), ``"fusing"``, with the slices of a volume,
            and ``"writing"``; the other steps have 0 of 0.
        **options: settings by name, see :class:`monai_s3im.settings.FusionSettings`; they override ``settings``.

    Raises:
        InputError: if a setting cannot be used.
    """

    def __init__(
        self,
        settings: FusionSettings | None = None,
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        self.settings = replace(settings or FusionSettings(), **options)
        self._device = choose_device(self.settings.device)
        parser = bundle_parser("inference", **_overrides(self.settings), device=self._device, output_dir=".")
        with _errors_of(self._device):
            self._network = parser.get_parsed_content("task_networks")
            self._preprocessing = parser.get_parsed_content("preprocessing")
            self._inferer = parser.get_parsed_content("inferer")
            self._restoring = parser.get_parsed_content("restoring")
            self._saving = parser.get_parsed_content("saving")
        self._progress = progress
        if progress is not None:
            self._inferer.progress = partial(progress, "fusing")
            is_estimated = self.settings.register != "none" and self.settings.transform is None
            step = _Step(partial(self._tell, "registering" if is_estimated else "aligning"))
            self._preprocessing = _with_step_before(self._preprocessing, RegisterSourcesd, step)

    def _tell(self, step: str) -> None:
        if self._progress is not None:
            self._progress(step, 0, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process is set up again from the settings, without ``progress``."""
        return type(self), (self.settings,)

    @property
    def dicom(self) -> bool:
        """Whether the outputs are DICOM series."""
        return self.settings.dicom

    @property
    def max_gib(self) -> float:
        """Maximum memory in GiB for one image."""
        return self.settings.max_gib

    @property
    def device_asked(self) -> str:
        """The requested device; ``"auto"`` leaves the choice to each process."""
        return self.settings.device

    @property
    def record_settings(self) -> dict[str, Any]:
        """The common part of every record: versions and settings."""
        settings = {name: value for name, value in self._saving.settings.items() if name != "weights"}
        return dict(json.loads(json.dumps(settings)))

    @property
    def weights_sha256(self) -> dict[str | None, str]:
        """The SHA256 of the weights of each possible task; the user's own weights have the task None."""
        weights = self._saving.settings["weights"].items()
        return {None if task == OWN_WEIGHTS else task: file["sha256"] for task, file in weights}

    def __call__(
        self,
        image_a: str | Path | MetaTensor,
        image_b: str | Path | MetaTensor,
        output: str | Path | None = None,
        modality_a: str | None = None,
        modality_b: str | None = None,
        *,
        overwrite: bool = False,
    ) -> MetaTensor:
        """Fuse one pair; see :func:`fuse`, and for ``overwrite`` :class:`monai_s3im.settings.FusionSettings`."""
        self._tell("reading")
        item: dict[str, Any] = {"image_a": image_a, "image_b": image_b, "overwrite": overwrite}
        item |= {"modality_a": modality_a, "modality_b": modality_b}
        item["output"] = None if output is None else str(output)
        with _errors_of(self._device), torch.no_grad():
            item = self._preprocessing(item)
            batch = item["image"].as_tensor()[None]  # (1, sources, ...)
            self._tell("fusing")
            item["pred"] = self._inferer(batch, self._network, task=item["task"])[0]
            item["fused_by"] = item["task"]
            del batch
            restored = self._restoring(item)  # frees the memory it no longer needs
            fused: MetaTensor = restored["pred"].cpu()
            if output is not None:
                self._tell("writing")
                self._saving({**restored, "pred": fused})
        return fused


def _overrides(settings: FusionSettings) -> dict[str, Any]:
    """The settings as values of the inference config, without the device."""
    values = settings.as_dict()
    del values["device"]
    values["ckpt_path"] = values.pop("weights")
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def fuse(
    image_a: str | Path | MetaTensor,
    image_b: str | Path | MetaTensor,
    output: str | Path | None = None,
    settings: FusionSettings | None = None,
    *,
    modality_a: str | None = None,
    modality_b: str | None = None,
    **options: Any,
) -> MetaTensor:
    """Fuse two images into one.

    Args:
        image_a: path, or a tensor: (C, X, Y, Z) with affine (RAS mm) in the modality's unit, or (C, H, W) in [0, 1].
            The result has its grid unless ``reference`` says otherwise. For pictures, the anatomical or visible one.
        image_b: the same; volumes are resampled onto the result's grid.
        output: file to write (.png; .nii.gz, .nii, .nrrd, .mha), or with ``dicom=True`` the folder of a series; a JSON
            file next to it records how it was made.
        settings: the settings; None: the defaults.
        modality_a: a name of :data:`monai_s3im.modalities.MODALITIES`; guessed if None.
        modality_b: the same for ``image_b``.
        **options: settings by name, see :class:`monai_s3im.settings.FusionSettings`; they override ``settings``.

    Returns:
        The fused image in [0, 1], (1 or 3, ...) in the grid and array order of the reference, on the CPU.

    Raises:
        InputError: if an image cannot be used; the message names it and the remedy.
        OutputError: if the output cannot be written.
    """
    return Fuser(settings, **options)(image_a, image_b, output, modality_a, modality_b)
