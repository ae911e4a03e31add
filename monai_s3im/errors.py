"""The one error type for input that cannot be used."""


class InputError(ValueError):
    """Input that cannot be fused, trained on or measured.

    The message is one sentence that names the file and the remedy; the command prints it without a traceback and exits
    with code 2.
    """
