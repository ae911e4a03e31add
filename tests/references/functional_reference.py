"""Eq. (4), the rearrangement of Eq. (5) and the Gaussian window with plain loops over NumPy arrays (H, W)."""

import math

import numpy as np


def gaussian_window(size, sigma):
    center = (size - 1) / 2
    window = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            window[row, column] = math.exp(-((row - center) ** 2 + (column - center) ** 2) / (2 * sigma**2))
    return window / window.sum()


def uniform_window(size):
    return np.full((size, size), 1 / size**2)


def ssim_of_a_window(x, y, window, data_range=1.0):
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = (window * x).sum(), (window * y).sum()
    variance_x = (window * (x - mean_x) ** 2).sum()
    variance_y = (window * (y - mean_y) ** 2).sum()
    covariance = (window * (x - mean_x) * (y - mean_y)).sum()
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )


def ssim_map(x, y, window, stride, data_range=1.0):
    size = len(window)
    return np.array(
        [
            [
                ssim_of_a_window(x[r : r + size, c : c + size], y[r : r + size, c : c + size], window, data_range)
                for c in range(0, x.shape[1] - size + 1, stride)
            ]
            for r in range(0, x.shape[0] - size + 1, stride)
        ]
    )


def shuffled_patch(image, positions, side):
    patch = np.empty((side, side))
    for place, position in enumerate(positions):
        patch[place // side, place % side] = image[position // image.shape[1], position % image.shape[1]]
    return patch
