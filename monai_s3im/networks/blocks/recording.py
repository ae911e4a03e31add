"""Whether a network is being recorded, for an export or for gradients."""

import torch


def is_recorded() -> bool:
    """Whether the operations are recorded, for every size of image: traced, exported or compiled.

    What holds for one size, or is quick in eager mode alone, has no place in a record.
    """
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]


def is_compiled() -> bool:
    """Whether the operations are recorded by torch.export or torch.compile, which hold a record to what was seen."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.compiler.is_compiling()


def is_written_as_onnx() -> bool:
    """Whether the record becomes an ONNX file, whose operators do not know all that PyTorch's do."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.onnx.is_in_onnx_export()


def must_keep() -> bool:
    """Whether features must stay as they are, for gradients or a record; else they may be overwritten.

    On a CPU, new memory for features takes longer than the arithmetic that fills it.
    """
    return torch.is_grad_enabled() or is_recorded()
