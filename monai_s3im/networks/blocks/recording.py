"""Whether a network is being recorded, for an export or for gradients."""

import torch


def is_recorded() -> bool:
    """Whether the operations are being recorded for any image size: traced, exported or compiled.

    Code for one size, or fast only in eager mode, must not be recorded.
    """
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]


def is_compiled() -> bool:
    """Whether torch.export or torch.compile is recording, which turns observed sizes into constraints."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.compiler.is_compiling()


def is_written_as_onnx() -> bool:
    """Whether the recording becomes an ONNX file, whose operators support less than PyTorch's."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.onnx.is_in_onnx_export()


def must_keep() -> bool:
    """Whether features must be kept, for gradients or a recording; else they may be overwritten.

    On a CPU, allocating memory for features takes longer than computing them.
    """
    return torch.is_grad_enabled() or is_recorded()
