"""Work that is killed at random moments: each runs in a child of a server that has everything imported."""

import json
import multiprocessing
import resource
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["monai_s3im.cli", "monai_s3im.workflows", "monai_s3im.batch", "monai_s3im.evaluation", "monai_s3im.pairs.download"]
)


def command(*arguments: object) -> None:
    """``s3im`` with arguments, in this process."""
    from monai_s3im.cli import app

    app([str(argument) for argument in arguments])


def with_small_files(limit: int, *arguments: object) -> tuple[int, str]:
    """The same where no file may be larger than a limit in bytes, as on a full disk; its code, and its words."""
    return told(arguments, limit)()


def told(arguments: Sequence[object], limit: int = resource.RLIM_INFINITY) -> Callable[[], tuple[int, str]]:
    """Start ``s3im``; what comes back waits for its code and its words."""
    here, there = CONTEXT.Pipe()
    process = started(_tell, limit, there, *arguments)

    def wait() -> tuple[int, str]:
        process.join(300)
        assert here.poll(), "the process gave no answer"
        return here.recv()

    return wait


def _tell(limit: int, answer: Any, *arguments: object) -> None:
    from typer.testing import CliRunner

    from monai_s3im.cli import app

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    answer.send((result.exit_code, result.stderr))


def fetch(url: str, path: Path) -> None:
    from monai_s3im.pairs.download import download

    download(url, path, progress=False)


def started(work: Callable[..., None], *arguments: Any) -> Any:
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    return process


def finish(work: Callable[..., None], *arguments: Any) -> float:
    """Run to the end; the seconds that it took."""
    begin = time.monotonic()
    process = started(work, *arguments)
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begin


def killed_after(seconds: float, work: Callable[..., None], *arguments: Any) -> bool:
    """Kill after a time; return whether it was still running."""
    process = started(work, *arguments)
    process.join(seconds)
    was_at_work = process.is_alive()
    process.kill()
    process.join()
    return was_at_work


def is_intact_json(path: Path) -> bool:
    return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)


class SlowServer:
    """Serves one content in small pieces."""

    def __init__(self, content: bytes, pause_s: float = 0.002, piece: int = 20_000) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for at in range(0, len(content), piece):
                    try:
                        self.wfile.write(content[at : at + piece])
                    except OSError:
                        return
                    time.sleep(pause_s)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/file.bin"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def random_content(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)
