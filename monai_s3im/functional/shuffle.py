"""The random rearrangement P of Eq. (5): pixels drawn from anywhere in the image, laid out as a small image."""

import torch
from torch import Tensor


def draw_positions(
    num_pixels: int,
    patch_size: int = 64,
    draws: int = 10,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw ``draws`` times ``patch_size``² different pixel positions.

    Each draw is the beginning of a random permutation of all pixels, so no position occurs twice in one draw.

    Args:
        num_pixels: H * W of the images.
        patch_size: side of the resulting image in pixels.
        draws: M of Eq. (5).
        generator: makes the draws reproducible; the default generator of ``device`` if None.
        device: where the positions are drawn.

    Returns:
        int64 tensor (draws, patch_size²) with values in [0, num_pixels).

    Raises:
        ValueError: if the image has fewer pixels than one draw needs.
    """
    samples = patch_size**2
    if num_pixels < samples:
        raise ValueError(
            f"an image of {num_pixels} pixels is too small to draw {patch_size}x{patch_size} = {samples} pixels from; "
            "use larger images or a smaller patch_size"
        )
    keys = torch.rand(draws, num_pixels, generator=generator, device=device)
    return keys.topk(samples, dim=1).indices  # in the order of the keys, which is random


def shuffled_patches(images: Tensor, positions: Tensor) -> Tensor:
    """Lay out the pixels at ``positions`` as square images: P of Eq. (5), for all draws in one gather.

    Args:
        images: (..., H, W).
        positions: (M, P²) flat pixel positions; the same for all images.

    Returns:
        Tensor (..., M, P, P).

    Raises:
        ValueError: if the number of positions in a draw is not a square.
    """
    draws, samples = positions.shape
    side = round(samples**0.5)
    if side**2 != samples:
        raise ValueError(f"{samples} positions in a draw do not make a square image")
    picked = images.flatten(-2).index_select(-1, positions.flatten())
    return picked.unflatten(-1, (draws, side, side))
