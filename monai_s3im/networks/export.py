"""Export the network to other runtimes: TorchScript, ONNX Runtime and OpenVINO, for any image size."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_s3im.errors import InputError, OutputError

EXPORT_FORMATS = {"torchscript": ".ts", "onnx": ".onnx", "openvino": ".xml"}
"""Formats and their file suffixes; OpenVINO writes its weights next to it, as .bin."""

_PACKAGES = "'onnx>=1.17' 'onnxruntime>=1.20' 'onnxscript>=0.5' 'openvino>=2025.0'"  # the extra export
_REMEDY = f"install the packages for export: python -m pip install {_PACKAGES}"


def export_network(network: nn.Module, path: str | Path) -> Path:
    """Write a network as TorchScript (.ts), ONNX (.onnx) or OpenVINO (.xml with .bin).

    Args:
        network: in evaluation mode, on the CPU.
        path: file to write; its suffix names the format. Batch, height and width stay free.

    Returns:
        The path.

    Raises:
        InputError: if the suffix is unknown, or the format's libraries are not installed.
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in EXPORT_FORMATS.values():
        raise InputError(f"{path} has an unknown suffix: give a file that ends in {', '.join(EXPORT_FORMATS.values())}")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}") as folder:
            written = _WRITERS[path.suffix](network, Path(folder) / path.name)
            for file in reversed(written):  # the weights before the file that refers to them
                file.replace(path.with_suffix(file.suffix))
    except ImportError as error:
        raise InputError(f"{path} cannot be written without {error.name}: {_REMEDY}") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): name another file") from error
    return path


def _write_torchscript(network: nn.Module, path: Path) -> list[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.freeze(torch.jit.script(network)).save(str(path))
    return [path]


def _write_onnx(network: nn.Module, path: Path) -> list[Path]:
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # internal warnings of the exporter
        torch.onnx.export(
            network,
            (torch.rand(2, 2, 24, 40),),
            path,
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=["image"],
            output_names=["fused"],
            external_data=False,
            verbose=False,
        )
    return [path]


def _write_openvino(network: nn.Module, path: Path) -> list[Path]:
    import openvino  # noqa: PLC0415

    model = openvino.convert_model(_write_onnx(network, path.with_suffix(".onnx"))[0])
    openvino.save_model(model, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


_WRITERS = {".ts": _write_torchscript, ".onnx": _write_onnx, ".xml": _write_openvino}


def load_exported(path: str | Path) -> nn.Module:
    """Load a network that :func:`export_network` wrote, to run on the CPU instead of the original.

    ONNX files run in ONNX Runtime, .xml files in OpenVINO, in float32, on as many threads as PyTorch has.

    Raises:
        InputError: if the file cannot be read, or its runtime is not installed.
    """
    path = Path(path)
    try:
        return _LOADERS[path.suffix](path).eval()
    except KeyError as error:
        raise InputError(
            f"{path} is not an exported network: give a file that ends in {', '.join(_LOADERS)}"
        ) from error
    except ImportError as error:
        raise InputError(f"{path} cannot run without {error.name}: {_REMEDY}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path} cannot be read as a network ({reason}): export it again") from error


class _OtherRuntime(nn.Module):
    """A network in another runtime: arrays in, array out."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self._run = run

    def forward(self, image: Tensor) -> Tensor:
        return torch.from_numpy(self._run(image.contiguous().numpy(force=True))).to(image.device)


def _load_torchscript(path: Path) -> nn.Module:
    return torch.jit.load(str(path), map_location="cpu")


def _load_onnx(path: Path) -> nn.Module:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return _OtherRuntime(lambda image: session.run(["fused"], {"image": image})[0])


def _load_openvino(path: Path) -> nn.Module:
    import openvino  # noqa: PLC0415

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return _OtherRuntime(lambda image: request.infer([image], share_inputs=True)[0].copy())


_LOADERS = {".ts": _load_torchscript, ".onnx": _load_onnx, ".xml": _load_openvino}
