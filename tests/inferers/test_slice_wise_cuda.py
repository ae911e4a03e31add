"""Slices that travel to a GPU and back while it computes."""

import pytest
import torch

from monai_s3im.errors import InputError
from monai_s3im.inferers import SliceWiseInferer
from monai_s3im.networks import S3IMFusion

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return S3IMFusion().cuda().eval()


def a_volume(slices):
    return torch.rand(1, 2, 48, 40, slices, generator=torch.Generator().manual_seed(0))


def slice_by_slice(volume, network):
    return torch.stack([network(image.cuda()).cpu() for image in volume.unbind(-1)], dim=-1)


@pytest.mark.gpu
@on_a_gpu
@torch.no_grad()
@pytest.mark.parametrize("slice_batch", [1, 3, 8])
def test_a_volume_of_the_cpu_is_fused_on_the_gpu_as_slice_by_slice(network, slice_batch):
    volume = a_volume(20)
    fused = SliceWiseInferer(slice_batch, device="cuda")(volume, network)
    assert fused.device.type == "cpu"
    torch.testing.assert_close(fused, slice_by_slice(volume, network), rtol=0, atol=1e-3)  # TF32 in convolutions


@pytest.mark.gpu
@on_a_gpu
@torch.no_grad()
def test_lack_of_memory_in_between_loses_no_slice(network):
    volume, calls = a_volume(9), []

    def small(image):
        calls.append(len(image))
        if len(image) > 2 and len(calls) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(image)

    fused = SliceWiseInferer(4, device="cuda")(volume, small)
    assert calls == [4, 4, 2, 2, 1]
    torch.testing.assert_close(fused, slice_by_slice(volume, network), rtol=0, atol=1e-3)


@pytest.mark.gpu
@on_a_gpu
@torch.no_grad()
def test_memory_of_the_device_does_not_grow_with_the_slices(network):
    peaks = []
    for slices in (16, 16, 160):
        torch.cuda.reset_peak_memory_stats()
        SliceWiseInferer(8, device="cuda")(a_volume(slices), network)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[2] <= 1.05 * peaks[1]


@pytest.mark.gpu
@on_a_gpu
@torch.no_grad()
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_the_gpu_stays_close(network, precision):
    volume = a_volume(5)
    fused = SliceWiseInferer(device="cuda", precision=precision)(volume, network)
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused, slice_by_slice(volume, network), rtol=0, atol=0.02)


@torch.no_grad()
def test_half_precision_on_the_cpu_stays_close_and_gives_single_precision():
    torch.manual_seed(0)
    network, volume = S3IMFusion().eval(), a_volume(3)
    fused = SliceWiseInferer(precision="bfloat16")(volume, network)
    exact = SliceWiseInferer()(volume, network)
    assert fused.dtype == torch.float32
    assert not torch.equal(fused, exact)
    torch.testing.assert_close(fused, exact, rtol=0, atol=0.02)


def test_another_precision_is_refused():
    with pytest.raises(InputError, match="precision 'float8' is unknown: use float32, bfloat16, float16"):
        SliceWiseInferer(precision="float8")
