"""The two error types that a user can mend: input that cannot be used, output that cannot be written."""


class InputError(ValueError):
    """Input that cannot be fused, trained on or measured.

    The message is one sentence that names the file and the remedy; the command prints it without a traceback and exits
    with code 2.
    """


class OutputError(OSError):
    """A result that cannot be written; nothing of it is left behind.

    The message is one sentence that names the file, the cause and the remedy.
    """
