"""Turn pip's output into one sentence about the cause of a failed installation, with a remedy."""

import re

from .i18n import _

LAST_LINES, LONGEST_LINE = 40, 500


class DependencyError(RuntimeError):
    """A missing package and the remedy, in one or two sentences.

    Attributes:
        details: pip's last lines, for a dialog's details; "" if pip did not run.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class ConflictError(DependencyError):
    """The requested packages conflict with installed ones.

    Attributes:
        names: the conflicting installed packages.
    """

    def __init__(self, message: str, details: str, names: list[str]) -> None:
        super().__init__(message, details)
        self.names = names


def explained(lines: list[str], error: BaseException) -> DependencyError:
    """The error to show for a failed installation.

    Args:
        lines: the output of pip.
        error: the exception; its text is also searched, for failures before or after pip.
    """
    details = "\n".join(line[:LONGEST_LINE] for line in [*lines[-LAST_LINES:], f"{type(error).__name__}: {error}"])
    text = "\n".join([*lines, str(error)])
    if "ResolutionImpossible" in text:
        names = list(dict.fromkeys(re.findall(r"\(constraint\) ([\w.-]+)==", text)))
        message = _("The packages are not compatible with installed ones: {packages}.")
        return ConflictError(message.format(packages=", ".join(names) or _("see the details")), details, names)
    for pattern, message in _kinds():
        if re.search(pattern, text):
            return DependencyError(message, details)
    return DependencyError(_found_nothing(text) or _("The packages could not be installed: see the details."), details)


def _kinds() -> list[tuple[str, str]]:
    """Patterns and sentences; the first match counts, since a proxy's error causes others."""
    return [
        (
            r"Errno 28|Errno 122|WinError 112",
            _("There is no space left on the disk: free some gigabytes and apply again."),
        ),
        (
            r"WinError 32\b",
            _("Files of a package are in use: restart Slicer, open S3IMFusion first and apply again."),
        ),
        (
            r"Errno 13|Errno 30|WinError 5\b",
            _(
                "Slicer's folder cannot be written to: install Slicer into a folder of your own, or start it once as "
                "administrator, and apply again."
            ),
        ),
        (
            r"WinError 1114|WinError 126|WinError 127|DLL load",
            _(
                "PyTorch is installed but cannot be loaded: install the latest Microsoft Visual C++ Redistributable "
                "(x64), restart Slicer and apply again."
            ),
        ),
        (
            r"ProxyError|407 Proxy",
            _(
                "The proxy refused the connection: set the environment variable HTTPS_PROXY to your proxy's address, "
                "with name and password where it asks for them, restart Slicer and apply again."
            ),
        ),
        (
            r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
            _(
                "The certificate of the package server is not trusted: set the environment variable PIP_CERT to the "
                "certificate file of your institution, restart Slicer and apply again."
            ),
        ),
        (
            r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|IncompleteRead|getaddrinfo",
            _("The package server cannot be reached: check the Internet connection and apply again."),
        ),
    ]


def _found_nothing(text: str) -> str:
    """The sentence for a package that pip did not find, or not in a matching version; "" for other errors."""
    match = re.search(r"requirement (\S+).*?\(from versions: (.*?)\)", text)
    if match is None:
        return ""
    if match[2] == "none":
        message = _("The package server offers no {requirement}: a firewall or a mirror may hide it, see the details.")
    else:
        message = _("There is no {requirement} for this Slicer's Python and operating system.")
    return message.format(requirement=match[1])
