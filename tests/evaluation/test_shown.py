"""Both sources are shown, and the metrics on the content only: by hand, and by other libraries."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_s3im.evaluation.content import content_metrics
from monai_s3im.evaluation.shown import SHOWN, shown_values
from monai_s3im.metrics import fusion_metrics


def images(*arrays):
    return torch.from_numpy(np.stack(arrays))[None].double()


def textured(seed, low=0.0, high=255.0, size=(48, 48)):
    return np.random.default_rng(seed).uniform(low, high, size)


def bone_of(thickness, size=(48, 48)):
    ct = np.zeros(size)
    ct[10 : 10 + thickness, 8:40] = 255.0
    return ct


def test_unevenness_is_the_deviation_within_eroded_bone():
    ct, fused = bone_of(6), textured(0)
    inside = ndimage.binary_erosion(ct > 250, np.ones((3, 3)))
    values = shown_values(images(fused), images(textured(1), ct), "ct")
    assert values["uneven bone"].item() == pytest.approx(fused[inside].std())


def test_a_white_rim_is_the_difference_from_the_core_and_thin_bone_has_none():
    ct = bone_of(8)
    fused = np.where(ct > 0, 200.0, 0.0)
    fused[ndimage.binary_erosion(ct > 250, np.ones((5, 5)))] = 149.0
    assert shown_values(images(fused), images(ct, ct), "ct")["rim"].item() == pytest.approx(51 / 255)
    ct[20, 2:46] = 255.0  # a line of thin bone, black in the fused image: not of the rim
    assert shown_values(images(fused), images(ct, ct), "ct")["rim"].item() == pytest.approx(51 / 255)
    assert shown_values(images(fused), images(ct, bone_of(3)), "ct")["rim"].isnan().all()


@pytest.mark.parametrize(("name", "source"), [("MR in brain", 0), ("CT in brain", 1)])
def test_the_brain_is_where_ct_is_gray_and_mr_is_not_black(name, source):
    mr, ct, fused = textured(0, 13, 255), textured(1, 26, 159), textured(2)
    mr[:, :10], ct[30:] = 12.0, 160.0
    mask = ndimage.binary_erosion((mr > 12) & (ct < 160), np.ones((5, 5)), border_value=1)
    expected = np.corrcoef(fused[mask], (mr, ct)[source][mask])[0, 1]
    assert shown_values(images(fused), images(mr, ct), "ct")[name].item() == pytest.approx(expected)


@pytest.mark.parametrize("modality", ["spect", "pet"])
def test_uptake_is_compared_after_smoothing_and_detail_after_its_removal(modality):
    mr, uptake, fused = textured(0), textured(1), textured(2)
    smooth = [ndimage.gaussian_filter(image, 3, mode="nearest") for image in (fused, uptake, mr)]
    values = shown_values(images(fused), images(mr, uptake), modality)
    where = uptake > 40
    expected = np.corrcoef(smooth[0][where], smooth[1][where])[0, 1]
    assert values[f"{modality.upper()} shown"].item() == pytest.approx(expected, abs=1e-9)
    where = uptake > 60
    expected = np.corrcoef((fused - smooth[0])[where], (mr - smooth[2])[where])[0, 1]
    assert values["MR in uptake"].item() == pytest.approx(expected, abs=1e-9)


def test_infrared_and_visible_detail_count_everywhere():
    visible, infrared = textured(0), textured(1)
    values = shown_values(images((visible + infrared) / 2), images(visible, infrared), "infrared")
    assert values["visible shown"].item() == pytest.approx(2**-0.5, abs=0.05)
    assert values["infrared shown"].item() == pytest.approx(2**-0.5, abs=0.05)
    assert shown_values(images(visible), images(visible, infrared), "infrared")["visible shown"].item() == 1


def test_other_modalities_have_nothing_to_show_and_flat_images_no_correlation():
    flat = np.full((48, 48), 100.0)
    assert shown_values(images(flat), images(flat, flat), "mr") == {}
    assert shown_values(images(flat), images(flat, flat), "spect")["SPECT shown"].isnan().all()


def test_every_image_of_a_batch_is_measured_separately():
    torch.manual_seed(0)
    fused, sources = torch.rand(3, 1, 40, 40).double() * 255, torch.rand(3, 2, 40, 40).double() * 255
    sources[:, 1, 10:20, 10:30] = 255
    for measure in (lambda f, s: shown_values(f, s, "ct"), content_metrics):
        together = measure(fused, sources)
        for index in range(3):
            for name, value in measure(fused[index : index + 1], sources[index : index + 1]).items():
                torch.testing.assert_close(together[name][index], value[0], equal_nan=True)


@pytest.mark.parametrize(("name", "good", "bad"), [("uneven bone", 14.0, 14.1), ("PET shown", 0.8, 0.79)])
def test_a_guard_distinguishes_good_from_bad(name, good, bad):
    assert SHOWN[name].holds(good)
    assert not SHOWN[name].holds(bad)


def with_haze():
    """A fused image with noise in its background, of sources that are black there."""
    sources = images(textured(0, 5, 255), textured(1, 5, 255))
    sources[..., :20] = 4.9
    fused = images(textured(2))
    fused[..., :20] /= 8
    return fused, sources


def test_noise_in_the_background_wins_nothing_on_the_content():
    fused, sources = with_haze()
    clean = fused.clone()
    clean[..., :20] = 0
    found, expected = content_metrics(fused, sources), content_metrics(clean, sources)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    plain = fusion_metrics(clean, sources, data_range=255.0)
    for name, value in plain.items():
        if name != "EN":
            torch.testing.assert_close(found[f"{name} on content"], value)


def test_the_entropy_on_the_content_is_that_of_its_pixels():
    fused, sources = with_haze()
    counts = np.bincount(fused[0, 0, :, 20:].round().long().numpy().ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    expected = -(shares * np.log2(shares)).sum()
    assert content_metrics(fused, sources)["EN on content"].item() == pytest.approx(expected)


def test_an_image_without_content_has_no_entropy():
    black = images(np.zeros((48, 48)), np.zeros((48, 48)))
    assert content_metrics(images(textured(0)), black)["EN on content"].isnan().all()
