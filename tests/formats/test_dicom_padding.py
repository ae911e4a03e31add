"""Pixel padding is background: it is never signal, whatever value a header gives it."""

import numpy as np
import pytest
from dicom_samples import series_of, stored_volume, write_slices

from monai_s3im.formats.reading import read_image

PADDED = (slice(None), slice(0, 2), slice(1, 3))  # slices, rows, columns


@pytest.fixture
def volume():
    return np.abs(stored_volume()) + 20


def padded_series(folder, volume, padding, vr="SS", limit=None, dtype="<i2", **tags):
    """Stored values in a type of 16 bits, PADDED with one value."""
    stored = volume.astype(dtype)
    stored[PADDED] = np.array(padding % 2**16, dtype="<u2").astype(dtype)
    slices = series_of(volume, **tags)
    for image, pixels in zip(slices, stored, strict=True):
        image.PixelData = pixels.tobytes()
        image.PixelRepresentation = int(np.dtype(dtype).kind == "i")
        image.add_new("PixelPaddingValue", vr, padding)
        if limit is not None:
            image.add_new("PixelPaddingRangeLimit", vr, limit)
    return write_slices(folder, slices)


def planes_in(path):
    return read_image(path)[0].numpy().transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("padding", "vr", "dtype"),
    [(63536, "US", "<u2"), (-2000, "SS", "<i2"), (63536, "US", "<i2"), (-2000, "SS", "<u2"), (0, "US", "<u2")],
)
def test_padding_of_a_ct_is_air(tmp_path, volume, padding, vr, dtype):
    tags = {"RescaleSlope": 1.0, "RescaleIntercept": -1024.0}
    folder = padded_series(tmp_path / "ct", volume, padding, vr, dtype=dtype, **tags)
    expected = volume - 1024.0
    expected[PADDED] = -1000
    np.testing.assert_array_equal(planes_in(folder), expected)


@pytest.mark.parametrize(("padding", "vr", "dtype"), [(-32768, "SS", "<i2"), (65535, "US", "<u2")])
@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_padding_of_other_modalities_is_zero(tmp_path, volume, padding, vr, dtype, modality):
    folder = padded_series(tmp_path / "mr", volume, padding, vr, dtype=dtype, modality=modality)
    expected = volume.astype(float)
    expected[PADDED] = 0
    np.testing.assert_array_equal(planes_in(folder), expected)


def test_padding_below_values_with_a_sign_is_the_smallest_of_them(tmp_path, volume):
    folder = padded_series(tmp_path / "mr", volume - 500, -32768, modality="MR")
    expected = volume - 500.0
    expected[PADDED] = np.delete(expected.reshape(6, -1), [1, 2, 5, 6], axis=1).min()  # rows of 4
    np.testing.assert_array_equal(planes_in(folder), expected)


def test_all_of_a_range_of_padding_is_background(tmp_path, volume):
    folder = padded_series(tmp_path / "mr", volume, 30000, limit=32000, modality="MR")
    expected = volume.astype(float)
    expected[PADDED] = 0
    for file, pixels in zip(sorted(folder.iterdir()), volume, strict=True):
        content = file.read_bytes()
        old, new = pixels[4, 3].astype("<i2").tobytes(), np.array(31234, "<i2").tobytes()
        assert content.endswith(old)
        file.write_bytes(content[:-2] + new)
    expected[:, 4, 3] = 0
    np.testing.assert_array_equal(planes_in(folder), expected)
