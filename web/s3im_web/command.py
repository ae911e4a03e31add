"""The command ``s3im-web``."""

import importlib.util
import sys

_OF_THE_EXTRA = ("aiohttp",)
_PACKAGES = "'aiohttp>=3.10'"  # the extra web


def main() -> None:
    """Serve the web front until interrupted; exit with 2 if its libraries are not installed."""
    if any(importlib.util.find_spec(name) is None for name in _OF_THE_EXTRA):
        sys.stderr.write(f"s3im-web: the web front is not installed: python -m pip install {_PACKAGES}\n")
        sys.exit(2)
    from .serving import serve

    serve()
