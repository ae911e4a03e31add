"""One fusion at a time in a session: waiting for its turn, its progress, its end."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from S3IMFusionLib.errors import FusionError
from S3IMFusionLib.logic import FusionLogic
from S3IMFusionLib.settings import FusionSettings
from slicer import vtkMRMLVolumeNode
from trame_server.state import State

from .page import CHOICES, MODALITIES, OWN_COLOURS, RANGES
from .session_settings import SessionSettings
from .sessions import BUSY_FILE
from .turns import Turn
from .volumes import record_of

POLL_SECONDS = 0.2
LONGEST_RANGE = 40  # letters


class ChoiceError(ValueError):
    """A choice that the page does not offer; the message is one sentence."""


def chosen_settings(state: State, device: str) -> FusionSettings:
    """The settings on the page; a browser can send anything, so each must be one that the page offers.

    Raises:
        ChoiceError: if one is not.
    """
    offered = {name: items for name, (_, items) in CHOICES.items()}
    offered["modality_a"] = offered["modality_b"] = [item["value"] for item in MODALITIES]
    offered["gray"] = [False, True]
    for name, items in offered.items():
        if state[name] not in items:
            raise ChoiceError(f"The setting {name} cannot have this value: choose one of the list.")
    values: dict[str, Any] = {name: state[name] for name in offered}
    for name in RANGES:
        text = state[name]
        if not isinstance(text, str) or len(text) > LONGEST_RANGE:
            raise ChoiceError(f"The setting {name} cannot have this value: write two numbers, such as 0,6.")
        values[name] = text.strip() or None
    values["color_map"] = None if values["color_map"] == OWN_COLOURS else values["color_map"]
    return FusionSettings(**values, device=device)


class Work:
    """Runs the fusions of a session and reports to the page.

    Args:
        logic: the logic that the Slicer module runs, too.
        state: the page's state.
        settings: of the session.
        on_fused: called with the fused volume.
    """

    def __init__(
        self,
        logic: FusionLogic,
        state: State,
        settings: SessionSettings,
        on_fused: Callable[[vtkMRMLVolumeNode], None],
    ) -> None:
        self._logic = logic
        self._state = state
        self._settings = settings
        self._on_fused = on_fused
        self._busy_file: Path = settings.folder / BUSY_FILE
        self._is_cancelled = False

    def prepare(self) -> None:
        """Let the process that computes load torch while the user still chooses."""
        with contextlib.suppress(FusionError):  # reported when it is asked to fuse
            self._logic.worker.start()

    def cancel(self) -> None:
        """Cancel the fusion that waits or runs."""
        self._is_cancelled = True

    async def fuse(self, source_a: vtkMRMLVolumeNode | None, source_b: vtkMRMLVolumeNode | None) -> None:
        """Fuse two volumes; the page shows what becomes of it."""
        if self._state.is_running:
            return
        try:
            settings = chosen_settings(self._state, self._settings.device)
        except (ChoiceError, ValueError) as error:
            self._tell(message=str(error))
            return
        problems = self._logic.check(source_a, source_b, settings)
        if problems:
            self._tell(message=" ".join(problems))
            return
        self._is_cancelled = False
        self._tell(message="", note="", is_running=True, progress=0, stage="Waiting for a free place")
        turn = Turn(self._settings.turns, self._settings.jobs)
        try:
            while not turn.take():
                await self._pause()
                if self._is_cancelled:
                    self._tell(note="Cancelled; nothing was changed.")
                    return
            await self._run(source_a, source_b, settings)
        finally:
            turn.give_back()
            self._tell(is_running=False)

    async def _run(self, source_a: Any, source_b: Any, settings: FusionSettings) -> None:
        self._tell(stage="Preparing")
        run = self._logic.start(source_a, source_b, None, settings)
        while run.poll() == "running":
            done, total = run.progress
            if total:
                self._tell(progress=round(100 * done / total), stage=f"Slice {done} of {total}")
            await self._pause()
            if self._is_cancelled:
                run.cancel()
        if run.state == "done":
            self._on_fused(run.output_node)
            self._tell(note=" ".join(_sentence(text) for text in record_of(run.output_node).warnings))
        elif run.state == "cancelled":
            self._tell(note="Cancelled; nothing was changed.")
        else:
            self._tell(message=_sentence(run.error or "the fusion failed"))

    async def _pause(self) -> None:
        self._busy_file.touch()  # the session is in use
        await asyncio.sleep(POLL_SECONDS)

    def _tell(self, **values: Any) -> None:
        with self._state:
            self._state.update(values)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
