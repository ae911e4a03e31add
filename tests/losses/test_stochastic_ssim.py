import pytest
import torch
from references import losses_reference

from monai_s3im.functional import draw_positions, windowed_ssim
from monai_s3im.losses import StochasticSSIMLoss


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


def test_the_same_generator_state_gives_the_same_loss_and_the_next_draw_another():
    fused, sources = noise(1, 1, 20, 20), noise(1, 2, 20, 20, seed=1)
    first, second = (StochasticSSIMLoss(patch_size=8, generator=seeded(3)) for _ in range(2))
    loss = first(fused, sources)
    assert torch.equal(loss, second(fused, sources))
    assert not torch.equal(loss, first(fused, sources))


def test_without_a_generator_the_global_seed_makes_it_reproducible():
    fused, sources = noise(1, 1, 20, 20), noise(1, 2, 20, 20, seed=1)
    losses = []
    for _ in range(2):
        torch.manual_seed(7)
        losses.append(StochasticSSIMLoss(patch_size=8)(fused, sources))
    assert torch.equal(*losses)


def test_all_images_of_a_batch_share_the_positions():
    fused, sources = noise(1, 1, 20, 20), noise(1, 2, 20, 20, seed=1)
    single = StochasticSSIMLoss(patch_size=8, generator=seeded())(fused, sources)
    same_image_often = StochasticSSIMLoss(patch_size=8, generator=seeded())(
        fused.repeat(5, 1, 1, 1), sources.repeat(5, 1, 1, 1)
    )
    torch.testing.assert_close(same_image_often, single)


def test_a_fused_image_and_its_source_are_rearranged_the_same_way():
    # Were the positions not shared, noise compared with itself would score like noise compared with other noise.
    image = noise(1, 1, 64, 64)
    assert StochasticSSIMLoss(generator=seeded())(image, image.repeat(1, 2, 1, 1)).abs() < 1e-12


def test_one_draw_of_all_pixels_in_order_is_the_ssim_of_the_image_itself():
    fused, sources = noise(2, 1, 64, 64), noise(2, 2, 64, 64, seed=1)
    loss = StochasticSSIMLoss(draws=1)(fused, sources, positions=torch.arange(64 * 64)[None])
    expected = 1 - windowed_ssim(fused.expand_as(sources), sources).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("kernel_size", [4, 8, 64])
def test_a_draw_of_all_pixels_depends_on_the_order_only_if_the_window_does(kernel_size):
    fused, sources = noise(1, 1, 64, 64), noise(1, 2, 64, 64, seed=1)
    loss = StochasticSSIMLoss(draws=1, kernel_size=kernel_size)
    one, other = (loss(fused, sources, draw_positions(64 * 64, 64, 1, seeded(seed))) for seed in (0, 1))
    window_holds_all_pixels = kernel_size == 64
    assert torch.isclose(one, other, rtol=0, atol=1e-12) == window_holds_all_pixels


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("kernel_size", [2, 4])
def test_every_window_agrees_with_loops(window, kernel_size):
    fused, sources = noise(2, 1, 9, 12), noise(2, 2, 9, 12, seed=1)
    positions = draw_positions(108, 8, 3, seeded())
    loss = StochasticSSIMLoss(draws=3, patch_size=8, kernel_size=kernel_size, window=window)
    expected = losses_reference.stochastic_ssim(
        fused[:, 0].numpy(), sources.numpy(), positions.tolist(), kernel_size, window
    )
    assert loss(fused, sources, positions).item() == pytest.approx(expected, rel=1e-12)


def test_the_printed_sum_would_reward_a_fused_image_unlike_the_second_source():
    first = torch.full((1, 1, 16, 16), 0.5, dtype=torch.float64)
    second = noise(1, 1, 16, 16)
    sources = torch.cat([first, second], dim=1)
    positions = draw_positions(256, 8, 4, seeded())

    def printed_form(fused):
        similarities = [
            losses_reference.stochastic_similarity(fused[0, 0].numpy(), source.numpy(), positions.tolist())
            for source in sources[0]
        ]
        return 1 - similarities[0] + similarities[1]

    like_second, unlike_second = second, 1 - second
    ours = StochasticSSIMLoss(patch_size=8)
    assert printed_form(unlike_second) < printed_form(like_second)
    assert ours(unlike_second, sources, positions) > ours(like_second, sources, positions)


def test_the_published_draw_is_ten_patches_of_64_by_64_with_windows_of_4():
    loss = StochasticSSIMLoss()
    assert (loss.draws, loss.patch_size, loss.kernel_size, loss.window) == (10, 64, 4, "uniform")


def test_an_image_with_too_few_pixels_is_refused():
    with pytest.raises(ValueError, match="images of 32 x 32 pixels are too small for this loss, which draws 64 x 64"):
        StochasticSSIMLoss()(torch.zeros(1, 1, 32, 32), torch.zeros(1, 2, 32, 32))
