import numpy as np
import pytest
import torch
from references.functional_reference import shuffled_patch
from scipy.stats import chi2, chisquare

from monai_s3im.functional import draw_positions, shuffled_patches


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_pixel_is_drawn_twice():
    positions = draw_positions(num_pixels=100, patch_size=8, draws=20, generator=seeded())
    assert positions.shape == (20, 64)
    assert all(len(set(draw)) == 64 for draw in positions.tolist())


def test_a_draw_of_all_pixels_takes_each_pixel_once():
    positions = draw_positions(num_pixels=64, patch_size=8, draws=3, generator=seeded())
    assert positions.sort(dim=1).values.tolist() == [list(range(64))] * 3


def test_positions_lie_in_the_image():
    positions = draw_positions(num_pixels=70, patch_size=4, draws=500, generator=seeded())
    assert positions.dtype == torch.int64
    assert (positions.min(), positions.max()) == (0, 69)


def test_the_same_generator_state_gives_the_same_positions():
    assert torch.equal(draw_positions(99, 4, generator=seeded(5)), draw_positions(99, 4, generator=seeded(5)))


def test_another_seed_and_another_draw_give_other_positions():
    generator = seeded(5)
    first, second = draw_positions(99, 4, generator=generator), draw_positions(99, 4, generator=generator)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, draw_positions(99, 4, generator=seeded(6)))


def test_every_pixel_is_drawn_equally_often():
    pixels, samples, draws = 64, 16, 2000
    counts = draw_positions(pixels, 4, draws, seeded()).flatten().bincount(minlength=pixels).numpy()
    share = samples / pixels
    # A count has the binomial's variance; drawn without replacement, the counts are correlated by -1 / (pixels - 1).
    statistic = np.sum((counts - draws * share) ** 2) / (draws * share * (1 - share)) * (pixels - 1) / pixels
    assert 0.001 < chi2.sf(statistic, df=pixels - 1) < 0.999


@pytest.mark.parametrize("place", [0, 7, 15])
def test_each_place_of_the_patch_sees_every_pixel_equally_often(place):
    counts = draw_positions(64, 4, 3200, seeded())[:, place].bincount(minlength=64)
    assert 0.001 < chisquare(counts.numpy()).pvalue < 0.999


def test_an_image_with_too_few_pixels_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"4095 pixels is too small to draw 64x64 = 4096 .* smaller patch_size"):
        draw_positions(63 * 65)


def test_patches_agree_with_a_loop_and_every_image_uses_the_same_positions():
    images = torch.rand(2, 3, 9, 11, generator=seeded(), dtype=torch.float64)
    positions = draw_positions(99, 5, draws=4, generator=seeded(1))
    patches = shuffled_patches(images, positions)
    assert patches.shape == (2, 3, 4, 5, 5)
    for b in range(2):
        for n in range(3):
            for m in range(4):
                expected = shuffled_patch(images[b, n].numpy(), positions[m].tolist(), 5)
                assert np.array_equal(patches[b, n, m].numpy(), expected)


def test_positions_in_order_reproduce_the_image():
    image = torch.arange(36.0).reshape(1, 6, 6)
    assert torch.equal(shuffled_patches(image, torch.arange(36)[None])[:, 0], image)


def test_a_number_of_positions_that_makes_no_square_is_refused():
    with pytest.raises(ValueError, match="15 positions"):
        shuffled_patches(torch.zeros(1, 8, 8), torch.zeros(1, 15, dtype=torch.int64))
