"""The network that weighs the bands of a pyramid."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from monai_s3im.networks import PyramidFusion, S3IMFusion, export_network, load_exported, load_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from yardsticks import IFCNNShape, count_operations

SIZES = [(1, 1), (1, 9), (2, 3), (8, 8), (17, 31), (7, 250), (63, 65), (256, 256)]


def with_random_weights(**options):
    torch.manual_seed(0)
    network = PyramidFusion(**options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return with_random_weights()


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_the_fused_image_has_the_size_of_the_sources(network, size):
    fused = network(torch.rand(2, 2, *size))
    assert fused.shape == (2, 1, *size)
    assert fused.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("sources", [1, 2, 3])
def test_any_number_of_sources_can_be_fused(sources):
    assert with_random_weights(in_channels=sources)(torch.rand(1, sources, 12, 20)).shape == (1, 1, 12, 20)


@torch.no_grad()
def test_with_weights_of_zero_it_is_the_mean_of_the_bases_and_the_sum_of_the_bands():
    """Before training every weight is sigmoid(0): a half of each base, and the gain's half, 1, of each band."""
    image = torch.rand(1, 2, 64, 96, generator=torch.Generator().manual_seed(1))
    base = image
    for _ in range(5):
        base = F.avg_pool2d(base, 2)
    of_base = base.sum(1, keepdim=True)
    for level in range(4, -1, -1):
        of_base = F.interpolate(of_base, size=[64 >> level, 96 >> level], mode="bilinear", align_corners=False)
    expected = image.sum(1, keepdim=True) - of_base / 2
    torch.testing.assert_close(PyramidFusion().eval().unbounded(image), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
def test_the_result_stays_near_what_the_sources_have_around(network, size):
    image = torch.rand(3, 2, *size)
    image[:, :, :20] *= 0.01
    fused = network(image)
    rows = range(0, size[0], 5)
    for row, column in [(row, column) for row in rows for column in range(0, size[1], 7)]:
        around = image[:, :, max(0, row - 3) : row + 4, max(0, column - 3) : column + 4].flatten(1)
        lowest, highest = around.amin(1), around.amax(1)
        margin = 0.08 * (4 * highest).clamp(max=1)
        value = fused[:, 0, row, column]
        assert (value >= (lowest - margin).clamp(min=0) - 1e-6).all()
        assert (value <= (highest + margin).clamp(max=1) + 1e-6).all()
    assert fused.min() >= 0
    assert fused.max() <= 1


@torch.no_grad()
def test_black_stays_black(network):
    assert network(torch.zeros(1, 2, 40, 40)).abs().max() == 0


@torch.no_grad()
def test_each_image_of_a_batch_is_fused_by_itself(network):
    images = torch.rand(3, 2, 20, 28)
    each = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), each, rtol=0, atol=1e-5)


def test_every_parameter_receives_a_gradient():
    network = with_random_weights().train()
    network.unbounded(torch.rand(2, 2, 64, 64)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@torch.no_grad()
@pytest.mark.parametrize("side", [128, 256])
def test_it_takes_at_most_a_quarter_of_ifcnn_s_bytes_and_a_twentieth_of_its_arithmetic(side):
    """What time follows from on any machine; seconds are in studies/performance.md."""
    image = torch.rand(1, 2, side, side)
    own, ifcnn = count_operations(PyramidFusion().eval(), image), count_operations(IFCNNShape().eval(), image)
    assert own.bytes <= 0.25 * ifcnn.bytes
    assert own.flops <= 0.05 * ifcnn.flops


@torch.no_grad()
def test_arithmetic_and_traffic_grow_as_the_number_of_pixels():
    counts = [count_operations(PyramidFusion().eval(), torch.rand(1, 2, side, side)) for side in (256, 1024)]
    assert counts[1].bytes / counts[0].bytes == pytest.approx(16, rel=0.02)
    assert counts[1].flops / counts[0].flops == pytest.approx(16, rel=0.02)


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".ts", ".onnx"])
def test_it_runs_in_other_runtimes_for_any_size_and_batch(network, tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    other = load_exported(export_network(network, tmp_path / f"pyramid{suffix}"))
    for shape in ((1, 2, 75, 101), (3, 2, 64, 64), (2, 2, 5, 130)):
        image = torch.rand(shape)
        torch.testing.assert_close(other(image), network(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 3, 16, 16)])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"expected sources of shape \(B, 2, H, W\), got"):
        network(torch.rand(*shape))


@torch.no_grad()
def test_its_weights_are_known_by_their_names(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "own.pt")
    loaded = load_weights(S3IMFusion(), tmp_path / "own.pt")
    image = torch.rand(1, 2, 32, 40)
    assert torch.equal(loaded(image), network(image))
    assert not loaded.training
    given = PyramidFusion()
    assert load_weights(given, tmp_path / "own.pt") is given
