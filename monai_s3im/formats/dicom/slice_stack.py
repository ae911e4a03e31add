"""Assemble slices at their scanner positions into one volume on an even, orthogonal grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_s3im.errors import InputError

SAME_POSITION_MM = 0.01
"""Slices closer than this along their normal share a position."""

_UNEVEN = 0.02  # of a step: positions in headers are rounded
_SHIFTED = 0.25  # of a pixel
_ALIKE = 0.05  # of a step
_USUAL = 0.1  # of all steps
_LARGEST_GAP = 2.0 + _UNEVEN  # steps: one slice is missing


@dataclass(frozen=True)
class SliceStack:
    """The positions of the slices of a series on the grid of their volume.

    Attributes:
        order: (N,), indices of the slices sorted along the normal.
        depths: (N,), position of each along the normal, in steps of the grid.
        shifts: (N, 2), shift of each within the grid, in columns and rows.
        shape: (X, Y, Z), columns, rows and slices of the grid.
        affine: 4 x 4, voxel index -> LPS mm; its axes are orthogonal.
        remarks: remarks about slices that have to be resampled.
        missing: number of slices missing between others.
    """

    order: NDArray[np.intp]
    depths: NDArray[np.float64]
    shifts: NDArray[np.float64]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    remarks: tuple[str, ...]
    missing: int = 0


def stack_slices(
    positions: NDArray[np.float64],
    orientation: NDArray[np.float64],
    spacing: tuple[float, float],
    size: tuple[int, int],
    step_of_one: float | None,
    extents: NDArray[np.float64],
    name: str,
) -> SliceStack:
    """Sort slices along their normal, and fit an even, orthogonal grid to them.

    Slices within 2 % of a step and a quarter of a pixel of such a grid are used unchanged. For others, the grid has the
    smallest common step, with planes at the slices of that step; it is widened if a tilted gantry shifts the slices
    against each other. A slice is missing where two neighbours are further apart than that step and than their
    thickness.

    Args:
        positions: (N, 3), centre of the first pixel of each slice, LPS mm.
        orientation: (6,), directions of a row and of a column of pixels.
        spacing: mm from column to column, and from row to row.
        size: number of columns, and of rows.
        step_of_one: mm to the next slice, for a series with a single slice.
        extents: (N,), thickness of each slice in mm; 0 if unknown: the smaller adjacent gap is used.
        name: name of the series, for messages.

    Raises:
        InputError: the directions are not orthogonal, several slices share a position, more than one slice is missing
            in a gap, or a single slice has no thickness.
    """
    axes = _axes(orientation, name)
    along = positions @ axes.T
    order = np.argsort(along[:, 2], kind="stable")
    heights = along[order, 2]
    _check_distinct(heights, name)
    depths, step, remarks, missing = _depths(heights, step_of_one, extents[order], name)
    shifts = (along[order, :2] - along[order[0], :2]) / spacing
    origin = positions[order[0]] - depths[0] * step * axes[2]
    if np.abs(shifts).max() <= _SHIFTED:
        shifts = np.zeros_like(shifts)
    else:
        if (np.ptp(shifts, axis=0) > size).any():
            raise InputError(f"{name} has slices that are not stacked above each other: give the slices of one volume")
        degrees = np.degrees(np.arctan2(np.linalg.norm((shifts[-1] - shifts[0]) * spacing), np.ptp(heights)))
        remarks = (*remarks, f"its slices are shifted against each other (gantry tilt of {degrees:.1f} degrees)")
        first = shifts.min(axis=0)
        origin = origin + (first * spacing) @ axes[:2]
        shifts = shifts - first
    widened = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes.T * (*spacing, step)
    affine[:3, 3] = origin
    planes = int(np.ceil(depths[-1] - _UNEVEN)) + 1
    shape = (size[0] + int(widened[0]), size[1] + int(widened[1]), planes)
    return SliceStack(order, depths, shifts, shape, affine, remarks, missing)


def volume_of(slices: Sequence[NDArray[np.float32]], stack: SliceStack) -> NDArray[np.float32]:
    """Interpolate slices linearly onto the grid of their stack.

    Args:
        slices: (columns, rows) each, in the order of the positions.
        stack: their positions.

    Returns:
        (X, Y, Z); voxels outside all slices get the smallest value.
    """
    lowest = min(float(pixels.min()) for pixels in slices)
    laid = [
        _shifted(slices[index], shift, stack.shape[:2], lowest)
        for index, shift in zip(stack.order, stack.shifts, strict=True)
    ]
    volume = np.empty(stack.shape, dtype=np.float32)
    for depth in range(stack.shape[2]):
        above = min(int(np.searchsorted(stack.depths, depth - 1e-6)), len(laid) - 1)
        below = max(above - 1, 0)
        gap = stack.depths[above] - stack.depths[below]
        weight = min(max((depth - stack.depths[below]) / gap, 0.0), 1.0) if gap else 1.0
        volume[..., depth] = laid[above] if weight == 1 else (1 - weight) * laid[below] + weight * laid[above]
    return volume


def _axes(orientation: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Unit vectors of the columns, the rows and the normal, one per row."""
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=0.01) or abs(row @ column) > 1e-3:
        raise InputError(
            f"{name} has an ImageOrientationPatient that is not a pair of orthogonal directions: repair it"
        )
    normal = np.cross(row, column)
    return np.stack([row / lengths[0], column / lengths[1], normal / np.linalg.norm(normal)])


