import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_s3im.functional import plane_colors, uptake_colors
from monai_s3im.transforms import (
    ARCS,
    ColorMap,
    ColorMapd,
    FillUncoveredd,
    JoinSourcesd,
    RestoreChrominanced,
    SplitChrominanced,
)
from monai_s3im.transforms.notes import COLOR_BAR, noted

KEYS = ["image_a", "image_b"]
LUMA = torch.tensor([0.299, 0.587, 0.114])


def noise(*shape, seed=0):
    return MetaTensor(torch.rand(*shape, generator=torch.Generator().manual_seed(seed)))


def luma(rgb):
    return (LUMA.view(3, *[1] * (rgb.ndim - 1)) * rgb.as_tensor()).sum(0, keepdim=True)


def restored(data, fused, gray=False):
    image = torch.cat([data[key].as_tensor() for key in KEYS])
    filled = FillUncoveredd("pred")({**data, "image": image, "pred": fused})
    return RestoreChrominanced("pred", gray=gray)(filled)["pred"]


def test_split_leaves_the_luma_of_bt_601_and_gray_sources_as_they_are():
    gray, rgb = noise(1, 4, 5), noise(3, 4, 5)
    result = SplitChrominanced(KEYS)({"image_a": gray, "image_b": rgb})
    assert torch.equal(result["image_a"], gray)
    torch.testing.assert_close(result["image_b"].as_tensor(), luma(rgb))
    assert result["chrominance"].shape == (2, 4, 5)


def test_two_gray_sources_have_no_chrominance():
    assert "chrominance" not in SplitChrominanced(KEYS)({"image_a": noise(1, 4, 5), "image_b": noise(1, 4, 5)})


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6)])
def test_the_coloured_source_is_restored_if_its_own_luma_is_the_fused_one(shape):
    rgb = noise(3, *shape)
    data = SplitChrominanced(KEYS)({"image_a": noise(1, *shape), "image_b": rgb})
    torch.testing.assert_close(restored(data, luma(rgb)), rgb.as_tensor(), rtol=0, atol=1e-6)


def test_a_picture_fused_with_itself_keeps_its_colours():
    rgb = noise(3, 4, 5)
    data = SplitChrominanced(KEYS)({"image_a": rgb, "image_b": rgb})
    torch.testing.assert_close(restored(data, luma(rgb)), rgb.as_tensor(), rtol=0, atol=1e-6)


def test_a_gray_result_is_only_the_fused_luma():
    data = SplitChrominanced(KEYS)({"image_a": noise(1, 4, 5), "image_b": noise(3, 4, 5)})
    fused = torch.rand(1, 4, 5)
    assert torch.equal(restored(data, fused, gray=True), fused)


def test_the_result_is_within_0_to_1():
    data = SplitChrominanced(KEYS)({"image_a": noise(1, 9, 9), "image_b": noise(3, 9, 9)})
    result = restored(data, 4 * torch.rand(1, 9, 9) - 2)
    assert result.amin() >= 0
    assert result.amax() <= 1


def covered_thirds(shape):
    """Both sources cover the first third of the rows, ``alone`` the second, none the last."""
    return {
        alone: torch.stack(
            [torch.arange(shape[0]) < (4 if source == alone else 2) for source in (0, 1)]  # (2, rows)
        )
        .view(2, -1, 1, 1)
        .expand(2, *shape)
        for alone in (0, 1)
    }


@pytest.mark.parametrize("channels_a", [1, 3])
@pytest.mark.parametrize("channels_b", [1, 3])
@pytest.mark.parametrize("alone", [0, 1])
def test_where_one_source_is_alone_the_result_is_that_source_and_where_none_is_it_is_black(
    alone, channels_a, channels_b
):
    shape = (6, 5, 4)
    source_a, source_b = noise(channels_a, *shape, seed=1), noise(channels_b, *shape, seed=2)
    data = {"image_a": source_a, "image_b": source_b, "covered": covered_thirds(shape)[alone]}
    fused = torch.rand(1, *shape)
    result = restored(SplitChrominanced(KEYS)(data), fused)
    expected = (source_a, source_b)[alone].as_tensor().expand(result.shape[0], *shape)
    tolerance = 0 if channels_a == channels_b == 1 else 1e-6
    torch.testing.assert_close(result[:, 2:4], expected[:, 2:4], rtol=0, atol=tolerance)
    assert (result[:, 4:] == 0).all()
    if channels_a == channels_b == 1:
        assert torch.equal(result[:, :2], fused[:, :2])
    assert (result[:, :2] != expected[:, :2]).any()


def test_the_sources_are_not_changed():
    sources = {"image_a": noise(1, 4, 5), "image_b": noise(3, 4, 5)}
    before = {key: image.clone() for key, image in sources.items()}
    restored(SplitChrominanced(KEYS)(sources), torch.rand(1, 4, 5))
    assert all(torch.equal(sources[key], before[key]) for key in KEYS)


