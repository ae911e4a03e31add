"""Make the anatomy of the head phantom, monai_s3im/phantom/icbm152.npz, from the ICBM 152 template.

    pip download nilearn==0.14.1 --no-deps
    python .ci/head_template.py nilearn-0.14.1-py3-none-any.whl

Half a minute. The wheel holds the maps of grey and white matter of the ICBM 2009a nonlinear symmetric template and its
T1 without skull, 1 mm, in MNI space. The result holds, 8 bit:

- `tissues` (2, z, y, x): probability of grey and of white matter in 1/255, every 1.5 mm; the rest of what is inside the
  skull is CSF;
- `cranium` (z, y, x): distance to the inner surface of the skull in 1/3 mm plus 64, negative inside, every 4 mm;
- `*_spacing` and `*_origin`: mm, in MNI space.
"""

import gzip
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

TARGET = Path(__file__).parents[1] / "monai_s3im" / "phantom" / "icbm152.npz"
NAME = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
STEP_MM = 1.5
LEVELS = 24  # of a probability: what is lost is less than the noise of any image
SHARPNESS = 2.2  # the mean of 152 heads is more blurred than any head
COARSE_MM = 4
BASE_MM = -12  # level of the skull base in MNI space
WHITE_WEIGHT = 1.5  # the pons is half grey in the maps, and white in images
LOW, HIGH = np.array([-100, -140, -110]), np.array([100, 104, 118])  # box of the distance, MNI mm


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        grey, white, t1 = (_map(wheel, name) for name in ("gm", "wm", "t1"))
    mask = ndimage.binary_fill_holes(t1[0] > 0)
    origin = t1[1]
    grey, white = grey[0] * mask, white[0] * mask
    csf = np.clip(mask - grey - white, 0, 1)
    sharp = np.stack([grey, WHITE_WEIGHT * white, csf]) ** SHARPNESS
    tissues = sharp[:2] / np.maximum(sharp.sum(axis=0), 1e-6)
    tissues, tissues_origin = _resampled(tissues, origin)
    cranium = _cranium(mask, origin)
    np.savez_compressed(
        TARGET,
        tissues=tissues.transpose(0, 3, 2, 1),
        tissues_spacing=STEP_MM,
        tissues_origin=tissues_origin,
        cranium=cranium.transpose(2, 1, 0),
        cranium_spacing=float(COARSE_MM),
        cranium_origin=LOW.astype(float),
    )
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, tissues {tissues.shape[1:]}, cranium {cranium.shape}")


def _map(wheel: zipfile.ZipFile, name: str) -> tuple[np.ndarray, np.ndarray]:
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(wheel.read(NAME.format(name))))
    return np.asarray(image.dataobj, dtype=np.float32) / 255, image.affine[:3, 3]


def _resampled(tissues: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every 1.5 mm, in the box of the brain, in steps of a probability."""
    box = ndimage.find_objects((tissues.sum(axis=0) > 0.02).astype(int))[0]
    start = np.array([side.start for side in box]) - 3
    size = np.ceil((np.array([side.stop for side in box]) + 3 - start) / STEP_MM).astype(int)
    smooth = ndimage.gaussian_filter(tissues, (0, 0.5, 0.5, 0.5))
    sampled = [ndimage.affine_transform(one, [STEP_MM] * 3, start, tuple(size), order=1) for one in smooth]
    steps = np.rint(np.clip(sampled, 0, 1) * LEVELS) / LEVELS
    return np.rint(steps * 255).astype(np.uint8), origin + start


def _cranium(mask: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Distance to a smooth surface 2 mm outside the brain, across its fissures and, above the base, all hollows."""
    low = np.rint(origin - LOW).astype(int)
    mask = np.pad(mask, [(a, b) for a, b in zip(low, HIGH - LOW - low - mask.shape, strict=True)])
    y, z = (np.arange(low, high) for low, high in zip(LOW[1:], HIGH[1:], strict=True))
    above = np.clip(BASE_MM + 0.15 * y[:, None] - z, 0, None)  # front up: the frontal lobes lie on the orbits
    closed = [_closed(mask, radius) for radius in (6, 30)]
    smooth = ndimage.gaussian_filter(np.minimum(closed[0], closed[1] + above), 3)
    return np.rint(np.clip(smooth * 3 + 64, 0, 255)).astype(np.uint8)[::COARSE_MM, ::COARSE_MM, ::COARSE_MM]


def _closed(mask: np.ndarray, radius_mm: int) -> np.ndarray:
    """Distance to the surface of a mask grown by radius and 2 mm, and shrunk by the radius."""
    grown = ndimage.distance_transform_edt(~np.pad(mask, radius_mm)) < radius_mm + 2
    inside = ndimage.distance_transform_edt(grown)[(slice(radius_mm, -radius_mm),) * 3] > radius_mm
    return (ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)).astype(np.float32)


if __name__ == "__main__":
    main()