def _check_distinct(heights: NDArray[np.float64], name: str) -> None:
    count = len(heights)
    places = 1 + int(np.count_nonzero(np.diff(heights) >= SAME_POSITION_MM))
    if places == count:
        return
    many = f"is 4D and has {count // places} frames" if count % places == 0 else "has several slices at one position"
    raise InputError(
        f"{name} {many} ({count} slices at {places} positions): export the echo, phase or time frame to use as a "
        "series of its own"
    )


def _depths(
    heights: NDArray[np.float64], step_of_one: float | None, extents: NDArray[np.float64], name: str
) -> tuple[NDArray[np.float64], float, tuple[str, ...], int]:
    """Depth of each slice in steps of an even grid, the step in mm, remarks, and the number of missing slices."""
    if len(heights) == 1:
        if step_of_one is None:
            raise InputError(f"{name} has one slice, and no SliceThickness: export the whole series")
        return np.zeros(1), step_of_one, (), 0
    gaps = np.diff(heights)
    even = np.arange(len(heights), dtype=np.float64)
    step = float(heights[-1] - heights[0]) / len(gaps)
    if np.abs((heights - heights[0]) / step - even).max() <= max(_UNEVEN, SAME_POSITION_MM / step):
        return even, step, (), 0
    step = _usual_step(gaps)
    extents = np.where(extents > 0, extents, _nearer_gap(gaps))
    whole = np.maximum(step, (extents[1:] + extents[:-1]) / 2)  # from slice to slice, where none is missing
    widest = int(np.argmax(gaps / whole))
    if gaps[widest] > _LARGEST_GAP * whole[widest]:
        raise InputError(
            f"{name} lacks slices: one gap is {gaps[widest]:.2f} mm although slices are {whole[widest]:.2f} mm apart: "
            "export or copy the whole series"
        )
    depths = (heights - heights[_anchor(gaps, step)]) / step
    depths += np.ceil(-depths[0] - _UNEVEN)
    missing = int(np.count_nonzero(gaps > 1.5 * whole))
    found = f"{missing} of its slices are missing" if missing else "its slices are unevenly spaced"
    return depths, step, (f"{found} (steps of {gaps.min():.2f} to {gaps.max():.2f} mm)",), missing


def _nearer_gap(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each slice the smaller of its adjacent gaps; the first and the last take their neighbour's."""
    if len(gaps) < 2:
        return np.repeat(gaps, 2)
    nearer = np.minimum(gaps[:-1], gaps[1:])
    return np.concatenate([nearer[:1], nearer, nearer[-1:]])


def _usual_step(gaps: NDArray[np.float64]) -> float:
    """The smallest step that occurs twice in a row, or in a tenth of all; otherwise the median."""
    for gap in np.sort(gaps):
        alike = np.abs(gaps - gap) <= _ALIKE * gap
        in_a_row = bool((alike[1:] & alike[:-1]).any())
        if np.count_nonzero(alike) >= 2 and (in_a_row or np.count_nonzero(alike) >= _USUAL * len(gaps)):
            return float(np.median(gaps[alike]))
    return float(np.median(gaps))


def _anchor(gaps: NDArray[np.float64], step: float) -> int:
    """The first slice of the longest run of usual steps; the grid planes are aligned to it."""
    best, longest, start = 0, 0, 0
    for index, gap in enumerate(gaps):
        if abs(gap - step) > _ALIKE * step:
            start = index + 1
        elif index + 1 - start > longest:
            best, longest = start, index + 1 - start
    return best


def _shifted(
    pixels: NDArray[np.float32], shift: NDArray[np.float64], size: tuple[int, int], outside: float
) -> NDArray[np.float32]:
    """Shift by a fraction of a pixel with linear interpolation, into a larger frame."""
    if pixels.shape == size and not shift.any():
        return pixels
    for axis in (0, 1):
        whole = int(np.floor(shift[axis] + 1e-6))
        part = max(float(shift[axis]) - whole, 0.0)
        room = size[axis] - pixels.shape[axis] - whole
        widths = [(0, 0), (0, 0)]
        widths[axis] = (whole, room)
        moved = np.pad(pixels, widths, constant_values=outside)
        if part > 1e-6:
            before = np.roll(moved, 1, axis)  # the frame has a margin for what wraps around
            moved = (1 - part) * moved + part * before
        pixels = moved.astype(np.float32)
    return pixels
