"""Eq. (5) to (9) with plain loops: fused (B, H, W), sources (B, N, H, W), float64 NumPy arrays."""

import math

import numpy as np
from references.functional_reference import gaussian_window, shuffled_patch, ssim_map, uniform_window

SOBEL_X = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))


def stochastic_ssim(fused, sources, positions, kernel_size=4, window="uniform"):
    return 1 - np.mean(
        [
            stochastic_similarity(fused[b], sources[b, n], positions, kernel_size, window)
            for b in range(sources.shape[0])
            for n in range(sources.shape[1])
        ]
    )


def stochastic_similarity(fused, source, positions, kernel_size=4, window="uniform"):
    """S of Eq. (5): the mean over draws and windows of the SSIM of one rearranged pair (H, W)."""
    weights = uniform_window(kernel_size) if window == "uniform" else gaussian_window(kernel_size, 1.5)
    side = math.isqrt(len(positions[0]))
    return np.mean(
        [
            ssim_map(shuffled_patch(fused, draw, side), shuffled_patch(source, draw, side), weights, kernel_size)
            for draw in positions
        ]
    )


def gradient(image):
    return np.abs(gradient_vector(image)).sum(0)


def gradient_vector(image):
    height, width = image.shape
    result = np.empty((2, height, width))
    for row in range(height):
        for column in range(width):
            gx = gy = 0.0
            for i in range(3):
                for j in range(3):
                    near_row = min(max(row + i - 1, 0), height - 1)
                    near_column = min(max(column + j - 1, 0), width - 1)
                    gx += SOBEL_X[i][j] * image[near_row, near_column]
                    gy += SOBEL_X[j][i] * image[near_row, near_column]
            result[:, row, column] = gx, gy
    return result


def detail_texture(fused, sources):
    differences = []
    for b in range(len(fused)):
        strongest = np.max([gradient(source) for source in sources[b]], axis=0)
        differences.append(np.abs(strongest - gradient(fused[b])))
    return np.mean(differences)


def smooth(fused, sources):
    return np.mean([sum(math.sqrt(np.mean((s - fused[b]) ** 2)) for s in sources[b]) for b in range(len(fused))])


def gaussian_ssim(fused, sources):
    window = gaussian_window(11, 1.5)
    return 1 - np.mean(
        [ssim_map(fused[b], source, window, stride=1) for b in range(len(fused)) for source in sources[b]]
    )


def s3im_fusion(fused, sources, positions):
    return 10 * stochastic_ssim(fused, sources, positions) + 5 * detail_texture(fused, sources) + smooth(fused, sources)


def ablation(fused, sources):
    return 10 * gaussian_ssim(fused, sources) + 5 * detail_texture(fused, sources) + smooth(fused, sources)


def salient_intensity(fused, sources):
    return np.mean([np.abs(sources[b].max(0) - fused[b]) for b in range(len(fused))])


def gradient_transfer(fused, sources, gain=1.0):
    differences = []
    for b in range(len(fused)):
        of_fused, of_sources = gradient_vector(fused[b]), [gradient_vector(source) for source in sources[b]]
        for row, column in np.ndindex(fused[b].shape):
            strongest = max(of_sources, key=lambda g: g[0, row, column] ** 2 + g[1, row, column] ** 2)
            differences.append(
                sum(abs(of_fused[axis, row, column] - gain * strongest[axis, row, column]) for axis in (0, 1))
            )
    return np.mean(differences)


def edge_preservation(fused, sources):
    losses = []
    for b in range(len(fused)):
        of_fused, kept, total = 255 * gradient_vector(fused[b]), 0.0, 0.0
        for source in sources[b]:
            of_source = 255 * gradient_vector(source)
            for row, column in np.ndindex(source.shape):
                (fx, fy), (sx, sy) = of_fused[:, row, column], of_source[:, row, column]
                strength_f, strength_s = math.sqrt(fx**2 + fy**2 + 1), math.sqrt(sx**2 + sy**2 + 1)
                ratio = min(strength_f, strength_s) / max(strength_f, strength_s)
                cosine = min(abs(fx * sx + fy * sy) / (strength_f * strength_s), 1 - 1e-4)
                alignment = 1 - math.acos(cosine) / (math.pi / 2)
                strength_kept = 0.9994 / (1 + math.exp(-15 * (ratio - 0.5)))
                kept += strength_s * strength_kept * 0.9879 / (1 + math.exp(-22 * (alignment - 0.8)))
                total += strength_s
        losses.append(1 - kept / total)
    return np.mean(losses)


