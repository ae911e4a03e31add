"""Show a report in the browser of this machine, and save its ratings next to it."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import isfile

from .cases import read_batch
from .ratings import MOST_LETTERS, Rating, parse_ratings, read_ratings, write_ratings

logger = logging.getLogger(__name__)

_MOST_BYTES = 20 * 2**20
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def serve_report(folder: Path, started: Callable[[str], None], port: int = 0) -> None:
    """Serve ``report.html`` of a folder on loopback until interrupted; ratings are saved to ``ratings.json`` there.

    Args:
        folder: the output folder of a batch, with its report.
        started: called with the address.
        port: 0: a free one.

    Raises:
        InputError: if the report is missing, or the port is taken.
    """
    page = folder / "report.html"
    if not isfile(page):
        raise InputError(f"{page} does not exist: write it first with s3im report {folder}")
    try:
        server = report_server(folder, port)
    except OSError as error:
        raise InputError(f"cannot listen on port {port} ({error.strerror}): choose another with --port") from error
    with server:
        started(f"http://127.0.0.1:{server.server_address[1]}/")
        server.serve_forever()


def report_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the report, bound to loopback, not yet serving."""
    names = [case.result.name for case in read_batch(folder).cases]
    handler = type("Handler", (ReportHandler,), {"folder": folder, "names": names})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


class ReportHandler(BaseHTTPRequestHandler):
    """Serves only the report and the ratings.

    Attributes:
        folder: of the report.
        names: of its cases.
    """

    folder: ClassVar[Path]
    names: ClassVar[list[str]]

    def do_GET(self) -> None:
        """The report, or the ratings next to it."""
        if not self._is_from_here():
            return
        if self.path == "/ratings.json":
            self._answer_ratings()
            return
        if urlsplit(self.path).path not in {"/", "/report.html"}:
            self._answer(HTTPStatus.NOT_FOUND, "Only the report is served here.")
            return
        try:
            self._answer(HTTPStatus.OK, (self.folder / "report.html").read_bytes(), "text/html; charset=utf-8")
        except OSError:
            self._answer(HTTPStatus.NOT_FOUND, "The report is missing: write it again with s3im report.")

    def do_PUT(self) -> None:
        """Ratings, which replace older ones of the same cases."""
        if not self._is_from_here():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/ratings.json" or not length.isdigit() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.BAD_REQUEST, "These are not the ratings of the report.")
            return
        try:
            given = parse_ratings(json.loads(self.rfile.read(int(length))), self.names)
            saved = read_ratings(self.folder, self.names)
            newer = {name: each for name, each in given.items() if each.rated_at >= saved.get(name, Rating()).rated_at}
            write_ratings(self.folder, {**saved, **newer})
        except (InputError, OutputError) as error:
            self._answer(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except (ValueError, RecursionError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"The ratings cannot be used: {error}")
        else:
            self._answer(HTTPStatus.OK, "saved")

    def _answer_ratings(self) -> None:
        try:
            ratings = {name: asdict(each) for name, each in read_ratings(self.folder, self.names).items()}
        except InputError as error:
            self._answer(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
            return
        self._answer(HTTPStatus.OK, json.dumps({"ratings": ratings}).encode(), "application/json")

    def _is_from_here(self) -> bool:
        """Refuse other host names and pages of other sites."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        is_own = urlsplit(f"//{host}").hostname in _LOOPBACK and origin in {None, f"http://{host}"}
        if not is_own:
            self.close_connection = True
            self._answer(HTTPStatus.FORBIDDEN, "The report is served to this machine only.")
        return is_own

    def _answer(self, status: HTTPStatus, content: str | bytes, kind: str = "text/plain; charset=utf-8") -> None:
        body = content if isinstance(content, bytes) else content[:MOST_LETTERS].encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Keep requests out of the terminal."""
        logger.debug(format, *arguments)
