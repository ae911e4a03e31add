"""Start a run from the panel's choices: volumes or their sequences, and the node for the result."""

from typing import Any

import slicer

from .i18n import _
from .logic import FusionLogic
from .parameters import FusionParameters, fusion_settings
from .result import is_result, is_result_of
from .run import FusionRun


def start_chosen(logic: FusionLogic, chosen: FusionParameters) -> FusionRun:
    """Start the chosen fusion; a result of other sources is not overwritten.

    Raises:
        FusionError: as :meth:`FusionLogic.start`.
    """
    settings = fusion_settings(chosen)
    sequence_a = sequence_of(chosen.source_a)
    if chosen.all_frames and sequence_a is not None:
        source_b = sequence_of(chosen.source_b) or chosen.source_b
        output = _output_of(sequence_of(chosen.fused), sequence_a, source_b)
        return logic.start_sequence(sequence_a, source_b, output, settings)
    output = (
        chosen.fused if sequence_of(chosen.fused) is None else None
    )  # a proxy node would lose it at the next time point
    output = _output_of(output, chosen.source_a, chosen.source_b)
    return logic.start(chosen.source_a, chosen.source_b, output, settings)


def problems_of_chosen(logic: FusionLogic, chosen: FusionParameters) -> list[str]:
    """Problems of the chosen fusion, in sentences."""
    return logic.check(chosen.source_a, chosen.source_b, fusion_settings(chosen), chosen.fused)


def memory_text(logic: FusionLogic, chosen: FusionParameters) -> str:
    """The approximate memory of the chosen fusion, in words; empty without a volume."""
    reference = chosen.source_b if chosen.reference.value == "b" else chosen.source_a
    if reference is None or reference.GetImageData() is None:
        return ""
    needed = logic.estimate_memory(reference.GetImageData().GetDimensions(), chosen.slice_batch)
    return _("Needs about {size} GB of memory.").format(size=f"{needed / 1e9:.1f}")


def sequence_of(node: Any) -> Any:
    """The sequence that a volume node plays; None if it plays none."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode") if node is not None else []
    return next((sequence for browser in browsers if (sequence := browser.GetSequenceNode(node))), None)


def _output_of(node: Any, source_a: Any, source_b: Any) -> Any:
    """The node to fill; None, for a new one, if it is the result of other sources."""
    return node if node is not None and (not is_result(node) or is_result_of(node, source_a, source_b)) else None


def is_image(node: Any) -> bool:
    """Whether a volume node can be chosen automatically: visible to the user, an image, and not empty."""
    is_hidden = bool(node.GetHideFromEditors())  # such as internal nodes of other modules
    return not is_hidden and not node.IsA("vtkMRMLLabelMapVolumeNode") and node.GetImageData() is not None
