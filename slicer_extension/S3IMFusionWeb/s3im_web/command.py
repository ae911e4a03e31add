"""The command ``s3im-web``."""

import importlib.util
import sys

_OF_THE_EXTRA = ("aiohttp", "trame", "trame_slicer", "trame_vuetify")


def main() -> None:
    """Serve the web front until interrupted; exit with 2 where its libraries are not installed."""
    if any(importlib.util.find_spec(name) is None for name in _OF_THE_EXTRA):
        sys.stderr.write("s3im-web: the web front is not installed: pip install 'monai-s3im[web]'\n")
        sys.exit(2)
    from .serving import serve

    serve()
