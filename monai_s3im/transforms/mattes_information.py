"""Find the movement that brings one volume into register with another, by mutual information."""

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
_SAMPLING_MM = 2.0
_SAMPLING_VOXELS = 0.7  # cells on the voxels would favour movements off the grid, where interpolation smooths noise
_FINEST_MM = 1.0
_LEVELS = ((4, 4.0, 1.0), (2, 4.0, 1.0), (1, 0.0, 0.5))  # shrink factor, smoothing in mm, part of the cells sampled
_LARGEST_STEP_MM, _SMALLEST_STEP_MM, _MOST_STEPS, _RELAXATION = 2.0, 0.01, 200, 0.8


class MattesInformation:
    """The mutual information of two volumes as a function of the movement between them (Mattes et al. 2003).

    50 x 50 bins; points in half of the cells of a grid of 2 mm (0.7 of the voxel size, if that is larger) over the
    reference's field of view, at random and the same at each run; linear interpolation. Of voxels finer than half a
    millimetre the means of blocks of at most 1 mm are taken. One thread sums it, so that the result does not depend on
    how many there are.

    Args:
        reference: (1 or 3, X, Y, Z), normalised; clipped to [0, 1], RGB by its luma.
        image: the volume that is moved, likewise.

    References:
        doi 10.1109/TMI.2003.809072
    """

    def __init__(self, reference: MetaTensor, image: MetaTensor) -> None:
        self._fixed, self._moving = _gray(reference), _gray(image)

    def __call__(self, movement: NDArray[np.float64]) -> float:
        """The value for a movement, (4, 4), reference to image, RAS mm; in nats, 0 where the volumes do not meet."""
        method = self._method()
        method.SetMetricSamplingPercentage(_LEVELS[-1][2], _SEED)
        method.SetInitialTransform(affine_transform(movement))
        try:
            with _one_thread():
                return -float(method.MetricEvaluate(self._fixed, self._moving))
        except RuntimeError:  # too few points of the reference lie in the image
            return 0.0

    def maximise(self, kind: str) -> NDArray[np.float64]:
        """Find the movement of the largest value, by gradient ascent on grids of 8, 4 and 2 mm.

        At 8 mm it starts from the headers, from the centres of the fields of view and from the centres of mass, and
        goes on from the best.

        Args:
            kind: ``"rigid"``, or ``"affine"``, which goes on from the rigid movement.

        Returns:
            (4, 4), from points of the reference to the like points of the image, RAS mm.
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
        """Improve a start; return it and the metric (smaller is better), infinite where the volumes do not meet."""
        method = self._method()
        shrink, smoothing, sampled = zip(*levels, strict=True)
        method.SetMetricSamplingPercentagePerLevel(sampled, _SEED)
        method.SetShrinkFactorsPerLevel(shrink)
        method.SetSmoothingSigmasPerLevel(smoothing)
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetOptimizerAsRegularStepGradientDescent(_LARGEST_STEP_MM, _SMALLEST_STEP_MM, _MOST_STEPS, _RELAXATION)
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
        method.SetMetricUseFixedImageGradientFilter(False)  # at the points sampled, not of the whole volume
        method.SetMetricUseMovingImageGradientFilter(False)
        size, spacing = np.array(self._fixed.GetSize()), np.array(self._fixed.GetSpacing())
        cells = np.ceil(size * spacing / max(_SAMPLING_MM, _SAMPLING_VOXELS * spacing.min()))
        first = self._fixed.TransformContinuousIndexToPhysicalPoint((size / cells / 2 - 0.5).tolist())
        method.SetVirtualDomain(
            cells.astype(int).tolist(), first, (size * spacing / cells).tolist(), self._fixed.GetDirection()
        )
        return method


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metric heeds the number of threads of the process only."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _gray(image: MetaTensor) -> sitk.Image:
    """The gray values, as means of blocks where the voxels are finer than half a millimetre: in memory a small part."""
    affine = image.affine.cpu().double()
    spacing = torch.linalg.vector_norm(affine[:3, :3], dim=0)
    block = [max(1, min(int(_FINEST_MM // step), n)) for step, n in zip(spacing.tolist(), image.shape[1:], strict=True)]
    means = []
    for slab in image.as_tensor().split(16 * block[0], dim=1):
        values = slab.float().cpu().clamp(0, 1)
        gray = rgb_to_ycbcr(values)[:1] if len(values) == 3 else values
        if len(gray[0]) >= block[0]:  # what is left of the last block is left out
            means.append(torch.nn.functional.avg_pool3d(gray, block))
    to_image = torch.diag(torch.tensor([*block, 1.0], dtype=torch.float64))
    to_image[:3, 3] = (torch.tensor(block) - 1) / 2
    return itk_image(torch.cat(means, dim=1)[0], affine @ to_image)
