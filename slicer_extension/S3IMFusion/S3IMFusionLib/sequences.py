"""Sequences of volumes (4D): their frames as sources, and the fused frames as a synchronised sequence."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .appearance import modality_said
from .i18n import _
from .result import (
    Placement,
    describe_node,
    fill_node,
    image_of,
    note_scale,
    put_under,
    show_full_range,
    volume_class_of,
)
from .scene import Source, problems_of, source_of
from .study import put_into_study


def problems_of_sequences(scene: Any, sequence_a: Any, source_b: Any, output: Any = None) -> list[str]:
    """Problems that prevent fusing a sequence with a sequence or a volume, in sentences.

    Args:
        scene: the scene.
        sequence_a: sequence node, or None.
        source_b: sequence or volume node, or None.
        output: sequence node for the result, or None.
    """
    if _new_node(scene, "vtkMRMLSequenceBrowserNode") is None:
        return [_("Sequences cannot be fused here: Slicer's Sequences module is missing.")]
    if sequence_a is None or not sequence_a.IsA("vtkMRMLSequenceNode"):
        return [_("Choose a sequence of volumes as A.")]
    if sequence_a is source_b or (output is not None and output in (sequence_a, source_b)):
        return [_("The same node is chosen twice: choose different ones.")]
    problems = _problems_of_frames(scene, sequence_a, "A")
    if source_b is not None and source_b.IsA("vtkMRMLSequenceNode"):
        problems += _problems_of_frames(scene, source_b, "B")
        count_a, count_b = sequence_a.GetNumberOfDataNodes(), source_b.GetNumberOfDataNodes()
        if count_a != count_b:
            problems.append(
                _("A has {count_a} frames and B has {count_b}: choose sequences of the same length.").format(
                    count_a=count_a, count_b=count_b
                )
            )
    else:
        problems += problems_of(source_b, "B") + _problems_of_moving(scene, source_b)
    return problems


def _problems_of_frames(scene: Any, sequence: Any, letter: str) -> list[str]:
    if sequence.GetNumberOfDataNodes() == 0:
        return [
            _("Sequence {letter}, '{name}', is empty: choose another.").format(letter=letter, name=sequence.GetName())
        ]
    frames = (sequence.GetNthDataNode(index) for index in range(sequence.GetNumberOfDataNodes()))
    found = next((problems for frame in frames if (problems := problems_of(frame, letter))), [])
    proxy = proxy_of(scene, sequence)
    transform = proxy.GetParentTransformNode() if proxy is not None else None
    if transform is not None and not transform.IsTransformToWorldLinear():
        found = [
            *found,
            _("'{name}' has the nonlinear parent transform '{transform}': remove it.").format(
                name=proxy.GetName(), transform=transform.GetName()
            ),
        ]
    return [*found, *_problems_of_moving(scene, proxy)]


def _problems_of_moving(scene: Any, node: Any) -> list[str]:
    """The problem of a node under a transform that is played from a sequence and so changes with time."""
    transform = node.GetParentTransformNode() if node is not None else None
    while transform is not None:
        if any(browser.GetSequenceNode(transform) is not None for browser in _browsers_of(scene)):
            return [
                _(
                    "'{name}' has a parent transform that changes with time, '{transform}': "
                    "harden the transform on the sequence first, or remove it."
                ).format(name=node.GetName(), transform=transform.GetName())
            ]
        transform = transform.GetParentTransformNode()
    return []


def frames_of(
    scene: Any, sequence_a: Any, source_b: Any, modality_a: str | None, modality_b: str | None
) -> list[tuple[Source, Source]]:
    """The pairs to fuse, in the order of A's frames; of two sequences, frames of the same number are paired.

    Args:
        scene: the scene.
        sequence_a: sequence node that passes :func:`problems_of_sequences`.
        source_b: sequence or volume node.
        modality_a: None: guessed from the node that plays the sequence.
        modality_b: None: guessed.
    """
    count = sequence_a.GetNumberOfDataNodes()
    frames_a = _sources_of(scene, sequence_a, modality_a)
    if source_b.IsA("vtkMRMLSequenceNode"):
        return list(zip(frames_a, _sources_of(scene, source_b, modality_b), strict=True))
    return list(zip(frames_a, [source_of(source_b, modality_b)] * count, strict=True))


def _sources_of(scene: Any, sequence: Any, modality: str | None) -> list[Source]:
    said, said_by = (modality, "user") if modality else modality_said(sequence)
    nodes = [sequence.GetNthDataNode(index) for index in range(sequence.GetNumberOfDataNodes())]
    sources = [source_of(node, said, proxy_of(scene, sequence), sequence.GetName()) for node in nodes]
    return [replace(source, modality_by=said_by) for source in sources] if said else sources


def browser_of(scene: Any, sequence: Any) -> Any:
    """The first browser node that plays a sequence; None without one."""
    found = (browser for browser in _browsers_of(scene) if browser.IsSynchronizedSequenceNode(sequence, True))
    return next(found, None)


def _browsers_of(scene: Any) -> list[Any]:
    browsers = scene.GetNodesByClass("vtkMRMLSequenceBrowserNode")
    browsers.UnRegister(None)
    return [browsers.GetItemAsObject(index) for index in range(browsers.GetNumberOfItems())]


def proxy_of(scene: Any, sequence: Any) -> Any:
    """The proxy node of a sequence's current frame; None without one."""
    browser = browser_of(scene, sequence)
    return browser.GetProxyNode(sequence) if browser is not None else None


