import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_s3im.errors import InputError
from monai_s3im.inferers import SliceWiseInferer


def network(image: Tensor) -> Tensor:
    """(B, N, H, W) to (B, 2, H, W), different at every pixel and for every source."""
    assert type(image) is Tensor
    assert image.is_contiguous()
    ramp = torch.arange(image.shape[-1], dtype=image.dtype)
    return torch.stack([image[:, 0] * ramp - image[:, 1], image.amax(dim=(1, 2))[:, None] + image[:, 1]], dim=1)


class SmallMemory:
    """A network on a device that holds a few slices only."""

    def __init__(self, largest, error=None):
        self.largest, self.batches = largest, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def __call__(self, image):
        self.batches.append(len(image))
        if len(image) > self.largest:
            raise self.error
        return network(image)


def refused_by_the_main_memory():
    try:
        torch.empty(2**46)
    except RuntimeError as error:
        return error
    raise AssertionError("this machine has 256 TiB of memory")


FULL_MEMORY = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory"),
    "CPU here": refused_by_the_main_memory(),
    "CPU on Windows": RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
}


def a_volume(slices=7, batch=1):
    return torch.rand(batch, 2, 5, 6, slices, generator=torch.Generator().manual_seed(0))


def slice_by_slice(volume):
    return torch.stack([network(volume[..., index].contiguous()) for index in range(volume.shape[-1])], dim=-1)


@pytest.mark.parametrize("slice_batch", [1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("batch", [1, 3])
def test_result_is_that_of_a_loop_over_the_slices(slice_batch, batch):
    volume = a_volume(batch=batch)
    assert torch.equal(SliceWiseInferer(slice_batch)(volume, network), slice_by_slice(volume))


def test_the_last_batch_may_be_smaller():
    memory = SmallMemory(100)
    SliceWiseInferer(3)(a_volume(slices=7), memory)
    assert memory.batches == [3, 3, 1]


def test_progress_reports_slices_done_and_all_slices():
    calls = []
    SliceWiseInferer(3, lambda done, total: calls.append((done, total)))(a_volume(slices=7), network)
    assert calls == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize("error", FULL_MEMORY.values(), ids=FULL_MEMORY)
def test_out_of_memory_halves_the_batch_and_gives_the_same_result(error):
    memory, calls, volume = SmallMemory(2, error), [], a_volume(slices=9)
    inferer = SliceWiseInferer(8, lambda done, total: calls.append(done))
    assert torch.equal(inferer(volume, memory), slice_by_slice(volume))
    assert memory.batches == [8, 4, 2, 2, 2, 2, 1]
    assert calls == [2, 4, 6, 8, 9]


def test_out_of_memory_halves_the_tried_batch_and_not_the_requested_one():
    memory = SmallMemory(2)
    SliceWiseInferer(64)(a_volume(slices=4), memory)
    assert memory.batches == [4, 2, 2]


def test_out_of_memory_later_in_the_volume_halves_from_there():
    memory, volume = SmallMemory(4), a_volume(slices=8)
    memory_shrinks = SliceWiseInferer(4, lambda done, total: setattr(memory, "largest", 1))
    assert torch.equal(memory_shrinks(volume, memory), slice_by_slice(volume))
    assert memory.batches == [4, 4, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("error", FULL_MEMORY.values(), ids=FULL_MEMORY)
def test_one_slice_that_does_not_fit_is_an_error(error):
    with pytest.raises(torch.OutOfMemoryError):
        SliceWiseInferer(4)(a_volume(), SmallMemory(0, error))


def test_a_smaller_batch_is_logged(caplog):
    SliceWiseInferer(4)(a_volume(), SmallMemory(1))
    assert caplog.messages == [
        "too little memory for 4 slices at once: continuing with 2",
        "too little memory for 2 slices at once: continuing with 1",
    ]


def test_another_error_of_the_network_is_not_treated_as_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        SliceWiseInferer(4)(a_volume(), SmallMemory(2, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))


def test_pictures_reach_the_network_unchanged():
    pictures = torch.rand(3, 2, 5, 6)
    assert torch.equal(SliceWiseInferer()(pictures, network), network(pictures))


def test_metadata_does_not_reach_the_network():
    volume = a_volume()
    assert torch.equal(SliceWiseInferer()(MetaTensor(volume), network), slice_by_slice(volume))
    pictures = volume[..., 0].contiguous()
    assert torch.equal(SliceWiseInferer()(MetaTensor(pictures), network), network(pictures))


def test_other_arguments_reach_the_network():
    result = SliceWiseInferer()(a_volume(), lambda image, factor, plus: factor * image + plus, 2.0, plus=1.0)
    torch.testing.assert_close(result, 2 * a_volume() + 1)


@pytest.mark.parametrize("slice_batch", [0, -1])
def test_a_batch_of_no_slices_is_refused(slice_batch):
    with pytest.raises(InputError, match=f"slice_batch is {slice_batch}: give the number of slices"):
        SliceWiseInferer(slice_batch)


@pytest.mark.parametrize(("shape", "words"), [((2, 5, 6), "expected"), ((1, 2, 5, 6, 0), "no slices")])
def test_other_shapes_are_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        SliceWiseInferer()(torch.rand(shape), network)


def test_the_cpu_takes_few_large_slices_at_once():
    small_memory = SmallMemory(largest=100)
    SliceWiseInferer(slice_batch=8)(torch.rand(1, 2, 512, 512, 3), small_memory)
    assert small_memory.batches == [2, 1]  # 2 x 512 x 512 = 2^19


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_memory_of_the_device_does_not_grow_with_the_number_of_slices():
    def peak(slices):
        torch.cuda.reset_peak_memory_stats()
        inferer = SliceWiseInferer(slice_batch=4, device="cuda")
        assert (
            inferer(torch.rand(1, 2, 64, 64, slices), lambda image: image.mean(dim=1, keepdim=True)).device.type
            == "cpu"
        )
        return torch.cuda.max_memory_allocated()

    assert peak(400) == peak(40)


@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (1, 2, 4, 5, 3)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_gives_no_numbers_is_reported(shape, value):
    def broken(image):
        result = network(image)
        result[-1, -1, -1, -1] = value
        return result

    with pytest.raises(InputError, match="the network gave NaN or infinity"):
        SliceWiseInferer()(torch.rand(shape), broken)
