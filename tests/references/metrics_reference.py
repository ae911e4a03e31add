"""The fusion metrics for one image pair, as evaluators of the field are written: NumPy and SciPy, one image at a time.

Images are (H, W) float64 arrays on the 0..255 scale. These are the twins that `monai_s3im.metrics` is held to.
"""

import numpy as np
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
SOBEL_Y = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])


def en(fused):
    probability = np.bincount(np.round(fused).astype(np.uint8).ravel(), minlength=256) / fused.size
    probability = probability[probability > 0]
    return -np.sum(probability * np.log2(probability))


def ag(fused):
    gy, gx = np.gradient(fused)
    return np.mean(np.sqrt((gx**2 + gy**2) / 2))


def sf(fused):
    return np.sqrt(np.mean(np.diff(fused, axis=1) ** 2) + np.mean(np.diff(fused, axis=0) ** 2))


def sd(fused):
    return np.std(fused)


def mi(fused, source_a, source_b):
    return _mutual_information(fused, source_a) + _mutual_information(fused, source_b)


def _mutual_information(x, y):
    edges = np.arange(257) - 0.5
    joint, _, _ = np.histogram2d(np.round(x).ravel(), np.round(y).ravel(), bins=(edges, edges))
    joint /= joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    hit = joint > 0
    return np.sum(joint[hit] * np.log(joint[hit] / independent[hit]))


def ssim(fused, source_a, source_b, dynamic_range=255.0):
    return structural_similarity(fused, source_a, data_range=dynamic_range) + structural_similarity(
        fused, source_b, data_range=dynamic_range
    )


def psnr(fused, source_a, source_b, peak=255.0):
    mse = (np.mean((fused - source_a) ** 2) + np.mean((fused - source_b) ** 2)) / 2
    return 10 * np.log10(peak**2 / mse)


def scd(fused, source_a, source_b):
    return (
        np.corrcoef(source_a.ravel(), (fused - source_b).ravel())[0, 1]
        + np.corrcoef(source_b.ravel(), (fused - source_a).ravel())[0, 1]
    )


def qabf(fused, source_a, source_b):
    strength_f, angle_f = _edges(fused)
    strength_a, angle_a = _edges(source_a)
    strength_b, angle_b = _edges(source_b)
    quality_a = _edge_preservation(strength_a, angle_a, strength_f, angle_f)
    quality_b = _edge_preservation(strength_b, angle_b, strength_f, angle_f)
    return np.sum(quality_a * strength_a + quality_b * strength_b) / np.sum(strength_a + strength_b)


def _edges(image):
    gx = convolve2d(image, SOBEL_X, mode="same")
    gy = convolve2d(image, SOBEL_Y, mode="same")
    angle = np.full_like(image, np.pi / 2)
    angle[gx != 0] = np.arctan(gy[gx != 0] / gx[gx != 0])
    return np.sqrt(gx**2 + gy**2), angle


def _edge_preservation(strength, angle, strength_f, angle_f):
    ratio = strength.copy()
    stronger = strength > strength_f
    weaker = strength < strength_f
    ratio[stronger] = strength_f[stronger] / strength[stronger]
    ratio[weaker] = strength[weaker] / strength_f[weaker]
    alignment = 1 - np.abs(angle - angle_f) / (np.pi / 2)
    return 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (alignment - 0.8)))


def vif(fused, source_a, source_b):
    return _vif(source_a, fused) + _vif(source_b, fused)


def _vif(reference, distorted, noise=2.0, eps=1e-10):
    numerator = denominator = 0.0
    for size in (17, 9, 5, 3):
        window = _gaussian(size)
        if size < 17:
            reference = convolve2d(reference, window, mode="valid")[::2, ::2]
            distorted = convolve2d(distorted, window, mode="valid")[::2, ::2]
        mean_r = convolve2d(reference, window, mode="valid")
        mean_d = convolve2d(distorted, window, mode="valid")
        variance_r = np.maximum(convolve2d(reference**2, window, mode="valid") - mean_r**2, 0)
        variance_d = np.maximum(convolve2d(distorted**2, window, mode="valid") - mean_d**2, 0)
        covariance = convolve2d(reference * distorted, window, mode="valid") - mean_r * mean_d
        gain = covariance / (variance_r + eps)
        residual = variance_d - gain * covariance
        gain[variance_r < eps] = 0
        residual[variance_r < eps] = variance_d[variance_r < eps]
        variance_r[variance_r < eps] = 0
        gain[variance_d < eps] = 0
        residual[variance_d < eps] = 0
        residual[gain < 0] = variance_d[gain < 0]
        gain[gain < 0] = 0
        residual = np.maximum(residual, eps)
        numerator += np.sum(np.log10(1 + gain**2 * variance_r / (residual + noise)))
        denominator += np.sum(np.log10(1 + variance_r / noise))
    return numerator / denominator if denominator > 0 else np.nan


def _gaussian(size):
    offset = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (size / 5) ** 2))
    return window / window.sum()


REFERENCES = {
    "EN": lambda fused, *_: en(fused),
    "AG": lambda fused, *_: ag(fused),
    "MI": mi,
    "SSIM": ssim,
    "PSNR": psnr,
    "Qabf": qabf,
    "SCD": scd,
    "SF": lambda fused, *_: sf(fused),
    "SD": lambda fused, *_: sd(fused),
    "VIF": vif,
}
