"""Serve the web front: options, address, token."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from .access import TOKEN_VARIABLE, Access, AccessError, choose_token
from .gateway import Gateway
from .sessions import ServerSettings, Sessions

MAX_PORT = 65535


def serve() -> None:
    """Serve the web front until interrupted."""
    options = _options()
    logging.basicConfig(level=logging.WARNING)
    try:
        token = choose_token(options.host, os.environ.pop(TOKEN_VARIABLE, None))
        if options.data is not None and not options.data.is_dir():
            raise AccessError(f"{options.data} is not a folder: give --data a folder with volumes")
    except AccessError as error:
        sys.exit(f"s3im-web: {error}")
    data = options.data.resolve() if options.data else None
    settings = ServerSettings(data, options.max_megabytes * 2**20, options.device)
    sessions = Sessions(settings, options.jobs, options.max_sessions, options.idle_minutes)
    gateway = Gateway(Access(token), sessions, settings.max_bytes)
    try:
        web.run_app(
            gateway.application(),
            host=options.host,
            port=options.port,
            access_log=None,  # it would contain the token and file names
            print=lambda *_: _announce(options.host, options.port, token),
            shutdown_timeout=1,
        )
    except OSError as error:
        sys.stderr.write(f"s3im-web: cannot listen on {options.host}, port {options.port}: {error.strerror or error}\n")
        sys.exit(2)


def _announce(host: str, port: int, token: str | None) -> None:
    shown = f"[{host}]" if ":" in host else host
    query = f"?token={token}" if token else ""
    sys.stdout.write(f"S3IMFusion is at http://{shown}:{port}/{query}\nResearch use only. Stop it with Ctrl+C.\n")
    sys.stdout.flush()


def _positive(kind: type) -> Callable[[str], float]:
    """Reads a positive number of a kind, for argparse."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if (number := kind(text)) > 0:
                return number
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")

    return read


def _port(text: str) -> int:
    """Reads a port, for argparse."""
    if (port := _positive(int)(text)) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text} is more than {MAX_PORT}")
    return port


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="s3im-web",
        description="Fuse volumes in a browser. Research use only.",
        epilog=f"Beyond loopback a token is needed: that of the variable {TOKEN_VARIABLE}, or a new one, printed once.",
    )
    add, count, minutes = parser.add_argument, _positive(int), _positive(float)
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine alone)")
    add("--port", type=_port, default=8642, help="port (default: %(default)s)")
    add("--data", type=Path, metavar="DIR", help="folder of this machine whose volumes may be loaded")
    add("--device", default="auto", help="where to compute: auto, cpu, cuda:1 (default: %(default)s)")
    add("--jobs", type=count, default=1, help="fusions at a time, across all users (default: %(default)s)")
    add("--max-sessions", type=count, default=20, help="users at a time (default: %(default)s)")
    add(
        "--max-megabytes",
        type=count,
        default=2048,
        help="size limit of an upload, packed and unpacked (default: %(default)s)",
    )
    add("--idle-minutes", type=minutes, default=30, help="an idle session ends after this time (default: %(default)s)")
    return parser.parse_args()