def put_sequence(
    scene: Any,
    frames: Sequence[tuple[np.ndarray, np.ndarray]],
    placement: Placement,
    sequence: Any,
    output: Any = None,
) -> Any:
    """Put fused frames into the scene as a sequence, synchronised with that of the sources.

    Args:
        scene: the scene.
        frames: voxels, as for :func:`put_fused`, and their IJKToRAS, (4, 4), below the parent transform.
        placement: name, parent transform, attributes and references of the result.
        sequence: the sequence that gives the index values.
        output: sequence node to fill; None: a new one.

    Returns:
        The sequence node.
    """
    nodes = []
    for voxels, ijk_to_ras in frames:
        nodes.append(_new_node(scene, volume_class_of(voxels)))
        fill_node(nodes[-1], image_of(voxels), ijk_to_ras)
        note_scale(nodes[-1])
    output = output or scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(placement.name))
    modified = output.StartModify()
    output.RemoveAllDataNodes()
    output.SetIndexName(sequence.GetIndexName())
    output.SetIndexUnit(sequence.GetIndexUnit())
    output.SetIndexType(sequence.GetIndexType())
    for index, node in enumerate(nodes):
        output.SetDataNodeAtValue(node, sequence.GetNthIndexValue(index))
    describe_node(output, placement.attributes, placement.references)
    output.EndModify(modified)
    _play(scene, output, placement, sequence)
    return output


def _play(scene: Any, output: Any, placement: Placement, sequence: Any) -> None:
    """Add the result to the browser that plays the source; create one if there is none."""
    browser = browser_of(scene, sequence)
    if browser is None:
        browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", scene.GenerateUniqueName(output.GetName()))
    if not browser.IsSynchronizedSequenceNode(output, True):
        browser.AddSynchronizedSequenceNode(output)
    proxy = browser.GetProxyNode(output)
    if proxy is not None:
        put_under(proxy, placement.transform_id)
        proxy.CreateDefaultDisplayNodes()
        show_full_range(proxy)
        put_into_study(proxy, placement.folder, placement.series)


def _new_node(scene: Any, class_name: str) -> Any:
    """A node outside the scene; None for a class unknown to this Slicer."""
    node = scene.CreateNodeByClass(class_name)
    if node is not None:
        node.UnRegister(None)
    return node