def uptake(*shape, seed=3):
    values = noise(1, *shape, seed=seed)
    values[:, :2] = 0
    return MetaTensor(values.as_tensor(), meta={"modality": "pet"})


@pytest.mark.parametrize("name", ["afmhot", "viridis"])
@pytest.mark.parametrize("others", [1, 3])
def test_uptake_with_a_table_is_fused_as_if_it_had_been_in_colour_before(name, others):
    shape, fused = (6, 5, 4), torch.rand(1, 6, 5, 4)
    other, values = noise(others, *shape), uptake(*shape)
    by_table = SplitChrominanced(KEYS)(ColorMapd("image_b", name, "ycbcr")({"image_a": other, "image_b": values}))
    assert ("uptake" in by_table) == (others == 1)
    in_colour = SplitChrominanced(KEYS)({"image_a": other, "image_b": ColorMap(name)(values)})
    assert torch.equal(by_table["image_b"], in_colour["image_b"])
    assert by_table["image_b"].meta["modality"] == "pet"
    assert torch.equal(restored(by_table, fused), restored(in_colour, fused))


@pytest.mark.parametrize("seen", [0, 1])
def test_there_is_no_colour_without_uptake(seen):
    shape = (6, 5, 4)
    data = {"image_a": noise(1, *shape), "image_b": uptake(*shape), "covered": covered_thirds(shape)[seen]}
    data["image_b"] *= data["covered"][1]  # as it is after resampling
    by_table = SplitChrominanced(KEYS)(ColorMapd("image_b", "afmhot", "ycbcr")(data))
    in_colour = SplitChrominanced(KEYS)({**data, "image_b": ColorMap("afmhot")(data["image_b"])})
    fused = torch.rand(1, *shape)
    torch.testing.assert_close(restored(by_table, fused), restored(in_colour, fused), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gray", [False, True])
def test_uptake_by_hue_is_fused_unchanged_and_coloured_at_the_end(gray):
    shape, fused = (6, 5, 4), torch.rand(1, 6, 5, 4)
    other, values = noise(1, *shape), uptake(*shape)
    data = SplitChrominanced(KEYS)(ColorMapd("image_b")({"image_a": other, "image_b": values}))
    assert torch.equal(data["image_b"].as_tensor(), values.as_tensor())
    assert noted(data, COLOR_BAR)
    data["image"] = torch.cat([data[key].as_tensor() for key in KEYS])
    result = RestoreChrominanced("pred", gray=gray)(FillUncoveredd("pred")({**data, "pred": fused}))
    plane = uptake_colors(ARCS["magenta-gold"])[1]
    expected = fused if gray else plane_colors(plane, values.as_tensor(), fused)
    torch.testing.assert_close(result["pred"], expected, rtol=0, atol=1e-6)
    assert (noted(result, COLOR_BAR) == {}) == gray


@pytest.mark.parametrize("keep", [True, False])
def test_sources_are_joined_in_order_and_freed_on_request(keep):
    data = {"image_a": noise(1, 4, 5, seed=1), "image_b": noise(1, 4, 5, seed=2), "kept": 1}
    expected = torch.cat([data["image_a"].as_tensor(), data["image_b"].as_tensor()])
    joined = JoinSourcesd(KEYS, keep=keep)(data)
    assert torch.equal(joined["image"].as_tensor(), expected)
    left = ["image_a", "image_b"] if keep else []
    assert sorted(joined) == ["image", *left, "kept"]
    assert sorted(data) == [*left, "kept"]


def test_where_a_source_ends_the_network_sees_no_edge():
    """Beyond its end a source continues with its nearest voxel in the slice, found here by trying all."""
    shape = (9, 8, 3)
    rows, columns, slices = np.indices(shape)
    inside = (columns < 0.7 * rows + slices) & (slices < 2)  # the last slice is not covered at all
    inside[4, 4, 1] = False
    data = {"image_a": noise(1, *shape, seed=1), "image_b": noise(1, *shape, seed=2)}
    data["covered"] = torch.as_tensor(np.stack([np.ones(shape, bool), inside]))
    a, b = (data[key].numpy()[0].copy() for key in KEYS)
    joined = JoinSourcesd(KEYS)(dict(data))["image"].numpy()
    assert np.array_equal(joined[0], a)
    assert np.array_equal(joined[1][inside], b[inside])
    assert np.array_equal(joined[1][..., 2], b[..., 2])
    for row, column, index in np.argwhere(~inside[..., :2]):
        distances = np.where(inside[..., index], np.hypot(rows - row, columns - column)[..., index], np.inf)
        nearest = b[..., index][np.isclose(distances, distances.min())]
        assert joined[1][row, column, index] in nearest
