"""Each block against its equation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from references.transformer_reference import transformer_unit

from monai_s3im.networks.blocks import (
    ComplementaryDetail,
    GlobalCorrelation,
    SalientBranch,
    TransformerUnit,
    WeightedBranchFusion,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def spread_out(block):
    """Large random parameters and statistics, which make every term of an equation visible."""
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.5)
        for module in block.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return block.double().eval()


@torch.no_grad()
def test_the_salient_branch_is_eq_1():
    branch = spread_out(SalientBranch(3, 5))
    features = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    response = F.conv2d(features, branch.conv.weight, branch.conv.bias, padding=1)
    norm = branch.norm
    standardized = (response - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()
    normed = standardized * norm.weight[:, None, None] + norm.bias[:, None, None]
    neighbourhood = F.pad(response, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 1).unfold(3, 3, 1)
    saliency = torch.sigmoid(neighbourhood.amax(dim=(-2, -1)))
    found, found_saliency = branch(features)
    torch.testing.assert_close(found_saliency, saliency)
    torch.testing.assert_close(found, torch.relu(normed) * saliency)


@torch.no_grad()
def test_the_detail_branches_see_each_other_after_each_stage():
    detail = spread_out(ComplementaryDetail(3, 2, stages=2))
    features = torch.randn(1, 3, 8, 9, dtype=torch.float64)
    (fine_1, fine_2), (coarse_1, coarse_2) = detail.fine, detail.coarse
    first_fine = F.conv2d(features, fine_1.weight, fine_1.bias, padding=1).relu()
    first_coarse = F.conv2d(features, coarse_1.weight, coarse_1.bias, padding=2).relu()
    both = torch.cat([first_fine, first_coarse], dim=1)
    fine, coarse = detail(features).chunk(2, dim=1)
    torch.testing.assert_close(fine, first_fine + F.conv2d(both, fine_2.weight, fine_2.bias, padding=1).relu())
    torch.testing.assert_close(coarse, first_coarse + F.conv2d(both, coarse_2.weight, coarse_2.bias, padding=2).relu())


def test_a_detail_branch_without_stages_is_refused():
    with pytest.raises(ValueError, match="stages must be at least 1, got 0"):
        ComplementaryDetail(3, 2, stages=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 3), (9, 7)])
def test_saliency_is_the_same_with_and_without_gradients(size):
    branch = spread_out(SalientBranch(3, 5))
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        quick, quick_saliency = branch(features)
    found, saliency = branch(features)
    assert torch.equal(found, quick)
    assert torch.equal(saliency, quick_saliency)


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_transformer_unit_is_eq_2_and_3(heads):
    unit = spread_out(TransformerUnit(8, heads))
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in unit.state_dict().items()}
    expected = [transformer_unit(image, weights, heads) for image in tokens.numpy()]
    np.testing.assert_allclose(unit(tokens).numpy(), np.array(expected), rtol=0, atol=1e-10)


def test_heads_that_do_not_divide_the_features_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide 8"):
        TransformerUnit(8, 3)


def global_correlation(channels=3, patch_size=8):
    return spread_out(GlobalCorrelation(channels, dim=8, depth=2, heads=2, patch_size=patch_size))


@torch.no_grad()
def test_the_global_correlation_adds_nothing_when_its_last_layer_is_zero():
    correlation = global_correlation()
    torch.nn.init.zeros_(correlation.to_channels.weight)
    torch.nn.init.zeros_(correlation.to_channels.bias)
    features = torch.randn(2, 3, 19, 30, dtype=torch.float64)
    assert torch.equal(correlation(features), features)


@torch.no_grad()
def test_every_pixel_influences_every_other():
    correlation = global_correlation()
    features = torch.randn(1, 3, 32, 40, dtype=torch.float64)
    changed = features.clone()
    changed[..., 0, 0] += 5
    difference = (correlation(changed) - correlation(features)).abs().amax(dim=1)
    assert (difference > 0).all()


@torch.no_grad()
def test_what_it_adds_is_smooth_across_the_borders_of_patches():
    # Between two centres of patches the added map is linear; pixels 6 to 9 lie on both sides of a border.
    features = torch.randn(1, 3, 32, 40, dtype=torch.float64)
    added = global_correlation()(features) - features
    bend = (added[..., 2:] - 2 * added[..., 1:-1] + added[..., :-2]).abs().amax(dim=(0, 1, 2))
    at_a_border = torch.tensor([column % 8 in (7, 0) for column in range(1, 39)])
    assert bend[at_a_border].max() < 1e-12
    assert bend.max() > 1e-3


@torch.no_grad()
def test_without_position_a_patch_is_treated_the_same_wherever_it_lies():
    correlation = global_correlation()
    torch.nn.init.zeros_(correlation.position.weight)
    torch.nn.init.zeros_(correlation.position.bias)
    features = torch.randn(1, 3, 40, 48, dtype=torch.float64)
    moved = correlation(features.roll((8, 16), dims=(2, 3)))
    expected = correlation(features).roll((8, 16), dims=(2, 3))
    # Interpolation repeats the tokens at the border: half a patch beside the border and beside the seam differs.
    torch.testing.assert_close(moved[..., 12:36, 20:44], expected[..., 12:36, 20:44])
    assert not torch.allclose(correlation(features), expected)


@torch.no_grad()
def test_padding_to_whole_patches_repeats_the_border():
    correlation = global_correlation()
    features = torch.randn(1, 3, 13, 21, dtype=torch.float64)
    repeated = F.pad(features, (0, 3, 0, 3), mode="replicate")
    assert torch.equal(correlation(features), correlation(repeated)[..., :13, :21])


@torch.no_grad()
def test_equal_logits_give_the_mean_of_the_branches():
    features = torch.randn(2, 12, 5, 6)
    mean = (features[:, :4] + features[:, 4:8] + features[:, 8:]) / 3
    torch.testing.assert_close(WeightedBranchFusion(3, 4)(features), mean)


@torch.no_grad()
def test_a_large_logit_selects_its_branch_channel_by_channel():
    fusion = WeightedBranchFusion(3, 4)
    for channel, branch in enumerate([0, 2, 1, 2]):
        fusion.logits[branch, channel] = 100
    features = torch.randn(2, 12, 5, 6)
    torch.testing.assert_close(fusion(features), features[:, [0, 9, 6, 11]])


@torch.no_grad()
def test_the_weights_of_the_branches_are_the_softmax_of_the_logits():
    fusion = WeightedBranchFusion(2, 1)
    fusion.logits[0, 0] = torch.log(torch.tensor(3.0))
    torch.testing.assert_close(fusion.weights(), torch.tensor([[0.75], [0.25]]))
