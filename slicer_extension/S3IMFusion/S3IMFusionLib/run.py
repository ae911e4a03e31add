"""A running fusion in the other process, of one pair of volumes or many."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FusionCancelledError, FusionError
from .i18n import _
from .process import Worker
from .result import FusionRecord, read_nifti_voxels
from .scene import Source
from .settings import WINDOW_BY_CONTENT

Pair = tuple[Source, Source]
Import = Callable[[Sequence["Fused"]], Any]

_PAUSE_S = 0.02


@dataclass(frozen=True)
class Fused:
    """The voxels of a fused pair, (K, J, I) float32 in [0, 1] or (K, J, I, 3) uint8, and the library's record."""

    voxels: np.ndarray
    record: Any


class FusionRun:
    """A running fusion.

    Call :meth:`poll` often, say ten times a second; it returns immediately, and at the end puts the result into the
    scene. Until then the scene does not change.

    Attributes:
        state: ``"running"``, then ``"done"``, ``"failed"`` or ``"cancelled"``.
        progress: slices done and in total; (0, 0) until they are counted.
        error: the reason for a failure, in a sentence.
        log: the library's log, line by line; after a failure also the output of the process.
        warnings: cautions about the result, in sentences, without repetition.
        output_node: the fused volume or sequence, when done.
        seconds: time of the parts, summed over the pairs: ``"import"``, ``"set up"``, ``"fuse"`` in the process, and
            ``"into scene"``.

    Args:
        worker: the process, used by this run only.
        pairs: pairs to fuse.
        settings: of :class:`monai_s3im.pipeline.Fuser`.
        into_scene: puts the fused pairs into the scene and returns the node.
    """

    def __init__(self, worker: Worker, pairs: Sequence[Pair], settings: dict[str, Any], into_scene: Import) -> None:
        self.state = "running"
        self.progress = (0, 0)
        self.error: str | None = None
        self.log: list[str] = []
        self.warnings: list[str] = []
        self.output_node: Any = None
        self.seconds: dict[str, float] = {}
        self._worker = worker
        self._pairs = pairs
        self._settings = settings
        self._into_scene: Import | None = into_scene
        self._fused: list[Fused] = []
        self._folder: Path | None = None
        self._request = 0
        self._guarded(self._begin_pair)

    def poll(self) -> str:
        """Handle the replies received from the process.

        Returns:
            The state.
        """
        if self.state == "running":
            self._guarded(self._take_replies)
        return self.state

    def wait(
        self,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        """Poll until the end.

        Args:
            progress: called with the slices done and all slices.
            cancelled: returns whether to cancel.

        Returns:
            The output node.

        Raises:
            FusionError: if the fusion fails.
            FusionCancelledError: if it was cancelled.
        """
        told = self.progress
        while self.poll() == "running":
            if progress is not None and self.progress != told:
                told = self.progress
                progress(*told)
            if cancelled is not None and cancelled():
                self.cancel()
            time.sleep(_PAUSE_S)
        if self.state == "cancelled":
            raise FusionCancelledError(_("The fusion was cancelled."))
        if self.state == "failed":
            raise FusionError(self.error)
        if progress is not None and self.progress != told:
            progress(*self.progress)
        return self.output_node

    def cancel(self) -> None:
        """End the fusion and its process now; the scene is unchanged."""
        if self.state == "running":
            self._worker.close()
            self._end("cancelled")

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a step; an error ends the run but not the timer that polls it."""
        try:
            step()
        except FusionError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(
                _("the volumes cannot be passed to the fusion process ({reason}): free some disk space").format(
                    reason=error.strerror
                )
            )
        except Exception as error:  # noqa: BLE001
            self._fail(
                _("the fusion failed ({kind}: {reason}): look at the log").format(
                    kind=type(error).__name__, reason=error
                )
            )

    def _begin_pair(self) -> None:
        source_a, source_b = self._pairs[len(self._fused)]
        self._folder = self._worker.folder / "pair"
        self._folder.mkdir(exist_ok=True)
        a, b = source_a.write(self._folder / "a.npy"), source_b.write(self._folder / "b.npy")
        settings = dict(self._settings)
        if self._fused and settings["window"] == WINDOW_BY_CONTENT:  # use the first frame's window for all
            settings["window"] = _ct_range(self._fused[0].record) or settings["window"]
        colors = next((source.colors for source in (source_b, source_a) if source.colors is not None), None)
        if settings["color_map"] is None and colors is not None:
            settings["color_map"] = str(self._folder / "displayed.txt")
            np.savetxt(settings["color_map"], colors, fmt="%d")
        output = str(self._folder / "fused.nii")
        self._request = self._worker.submit("fuse", a=a, b=b, settings=settings, output=output)

    def _take_replies(self) -> None:
        for reply in self._worker.replies():
            if reply["id"] != self._request:
                continue
            if reply["event"] == "log":
                self.log.append(self._with_names(reply["text"]))
                self._warn([reply["text"]] if reply.get("is_warning") else [])
            elif reply["event"] == "progress":
                slices, pairs = reply["total"], len(self._pairs)
                self.progress = (len(self._fused) * slices + reply["done"], pairs * slices)
            elif reply["event"] == "error":
                raise FusionError(self._with_names(reply["message"]))
            elif reply["event"] == "done":
                self._take_fused(reply)

    def _take_fused(self, reply: dict[str, Any]) -> None:
        assert self._folder is not None  # noqa: S101
        record = FusionRecord.from_json(reply["record"])
        self._warn(record.warnings)
        self._fused.append(Fused(read_nifti_voxels(self._folder / "fused.nii"), record))
        for part, seconds in reply["seconds"].items():
            self.seconds[part] = self.seconds.get(part, 0.0) + seconds
        if len(self._fused) < len(self._pairs):
            self._begin_pair()
        else:
            assert self._into_scene is not None  # noqa: S101
            begin = time.perf_counter()
            self.output_node = self._into_scene(self._fused)
            self.seconds["into scene"] = time.perf_counter() - begin
            self._end("done")

    def _warn(self, texts: Iterable[str]) -> None:
        """Collect warnings, most of which are both in the library's log and in the record."""
        for text in map(self._with_names, texts):
            if text not in self.warnings:
                self.warnings.append(text)

    def _with_names(self, text: str) -> str:
        source_a, source_b = self._pairs[min(len(self._fused), len(self._pairs) - 1)]
        names = {"image_a": source_a.name, "image_b": source_b.name}
        text = re.sub(r" \(--[a-z- ]+( or \w+)?\)", "", text)  # options of the command
        return re.sub("image_[ab]", lambda found: f"'{names[found[0]]}'", text)

    def _fail(self, error: str) -> None:
        self.error = error
        self.log += self._worker.log.splitlines()
        self._end("failed")

    def _end(self, state: str) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._fused, self._pairs, self._into_scene = [], [], None  # frees the volumes when the scene is closed
        self.state = state


def _ct_range(record: Any) -> list[float] | None:
    sources = record.sources.values()
    return next((source.intensity_range for source in sources if source.ct_window is not None), None)
