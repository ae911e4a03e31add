"""Find the movement that registers one volume to another, by mutual information."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_s3im.functional import rgb_to_ycbcr

from .alignment import itk_image
from .movement import affine_transform, matrix_of

_BINS = 50
_SEED = 2025
_LEAST_EXTENT_MM = 120.0  # of a head or a body; for smaller things all lengths below are scaled down
_SAMPLING_MM = 2.0
_MOST_CELLS = 4_000_000  # if cells are smaller than that
_SAMPLING_VOXELS = 0.7  # cells on the voxels would favour movements off the grid, where interpolation smooths noise
_FINEST_MM = 1.0
_LEVELS = ((4, 4.0, 1.0), (2, 4.0, 1.0), (1, 0.0, 0.5))  # shrink factor, smoothing in mm, part of the cells sampled
_LARGEST_STEP_MM, _SMALLEST_STEP_MM, _MOST_STEPS, _RELAXATION = 2.0, 0.01, 200, 0.8
_PROBED = 64  # voxels along each axis


def extent_of(image: MetaTensor) -> float:
    """The size of the object in a volume, in mm: the diameter of a ball of the same spread about its centre.

    Args:
        image: (1 or 3, X, Y, Z), normalised, with affine, RAS mm; voxels brighter than half-way between the darkest and
            the mean value count.
    """
    steps = [-(-extent // _PROBED) for extent in image.shape[1:]]
    values = image.as_tensor()[(slice(None), *(slice(step // 2, None, step) for step in steps))]
    gray = values.float().cpu().clamp(0, 1).mean(dim=0)
    is_shown = gray > (gray.min() + gray.mean()) / 2
    inside = (is_shown if is_shown.any() else torch.ones_like(is_shown)).nonzero().double() * torch.tensor(steps)
    positions = inside @ image.affine[:3, :3].cpu().double().T
    return float(2 * (5 / 3 * positions.var(dim=0, correction=0).sum()).sqrt())


def scale_of(*images: MetaTensor) -> float:
    """The factor from lengths for a head to lengths for the objects in the volumes.

    It is 1 from a size of 120 mm on, and smaller below, but not less than the voxel size in mm: structure finer than
    voxels cannot be registered.
    """
    extent = min(extent_of(image) for image in images)
    volume = max(abs(float(torch.linalg.det(image.affine[:3, :3].cpu().double()))) for image in images)
    return min(1.0, max(extent / _LEAST_EXTENT_MM, volume ** (1 / 3)))


class MattesInformation:
    """The mutual information of two volumes as a function of the movement between them (Mattes et al. 2003).

    50 x 50 bins; points in half of the cells of a grid of 2 mm (0.7 of the voxel size, if that is larger) over the
    reference's field of view, random but the same on each run; linear interpolation. Voxels finer than half a
    millimetre are averaged in blocks of at most 1 mm. These lengths, and those of smoothing and steps, are scaled down
    if one of the volumes shows an object smaller than 120 mm with voxels finer than 1 mm, such as a mouse. One thread
    does the sum, so the result does not depend on the number of threads.

    Args:
        reference: (1 or 3, X, Y, Z), normalised; clipped to [0, 1], RGB by its luma.
        image: the volume to move, in the same form.

    References:
        doi 10.1109/TMI.2003.809072
    """

    def __init__(self, reference: MetaTensor, image: MetaTensor) -> None:
        self._scale = scale_of(reference, image)
        self._fixed, self._moving = (_gray(volume, self._scale * _FINEST_MM) for volume in (reference, image))

    def __call__(self, movement: NDArray[np.float64]) -> float:
        """The value for a movement, (4, 4), reference to image, RAS mm; in nats, 0 if the volumes do not overlap."""
        method = self._method()
        method.SetMetricSamplingPercentage(_LEVELS[-1][2], _SEED)
        method.SetInitialTransform(affine_transform(movement))
        try:
            with _one_thread():
                return -float(method.MetricEvaluate(self._fixed, self._moving))
        except RuntimeError:  # too few points of the reference are inside the image
            return 0.0

    def maximise(self, kind: str) -> NDArray[np.float64]:
        """Find the movement with the largest value, by gradient ascent on grids of 8, 4 and 2 mm, or smaller ones.

        On the coarsest grid it starts from the headers, the centres of the fields of view and the centres of mass, and
        continues from the best.

        Args:
            kind: ``"rigid"``, or ``"affine"``, which continues from the rigid movement.

        Returns:
            (4, 4), from points of the reference to the corresponding points of the image, RAS mm.
        """
        found = [self._climb(start, _LEVELS[:1]) for start in self._starts()]
        best = min((metric, index) for index, (_, metric) in enumerate(found))[1]
        rigid, _ = self._climb(found[best][0], _LEVELS[1:])
        if kind == "rigid":
            return matrix_of(rigid)
        affine = sitk.AffineTransform(rigid.GetMatrix(), rigid.GetTranslation(), rigid.GetCenter())
        return matrix_of(self._climb(affine, _LEVELS[1:])[0])

    def _starts(self) -> list[sitk.Transform]:
        headers = sitk.Euler3DTransform()
        middle = [(extent - 1) / 2 for extent in self._fixed.GetSize()]
        headers.SetCenter(self._fixed.TransformContinuousIndexToPhysicalPoint(middle))
        initializer = sitk.CenteredTransformInitializerFilter
        return [
            headers,
            *(
                sitk.Euler3DTransform(
                    sitk.CenteredTransformInitializer(self._fixed, self._moving, sitk.Euler3DTransform(), centre)
                )
                for centre in (initializer.GEOMETRY, initializer.MOMENTS)
            ),
        ]

    def _climb(
        self, start: sitk.Transform, levels: tuple[tuple[int, float, float], ...]
    ) -> tuple[sitk.Transform, float]:
        """Improve a start; return it and the metric (smaller is better), infinite if the volumes do not overlap."""
        method = self._method()
        shrink, smoothing, sampled = zip(*levels, strict=True)
        method.SetMetricSamplingPercentagePerLevel(sampled, _SEED)
        method.SetShrinkFactorsPerLevel(shrink)
        method.SetSmoothingSigmasPerLevel([self._scale * sigma for sigma in smoothing])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        largest, smallest = self._scale * _LARGEST_STEP_MM, self._scale * _SMALLEST_STEP_MM
        method.SetOptimizerAsRegularStepGradientDescent(largest, smallest, _MOST_STEPS, _RELAXATION)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(start, inPlace=True)
        try:
            with _one_thread():
                method.Execute(self._fixed, self._moving)
        except RuntimeError:
            return start, float("inf")
        return start, float(method.GetMetricValue())

    def _method(self) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetMetricUseFixedImageGradientFilter(False)  # only at the sampled points
        method.SetMetricUseMovingImageGradientFilter(False)
        size, spacing = np.array(self._fixed.GetSize()), np.array(self._fixed.GetSpacing())
        affordable = float((size * spacing).prod() / _MOST_CELLS) ** (1 / 3)
        wanted = min(_SAMPLING_MM, max(self._scale * _SAMPLING_MM, affordable))
        cells = np.ceil(size * spacing / max(wanted, _SAMPLING_VOXELS * spacing.min()))
        first = self._fixed.TransformContinuousIndexToPhysicalPoint((size / cells / 2 - 0.5).tolist())
        method.SetVirtualDomain(
            cells.astype(int).tolist(), first, (size * spacing / cells).tolist(), self._fixed.GetDirection()
        )
        return method


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set the process-wide number of threads, the only one that ITK's metric respects."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _gray(image: MetaTensor, finest: float) -> sitk.Image:
    """The gray values, averaged in blocks if voxels are finer than half of ``finest`` mm, which saves memory."""
    affine = image.affine.cpu().double()
    spacing = torch.linalg.vector_norm(affine[:3, :3], dim=0)
    block = [max(1, min(int(finest // step), n)) for step, n in zip(spacing.tolist(), image.shape[1:], strict=True)]
    means = []
    for slab in image.as_tensor().split(16 * block[0], dim=1):
        values = slab.float().cpu().clamp(0, 1)
        gray = rgb_to_ycbcr(values)[:1] if len(values) == 3 else values
        if len(gray[0]) >= block[0]:  # an incomplete last block is dropped
            means.append(torch.nn.functional.avg_pool3d(gray, block))
    to_image = torch.diag(torch.tensor([*block, 1.0], dtype=torch.float64))
    to_image[:3, 3] = (torch.tensor(block) - 1) / 2
    return itk_image(torch.cat(means, dim=1)[0], affine @ to_image)
