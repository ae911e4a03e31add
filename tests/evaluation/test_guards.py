"""The guards, against values worked out by hand."""

import pytest
import torch

from monai_s3im.evaluation import GUARDS, VOLUME_GUARDS, guard_values


def pair(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.stack([first, second])[None].double()


def test_the_background_is_where_both_sources_are_dark():
    first, second = torch.zeros(8, 8), torch.zeros(8, 8)
    first[:4], second[:, :4] = 4.9, 100.0
    fused = torch.arange(64.0).reshape(1, 1, 8, 8).double()
    expected = fused[0, 0, :, 4:].mean()  # 4.9 is dark, and 100 is in the left half only
    assert guard_values(fused, pair(first, second), "mr")["background"].item() == pytest.approx(expected.item())


def test_an_image_without_dark_pixels_has_no_background():
    fused = torch.full((1, 1, 8, 8), 7.0).double()
    assert guard_values(fused, pair(torch.full((8, 8), 5.0), torch.zeros(8, 8)), "mr")["background"].isnan().all()


def test_bone_kept_is_the_mean_over_saturated_pixels_of_the_second_source():
    second = torch.zeros(8, 8)
    second[0, 0], second[0, 1], second[0, 2] = 251, 255, 250  # 250 is not saturated
    fused = torch.zeros(1, 1, 8, 8).double()
    fused[..., 0, 0], fused[..., 0, 1], fused[..., 0, 2] = 204, 102, 255
    values = guard_values(fused, pair(torch.zeros(8, 8), second), "ct")
    assert values["bone"].item() == pytest.approx(153 / 255)
    assert "uptake" not in values


def test_uptake_kept_is_relative_to_the_hot_spot():
    second = torch.arange(100.0).reshape(10, 10)
    fused = torch.zeros(1, 1, 10, 10).double()
    fused[..., 9, 9] = 49.5  # the 99th percentile of 0..99 is 98.01: only 99 is above it
    values = guard_values(fused, pair(torch.zeros(10, 10), second), "spect")
    assert values["uptake"].item() == pytest.approx(0.5)
    assert "bone" not in values


@pytest.mark.parametrize("modality", ["spect", "pet", "infrared"])
def test_a_source_that_is_black_where_it_is_brightest_has_no_uptake(modality):
    second = torch.zeros(2, 20, 20)
    second[0, 3, 3] = 200.0  # less than 1 % of it: the brightest 1 % is all of it, and not black
    sources = torch.stack([torch.zeros(2, 20, 20), second], dim=1).double()
    values = guard_values(torch.full((2, 1, 20, 20), 7.0).double(), sources, modality)
    name = "targets" if modality == "infrared" else "uptake"
    assert values[name].tolist() == pytest.approx([7 / (200 / 400), torch.nan], nan_ok=True)


def test_invented_pixels_leave_the_range_of_their_neighbourhood_in_both_sources():
    first, second = torch.full((20, 20), 100.0), torch.full((20, 20), 120.0)
    fused = torch.full((1, 1, 20, 20), 110.0).double()
    fused[..., 3, 3], fused[..., 5, 5], fused[..., 9, 9] = 120 + 25.6, 100 - 25.6, 120 + 25.4
    values = guard_values(fused, pair(first, second), "mr")
    assert values["invented"].item() == pytest.approx(100 * 2 / 400)


def test_a_value_moved_by_three_pixels_is_not_invented_and_by_four_is():
    for distance, expected in ((3, 0.0), (4, 100 / 400)):
        first = torch.zeros(20, 20)
        first[5, 5] = 200.0
        fused = torch.zeros(1, 1, 20, 20).double()
        fused[..., 5, 5 + distance] = 200.0
        values = guard_values(fused, pair(first, torch.zeros(20, 20)), "mr")
        assert values["invented"].item() == pytest.approx(expected)


def test_every_image_of_a_batch_is_measured_separately():
    torch.manual_seed(0)
    fused, sources = torch.rand(5, 1, 16, 16) * 255, torch.rand(5, 2, 16, 16) * 255
    sources[:, :, :4] = 0
    together = guard_values(fused, sources, "ct")
    for index in range(5):
        alone = guard_values(fused[index : index + 1], sources[index : index + 1], "ct")
        for name, values in together.items():
            torch.testing.assert_close(values[index], alone[name][0], equal_nan=True)


def test_images_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="expected"):
        guard_values(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8), "ct")


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("background", 2.0, 2.1), ("bone", 0.85, 0.84), ("uptake", 0.9, 0.8)]
)
def test_a_guard_distinguishes_good_from_bad(name, good, bad):
    assert GUARDS[name].holds(good)
    assert not GUARDS[name].holds(bad)


def volume(*slices: torch.Tensor) -> torch.Tensor:
    return torch.stack(slices, dim=-1)[None].double()


def test_calm_compares_the_steps_between_slices_with_those_of_the_noisier_source():
    flat = torch.zeros(4, 4)
    calm, restless = volume(flat, flat + 1, flat + 2), volume(flat, flat + 4, flat)
    fused = volume(flat, flat + 3, flat + 6)
    values = VOLUME_GUARDS["calm"].values(fused, torch.cat([calm, restless]))
    assert values.item() == pytest.approx(3 / 4)
    assert VOLUME_GUARDS["calm"].holds(1.1)
    assert not VOLUME_GUARDS["calm"].holds(1.11)


def test_an_image_without_patches_has_no_grid():
    torch.manual_seed(0)
    sources = torch.rand(2, 128, 128, 8).double()
    assert VOLUME_GUARDS["grid"].values(sources.mean(0, keepdim=True), sources).item() < 1.05


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("phase", [0, 3, 7])
def test_a_step_at_every_eighth_pixel_is_a_grid_whatever_its_phase(dim, phase):
    steps = torch.ones(64)
    steps[phase::8] = 2
    ramp = torch.cat([torch.zeros(1), steps.cumsum(0)]).double()  # steps of 1, each eighth of 2
    fused = ramp.reshape(-1, 1) if dim == 0 else ramp.reshape(1, -1)
    fused = fused.expand(65, 65)[None, ..., None]
    plain = (torch.arange(65.0)[:, None] + torch.arange(65.0)).double()[None, ..., None]
    sources = torch.cat([plain, plain])
    found = VOLUME_GUARDS["grid"].values(fused + 0.001 * plain, sources).item()
    assert found == pytest.approx(2.001 / (9.008 / 8), rel=1e-6)  # the share of one step of 2 among seven of 1
    assert not VOLUME_GUARDS["grid"].holds(found)