def salient_floor(fused, sources, share=0.9, power=1):
    lacks = []
    for b in range(len(fused)):
        for row, column in np.ndindex(fused[b].shape):
            brightest = max(source[row, column] for source in sources[b])
            lacks.append(brightest**power * max(0.0, share * brightest - fused[b, row, column]))
    return np.mean(lacks)


def _bin_shares(value, bins):
    place = value * (bins - 1)
    lower = min(int(place), bins - 2)
    return {lower: lower + 1 - place, lower + 1: place - lower}


def conditional_entropy(fused, sources, bins=32):
    entropies = []
    for b in range(len(fused)):
        for source in sources[b]:
            joint = np.zeros((bins, bins))
            for value_f, value_s in zip(fused[b].flat, source.flat, strict=True):
                for bin_f, share_f in _bin_shares(value_f, bins).items():
                    for bin_s, share_s in _bin_shares(value_s, bins).items():
                        joint[bin_f, bin_s] += share_f * share_s / source.size
            rows = joint.sum(1)
            entropies.append(-sum(p * math.log(p / rows[bin_f]) for (bin_f, _), p in np.ndenumerate(joint) if p > 0))
    return np.mean(entropies)


def content_entropy(fused, sources, bins=64, background=5 / 255):
    losses = []
    for b in range(len(fused)):
        histogram, pixels = np.zeros(bins), 0
        for row, column in np.ndindex(fused[b].shape):
            if all(source[row, column] <= background for source in sources[b]):
                continue
            pixels += 1
            for k, share in _bin_shares(fused[b, row, column], bins).items():
                histogram[k] += share
        entropy = -sum(p * math.log(p) for p in histogram / max(pixels, 1) if p > 0)
        losses.append(pixels / fused[b].size * (math.log(bins) - entropy))
    return np.mean(losses)


def difference_correlation(fused, sources):
    losses = []
    for b in range(len(fused)):
        for i, source in enumerate(sources[b]):
            added = fused[b] - sum(other for j, other in enumerate(sources[b]) if j != i)
            covariance = ((added - added.mean()) * (source - source.mean())).mean()
            losses.append(1 - covariance / math.sqrt((added.var() + 1e-4) * (source.var() + 1e-4)))
    return np.mean(losses)


def salient_fusion(fused, sources, positions):
    return (
        3 * stochastic_ssim(fused, sources, positions)
        + 20 * gradient_transfer(fused, sources, gain=1.08)
        + 6 * salient_intensity(fused, sources)
        + 15 * salient_floor(fused, sources)
        + 1.6 * conditional_entropy(fused, sources)
        + 4 * gaussian_ssim(fused, sources)
        + 6 * edge_preservation(fused, sources)
    )


def _halved(image):
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    result = np.empty((rows, columns))
    for row, column in np.ndindex(rows, columns):
        result[row, column] = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean()
    return result


def _missing_contrast(fused, sources, visible, threshold):
    of_fused, of_sources = gradient_vector(fused), [gradient_vector(source) for source in sources]
    total = weights = 0.0
    for row, column in np.ndindex(fused.shape):
        energies = [g[0, row, column] ** 2 + g[1, row, column] ** 2 for g in of_sources]
        for gradient, energy, seen in zip(of_sources, energies, visible, strict=True):
            if energy == 0:
                continue
            weight = seen[row, column] * energy / sum(energies) * energy / (energy + threshold**2)
            kept = sum(of_fused[axis, row, column] * gradient[axis, row, column] for axis in (0, 1)) / energy
            total += weight * max(0.0, 1 - kept)
            weights += weight
    return total / weights if weights else 0.0


def contrast(fused, sources, levels=5, threshold=0.15):
    losses = []
    for b in range(len(fused)):
        image, others = fused[b], list(sources[b])
        white = [source >= 250 / 255 for source in others]
        visible = [
            1.0 - (np.any([w for j, w in enumerate(white) if j != i], axis=0) & ~own) for i, own in enumerate(white)
        ]
        found = []
        while len(found) < levels:
            found.append(_missing_contrast(image, others, visible, threshold))
            if min(image.shape) < 8:
                break
            image, others, visible = _halved(image), [_halved(o) for o in others], [_halved(v) for v in visible]
        losses.append(found)
    return np.mean(losses)


def solid(fused, sources):
    losses = []
    for b in range(len(fused)):
        steps = []
        for row, column in np.ndindex(fused[b].shape):
            for down, right in ((1, 0), (0, 1)):
                other = row + down, column + right
                if other[0] == fused[b].shape[0] or other[1] == fused[b].shape[1]:
                    continue
                if any(source[row, column] >= 250 / 255 and source[other] >= 250 / 255 for source in sources[b]):
                    steps.append(abs(fused[b][other] - fused[b][row, column]))
        losses.append(np.mean(steps) if steps else 0.0)
    return np.mean(losses)
