"""The network of Fig. 2 as a whole."""

import pytest
import torch

from monai_s3im.networks import S3IMFusion


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return S3IMFusion().eval()


SIZES = [(1, 1), (1, 9), (2, 3), (8, 8), (16, 24), (17, 31), (7, 250), (63, 65), (256, 256)]


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_the_fused_image_has_the_size_of_the_sources(network, size):
    fused = network(torch.rand(2, 2, *size))
    assert fused.shape == (2, 1, *size)
    assert fused.isfinite().all()
    assert fused.abs().max() < 1


@torch.no_grad()
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("out_channels", [1, 3])
def test_any_number_of_sources_can_be_fused(sources, out_channels):
    network = S3IMFusion(in_channels=sources, out_channels=out_channels).eval()
    assert network(torch.rand(1, sources, 12, 20)).shape == (1, out_channels, 12, 20)


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"features": 4, "branch_features": 3, "token_features": 6, "heads": 3},
        {"stages": 1, "depth": 1, "heads": 1},
        {"stages": 4, "depth": 3, "patch_size": 4},
        {"patch_size": 5},
    ],
)
def test_widths_depths_heads_and_patches_are_arguments(options):
    assert S3IMFusion(**options).eval()(torch.rand(1, 2, 13, 22)).shape == (1, 1, 13, 22)


def conv(inputs, outputs, kernel, groups=1):
    return inputs // groups * outputs * kernel**2 + outputs


def linear(inputs, outputs):
    return inputs * outputs + outputs


def test_the_default_network_has_the_parameters_counted_by_hand():
    stem = conv(2, 16, 3)
    salient = conv(16, 16, 3) + 2 * 16  # batch norm: scale and shift
    detail = conv(16, 16, 3) + conv(16, 16, 5) + 2 * (conv(32, 16, 3) + conv(32, 16, 5))  # one stage and two more
    layer_norm = 2 * 64
    unit = layer_norm + linear(64, 3 * 64) + linear(64, 64) + layer_norm + linear(64, 128) + linear(128, 64)
    correlation = conv(48, 64, 8) + conv(64, 64, 3, groups=64) + 2 * unit + layer_norm + conv(64, 48, 1)
    fusion = 3 * 16
    reconstruction = conv(16, 16, 3) + conv(16, 1, 3)
    total = stem + salient + detail + correlation + fusion + reconstruction
    assert total == 316_289
    assert sum(parameter.numel() for parameter in S3IMFusion().parameters()) == total


def test_every_parameter_receives_a_gradient():
    torch.manual_seed(0)
    network = S3IMFusion()
    network(torch.rand(2, 2, 24, 24)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("size", [(8, 8), (33, 50)])
def test_what_may_be_overwritten_without_gradients_changes_no_bit(network, size):
    image = torch.rand(2, 2, *size)
    before = image.clone()
    with torch.no_grad():
        found = network.intermediates(image)
    for name, expected in network.intermediates(image).items():
        assert torch.equal(found[name], expected), name
    assert torch.equal(image, before)


@torch.no_grad()
def test_each_image_of_a_batch_is_fused_by_itself(network):
    images = torch.rand(3, 2, 20, 28)
    each = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), each, rtol=0, atol=1e-6)


@torch.no_grad()
def test_intermediates_have_the_documented_shapes_and_ranges(network):
    images = torch.rand(2, 2, 21, 30)
    found = network.intermediates(images)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "hybrid": (2, 16, 21, 30),
        "saliency": (2, 16, 21, 30),
        "salient": (2, 16, 21, 30),
        "fine": (2, 16, 21, 30),
        "coarse": (2, 16, 21, 30),
        "correlated": (2, 48, 21, 30),
        "weights": (3, 16),
        "fused": (2, 1, 21, 30),
    }
    assert found["saliency"].min() > 0
    assert found["saliency"].max() < 1
    torch.testing.assert_close(found["weights"].sum(0), torch.ones(16))
    assert torch.equal(found["fused"], network(images))


@torch.no_grad()
def test_intermediates_follow_fig_2(network):
    images = torch.rand(1, 2, 16, 16)
    found = network.intermediates(images)
    assert torch.equal(found["hybrid"], torch.relu(network.stem(images)))
    branches = torch.cat([found["salient"], found["fine"], found["coarse"]], dim=1)
    assert torch.equal(found["correlated"], network.correlation(branches))
    joined = (found["correlated"].unflatten(1, (3, 16)) * found["weights"][None, :, :, None, None]).sum(1)
    torch.testing.assert_close(found["fused"], torch.tanh(network.reconstruction(joined)))


class LargestBranch(torch.nn.Module):
    """A rule that is not linear."""

    def weights(self):
        return torch.full((3, 16), 1 / 3)

    def forward(self, features):
        return features.unflatten(1, (3, 16)).amax(1)


@torch.no_grad()
def test_a_rule_that_is_not_linear_joins_what_the_branches_are_with_the_correlation():
    torch.manual_seed(0)
    network = S3IMFusion().eval()
    network.fusion = LargestBranch()
    found = network.intermediates(torch.rand(1, 2, 20, 27))
    joined = found["correlated"].unflatten(1, (3, 16)).amax(1)
    torch.testing.assert_close(found["fused"], torch.tanh(network.reconstruction(joined)))


@torch.no_grad()
def test_a_constant_image_shows_no_grid_of_patches(network):
    # The border reaches 8 pixels through the convolutions, so 2 patches, 1 more through the positional encoding, and
    # half a patch through the interpolation; then 2 pixels through the reconstruction.
    reach = 3 * 8 + 4 + 2
    fused = network(torch.full((1, 2, 96, 104), 0.6))[..., reach:-reach, reach:-reach]
    assert (fused.amax() - fused.amin()) < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close_to_single_precision(network, half):
    images = torch.rand(1, 2, 40, 56)
    narrow = S3IMFusion().eval()
    narrow.load_state_dict(network.state_dict())
    fused = narrow.to(half)(images.to(half))
    assert fused.dtype == half
    # Half an ulp of rounding at 1 in the sources moves the fused image by no more than that.
    torch.testing.assert_close(fused.float(), network(images), rtol=0, atol=torch.finfo(half).eps / 2)


@torch.no_grad()
def test_autocast_stays_close_to_single_precision(network):
    images = torch.rand(1, 2, 40, 56)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = network(images)
    torch.testing.assert_close(fused.float(), network(images), rtol=0, atol=torch.finfo(torch.bfloat16).eps / 2)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 8, 8), (2, 8, 8), (1, 2, 8, 8, 8)])
def test_images_of_another_shape_are_refused_with_it_named(network, shape):
    with pytest.raises(ValueError, match="expected sources of shape") as refusal:
        network(torch.rand(shape))
    assert str(list(shape)) in str(refusal.value)
    assert "(B, 2, H, W)" in str(refusal.value)
