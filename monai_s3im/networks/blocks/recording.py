"""Whether a network is being recorded for an export."""

import torch


def is_recorded() -> bool:
    """Whether the operations are recorded, for every size of image: traced, exported or compiled.

    What holds for one size, or is quick in eager mode alone, has no place in a record.
    """
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
