"""Choose the weights of a pair by its modalities."""

import logging
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from monai_s3im.errors import InputError
from monai_s3im.modalities import MODALITIES, OWN_WEIGHTS, TASKS, task_of

from .notes import PROVENANCE, noted, with_warnings

logger = logging.getLogger(__name__)


class ChooseTaskd(Transform):
    """Add ``task``, the name of the task whose weights the pair gets.

    With several tasks, it follows from the pair's modalities in ``provenance``; with only one, that one is used. One of
    ``warnings`` (see :mod:`.notes`) says if nothing gave a modality, or if the one task does not match them.

    Args:
        tasks: names to choose from, see :func:`monai_s3im.modalities.task_weights`.
    """

    def __init__(self, tasks: Collection[str]) -> None:
        self.tasks = list(tasks)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Choose.

        Raises:
            InputError: if no task has this pair of modalities.
        """
        result = dict(data)
        sources = noted(result, PROVENANCE).values()
        names = [source["modality"] for source in sources]
        labels = " and ".join(MODALITIES[name].label for name in names)
        if len(self.tasks) > 1:
            task = task_of(names[0], names[1])
            unknown = dict.fromkeys(
                Path(str(source["file"])).name
                for source in sources
                if source.get("modality_from") == "nothing" and source["file"]
            )
            if unknown and task is not None:
                verb = "have" if len(unknown) > 1 else "has"
                result = _warned(
                    result,
                    f"{' and '.join(unknown)} {verb} no modality in header or name, so the weights are those of "
                    f"the task {task}: name the modalities (--modality-a, --modality-b)",
                )
            if task is None:
                raise InputError(
                    f"{labels} match no task: name the right modalities, or choose a task: {', '.join(TASKS)}"
                )
            return {**result, "task": task}
        task = self.tasks[0]
        if task != OWN_WEIGHTS and "generic" not in names and not TASKS[task].fits(names[0], names[1]):
            result = _warned(
                result,
                f"the pair is {labels}, and the weights are those of the task {task}: look at the result before you "
                "use it",
            )
        return {**result, "task": task}


def _warned(result: dict[Hashable, Any], warning: str) -> dict[Hashable, Any]:
    logger.warning("%s", warning)
    return with_warnings(result, [warning])
