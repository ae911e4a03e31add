"""TorchScript and ONNX: the exported network equals the network at sizes unseen by the exporter."""

import onnxruntime
import pytest
import torch
from monai.networks.utils import convert_to_onnx, convert_to_torchscript
from torch.export import Dim

from monai_s3im.networks import S3IMFusion

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

SEEN = (2, 2, 24, 40)
UNSEEN = [(1, 2, 17, 33), (3, 2, 64, 7), (1, 2, 1, 1)]
AXES = {0: "batch", 2: "height", 3: "width"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = S3IMFusion().eval()
    with torch.no_grad():
        for parameter in network.reconstruction[-1].parameters():
            parameter.mul_(5)  # spread the fused values over (-1, 1), where a difference would be seen
    return network


def by_onnxruntime(model):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(["fused"], {"image": image.numpy()})[0])


@torch.no_grad()
def scripted(network, _):
    return torch.jit.script(network)


def scripted_by_monai(network, folder):
    convert_to_torchscript(network, filename_or_obj=folder / "network.ts", verify=True, inputs=[torch.rand(SEEN)])
    return torch.jit.load(folder / "network.ts")


def traced_by_monai(network, _):
    return convert_to_torchscript(network, use_trace=True, inputs=[torch.rand(SEEN)])


def onnx_by_torch(network, folder):
    dynamic = dict.fromkeys(AXES, torch.export.Dim.DYNAMIC)
    file = folder / "network.onnx"
    torch.onnx.export(
        network,
        (torch.rand(SEEN),),
        file,
        dynamo=True,
        dynamic_shapes=(dynamic,),
        input_names=["image"],
        output_names=["fused"],
        verbose=False,
    )
    return by_onnxruntime(file)


def onnx_by_monai(network, _):
    model = convert_to_onnx(
        network,
        [torch.rand(SEEN)],
        input_names=["image"],
        output_names=["fused"],
        dynamic_axes={"image": AXES, "fused": AXES},
        opset_version=17,
        use_trace=True,
        dynamo=False,
    )
    return by_onnxruntime(model.SerializeToString())


EXPORTS = {
    scripted: 1e-5,
    scripted_by_monai: 1e-5,
    traced_by_monai: 1e-5,
    onnx_by_torch: 1e-4,
    onnx_by_monai: 1e-4,
}


@torch.no_grad()
@pytest.mark.parametrize("export", EXPORTS)
def test_the_exported_network_fuses_as_the_network_does_at_unseen_sizes(network, tmp_path, export):
    exported = export(network, tmp_path)
    for size in UNSEEN:
        image = torch.rand(size)
        torch.testing.assert_close(exported(image), network(image), rtol=0, atol=EXPORTS[export])


@torch.no_grad()
def test_the_scripted_network_keeps_its_intermediates(network):
    image = torch.rand(1, 2, 17, 33)
    expected = network.intermediates(image)
    found = torch.jit.script(network).intermediates(image)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)


def test_the_scripted_network_refuses_a_wrong_number_of_sources(network):
    with pytest.raises(torch.jit.Error, match=r"expected sources of shape \(B, 2, H, W\), got \[1, 3, 8, 8\]"):
        torch.jit.script(network)(torch.rand(1, 3, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("size", [SEEN, (2, 2, 50, 61)], ids=str)
def test_torch_export_takes_sizes_as_free_as_a_user_names_them(network, size):
    """No multiples of the patch; 9 pixels at least, because a single row of patches is another case to torch.export."""
    free = {0: Dim("batch"), 2: Dim("height", min=9), 3: Dim("width", min=9)}
    exported = torch.export.export(network, (torch.rand(size),), dynamic_shapes=(free,)).module()
    for unseen in [(1, 2, 17, 33), (3, 2, 64, 9)]:
        image = torch.rand(unseen)
        torch.testing.assert_close(exported(image), network(image), rtol=0, atol=1e-5)
