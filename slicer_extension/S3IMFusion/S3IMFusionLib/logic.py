"""Fuse volumes of a scene without a GUI: check the inputs, start the process, put the result into the scene.

From a script::

    from S3IMFusionLib.logic import FusionLogic
    from S3IMFusionLib.settings import FusionSettings

    fused = FusionLogic(slicer.mrmlScene).process(ct, mr, settings=FusionSettings(register="rigid"))
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from .checks import pair_of, problems_of_pair, reference_of, remarks_on, shown_window
from .color_bar import show_color_bar
from .errors import FusionError
from .i18n import _
from .process import Worker
from .registration import ROLE, frame_matrix, movement_of, placed, put_transform
from .result import Placement, in_whole_numbers, placement_on, put_fused
from .run import Fused, FusionRun, Pair
from .scene import Source, problems_of
from .sequences import frames_of, problems_of_sequences, put_sequence
from .settings import WINDOW_OF_DISPLAY, FusionSettings

DEFAULTS = FusionSettings()
BASE_BYTES = 620_000_000  # Python, torch and the weights; measured on the CPU, like the others: 576 MB when idle
BYTES_PER_PIXEL = 700  # of a slice in the network; measured: 630 to 690
BYTES_PER_VOXEL = 30  # of the volumes in transfer; measured: 27 to 30


class DeviceChoice(NamedTuple):
    """A device: name for the settings, label for the user, free memory in bytes (None: unknown)."""

    name: str
    label: str
    free: int | None


class FusionLogic:
    """Fuses volumes of one scene, one fusion at a time.

    Args:
        scene: the scene with the volumes and results.
        worker: the process that computes; None: a new one, started at first use.
        as_fractions: whether gray results are the library's float32 in [0, 1]; else whole numbers, round(10000 x),
            int16, which Slicer's DICOM export keeps.
    """

    def __init__(self, scene: Any, worker: Worker | None = None, as_fractions: bool = False) -> None:
        super().__init__()  # the next base class, Slicer's, if present
        self.scene = scene
        self.as_fractions = as_fractions
        self.worker = worker or Worker()
        self._run: FusionRun | None = None
        self._device_request = 0

    def check(self, source_a: Any, source_b: Any, settings: FusionSettings = DEFAULTS, output: Any = None) -> list[str]:
        """Problems that prevent fusing two volume nodes, in sentences; the scene is not changed.

        Args:
            source_a: volume node, or None.
            source_b: volume node, or None.
            settings: the settings.
            output: the node for the result, or None.
        """
        problems = problems_of(source_a, "A") + problems_of(source_b, "B")
        if source_a is not None and source_a is source_b:
            return [_("Volumes A and B are the same: choose two different volumes.")]
        if output is not None and output in (source_a, source_b):
            problems.append(
                _("The output, '{name}', is an input: choose another, or a new volume.").format(name=output.GetName())
            )
        if problems:
            return problems
        return problems_of_pair(*pair_of(source_a, source_b, settings), settings)

    def warnings(self, source_a: Any, source_b: Any, settings: FusionSettings = DEFAULTS) -> list[str]:
        """Cautions before two volume nodes are fused, in sentences; empty if :meth:`check` finds problems."""
        if self.check(source_a, source_b, settings):
            return []
        return remarks_on(pair_of(source_a, source_b, settings), settings)

    def start(self, source_a: Any, source_b: Any, output: Any = None, settings: FusionSettings = DEFAULTS) -> FusionRun:
        """Start to fuse two volume nodes, and return immediately.

        Args:
            source_a: volume node.
            source_b: volume node.
            output: node for the result; None, or a node that cannot hold it (gray for colour): a new node is created.
            settings: the settings.

        Returns:
            The run, for polling.

        Raises:
            FusionError: if :meth:`check` finds a problem, or a fusion is running.
        """
        self._check_idle()
        if problems := self.check(source_a, source_b, settings, output):
            raise FusionError(" ".join(problems))
        pair = pair_of(source_a, source_b, settings)
        reference = pair[reference_of(pair, settings)]
        placement = self._placement(reference, pair, source_a, source_b, settings)

        def into_scene(fused: Sequence[Fused]) -> Any:
            self._check_still_there(source_a, source_b, output)
            place = placement.with_record(fused[0].record)
            movement = movement_of(fused[0].record)
            former = output.GetNodeReference(ROLE) if output is not None else None
            if movement is not None:
                transform = put_transform(self.scene, movement, pair, place.folder, former)
                place = placed(place, reference, pair, transform)
            node = put_fused(self.scene, self._stored(fused[0].voxels), place, output)
            show_color_bar(node, fused[0].record.color_bar)
            return node

        return self._started([pair], settings, into_scene)

    def start_sequence(
        self, sequence_a: Any, source_b: Any, output: Any = None, settings: FusionSettings = DEFAULTS
    ) -> FusionRun:
        """Start to fuse every frame of a sequence with a volume, or with the same frame of another sequence.

        Args:
            sequence_a: sequence node of volumes.
            source_b: sequence node with as many frames, or a volume node.
            output: sequence node for the result; None: a new one.
            settings: the settings.

        Returns:
            The run, for polling; one progress for all frames.

        Raises:
            FusionError: if the inputs cannot be fused, the Sequences module is missing, or a fusion is running.
        """
        self._check_idle()
        if problems := problems_of_sequences(self.scene, sequence_a, source_b, output):
            raise FusionError(" ".join(problems))
        pairs = frames_of(self.scene, sequence_a, source_b, settings.modality_a, settings.modality_b)
        for number, pair in enumerate(pairs, start=1):
            if problems := problems_of_pair(*pair, settings):
                raise FusionError(_("Frame {number}: {problems}").format(number=number, problems=" ".join(problems)))
        chosen = reference_of(pairs[0], settings)
        placement = self._placement(pairs[0][chosen], pairs[0], sequence_a, source_b, settings)

        def into_scene(fused: Sequence[Fused]) -> Any:
            self._check_still_there(sequence_a, source_b, output)
            frames = [
                (self._stored(one.voxels), frame_matrix(one.record, pair[chosen], is_b=chosen == 1))
                for one, pair in zip(fused, pairs, strict=True)
            ]
            return put_sequence(self.scene, frames, placement.with_record(fused[0].record), sequence_a, output)

        run = self._started(pairs, settings, into_scene)
        if settings.register != "none":
            run.warnings.append(_("Each time point is registered separately: the fusion view shows B unregistered."))
        return run

    def process(
        self,
        source_a: Any,
        source_b: Any,
        output: Any = None,
        settings: FusionSettings = DEFAULTS,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        """Fuse two volume nodes and wait for the result.

        Args:
            source_a: volume node.
            source_b: volume node.
            output: as for :meth:`start`.
            settings: the settings.
            progress: called with the numbers of slices done and of all slices.
            cancelled: called often; the fusion is cancelled when it returns True.

        Returns:
            The node with the fused volume.

        Raises:
            FusionError: if the fusion cannot be started, or fails.
            FusionCancelledError: if it was cancelled.
        """
        return self.start(source_a, source_b, output, settings).wait(progress, cancelled)

    def ask_for_devices(self) -> None:
        """Request the devices from the process, which answers once it has loaded torch.

        Raises:
            FusionError: if a fusion is running, or the process cannot be started.
        """
        self._check_idle()
        self._device_request = self.worker.submit("devices")

    def devices_found(self) -> list[DeviceChoice] | None:
        """The available devices, ``auto`` first; None until the answer arrives.

        Raises:
            FusionError: if the process has ended, or cannot answer, for example because torch is not installed.
        """
        replies = [reply for reply in self.worker.replies() if reply["id"] == self._device_request]
        answer = next((reply for reply in replies if reply["event"] in {"done", "error"}), None)
        if answer is None:
            return None
        if answer["event"] == "error":
            raise FusionError(answer["message"])
        found = [DeviceChoice(**device) for device in answer["devices"]]
        best = next((device for device in found if device.name.startswith("cuda")), found[0])
        return [DeviceChoice("auto", _("Automatic: {device}").format(device=best.label), best.free), *found]

    @staticmethod
    def estimate_memory(shape: Sequence[int], slice_batch: int) -> int:
        """Approximate peak memory of the process during a fusion, in bytes.

        Args:
            shape: voxels of the reference along I, J, K.
            slice_batch: slices in one batch of the network.
        """
        i, j, k = sorted(shape)
        return BASE_BYTES + BYTES_PER_PIXEL * j * k * min(slice_batch, i) + BYTES_PER_VOXEL * i * j * k

    def forget(self) -> None:
        """Forget the last run and its result, unless it is still running."""
        if self._run is not None and self._run.state != "running":
            self._run = None

    def close(self) -> None:
        """Cancel a running fusion, and end the process."""
        if self._run is not None:
            self._run.cancel()
        self.worker.close()

    def _started(self, pairs: Sequence[Pair], settings: FusionSettings, into_scene: Any) -> FusionRun:
        values = asdict(settings)
        values.pop("modality_a")
        values.pop("modality_b")
        values["reference"] = "ab"[reference_of(pairs[0], settings)]
        if settings.window == WINDOW_OF_DISPLAY:
            values["window"] = shown_window(pairs[0])
        self._run = FusionRun(self.worker, pairs, values, into_scene)
        remarks = remarks_on(pairs[0], settings)
        self._run.log[:0], self._run.warnings[:0] = remarks, remarks
        return self._run

    def _placement(
        self, reference: Source, pair: Pair, node_a: Any, node_b: Any, settings: FusionSettings
    ) -> Placement:
        references = {"SourceA": node_a.GetID(), "SourceB": node_b.GetID()}
        attributes = {**references, "Settings": settings.as_json()}
        other = pair[0] if reference is pair[1] else pair[1]
        return placement_on(reference, other, f"{pair[0].name} + {pair[1].name} fused", attributes, references)

    def _stored(self, voxels: np.ndarray) -> np.ndarray:
        return voxels if self.as_fractions else in_whole_numbers(voxels)

    def _check_idle(self) -> None:
        if self._run is not None and self._run.state == "running":
            raise FusionError(_("A fusion is running: wait for it, or cancel it."))

    def _check_still_there(self, *nodes: Any) -> None:
        if any(node is not None and node.GetScene() is not self.scene for node in nodes):
            raise FusionError(_("a volume was removed from the scene while it was being fused: fuse again"))
