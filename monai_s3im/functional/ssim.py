"""Structural similarity on non-overlapping windows, Eq. (4)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def _window_means(images: Tensor, kernel_size: int, stride: int, window: str, sigma: float) -> Tensor:
    """Weighted mean of each window of images (n, H, W), by one pass along the columns and one along the rows."""
    if window == "uniform":
        return F.avg_pool2d(images, kernel_size, stride)
    if window == "gaussian":
        offsets = torch.arange(kernel_size, dtype=images.dtype, device=images.device) - (kernel_size - 1) / 2
        profile = torch.exp(-(offsets**2) / (2 * sigma**2))
        profile = (profile / profile.sum()).expand(len(images), 1, 1, kernel_size)  # a group for each image: quicker
        along_rows = F.conv2d(images[None], profile, stride=(1, stride), groups=len(images))
        return F.conv2d(along_rows, profile.mT, stride=(stride, 1), groups=len(images))[0]
    raise ValueError(f"window must be 'uniform' or 'gaussian', got {window!r}")


def windowed_ssim(
    image: Tensor,
    reference: Tensor,
    kernel_size: int = 4,
    stride: int = 4,
    window: str = "uniform",
    sigma: float = 1.5,
    data_range: float = 1.0,
) -> Tensor:
    """Structural similarity of each k x k window, Eq. (4).

    ``((2 μx μy + c1)(2 σxy + c2)) / ((μx² + μy² + c1)(σx² + σy² + c2))`` with ``c1 = (0.01 L)²``, ``c2 = (0.03 L)²``,
    population variance, and no padding: windows that would leave the image are dropped.

    Args:
        image: x of the equation, (B, 1, H, W) or (B, H, W); leading dimensions are free.
        reference: y of the equation, of the same shape.
        kernel_size: k, pixels.
        stride: pixels from window to window; k gives non-overlapping windows.
        window: ``"uniform"`` (mean over the window) or ``"gaussian"``.
        sigma: standard deviation of the Gaussian window in pixels.
        data_range: L, the distance of the largest and smallest possible value.

    Returns:
        Tensor (..., rows, columns) with one value in [-1, 1] for each window.

    Raises:
        ValueError: if the shapes differ, the image is smaller than a window, or ``window`` is unknown.

    References:
        Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861
    """
    if image.shape != reference.shape:
        raise ValueError(f"image of shape {tuple(image.shape)} and reference of shape {tuple(reference.shape)} differ")
    if min(image.shape[-2:]) < kernel_size:
        raise ValueError(
            f"an image of shape {tuple(image.shape)} is smaller than the {kernel_size}x{kernel_size} window"
        )
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    moments = torch.stack([image, reference, image**2, reference**2, image * reference])
    means = _window_means(moments.reshape(-1, *image.shape[-2:]), kernel_size, stride, window, sigma)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = means.reshape(*moments.shape[:-2], *means.shape[-2:])
    variance_x, variance_y, covariance = mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance * structure
