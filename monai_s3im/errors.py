"""The two error types that a user can fix: input that cannot be used, output that cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Input that cannot be fused, trained on or measured.

    The message is one sentence that names the file and the remedy; the command prints it without a traceback and exits
    with code 2.
    """


class OutputError(OSError):
    """A result that cannot be written; nothing of it is left behind.

    The message is one sentence that names the file, the cause and the remedy.
    """


@contextmanager
def own_errors() -> Iterator[None]:
    """Re-raise our own errors and out-of-memory errors unchanged.

    MONAI wraps an error of a transform or a config component in a RuntimeError; this raises the original error instead.
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:
            is_full = type(cause).__name__ in {"MemoryError", "OutOfMemoryError"}
            if isinstance(cause, InputError | OutputError) or is_full:
                raise cause from None
            cause = cause.__cause__
        raise
