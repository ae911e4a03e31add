"""The web front as a user starts it, and a browser that can reach only this machine."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

CHROMIUM = Path("/usr/bin/chromium")
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PACKAGES = ("s3im_web", "aiohttp")
FILES = tuple(
    path.name for path in Path(__file__).parent.glob("test_web_*.py") if path.name != "test_web_environment.py"
)
collect_ignore = [] if all(importlib.util.find_spec(name) for name in PACKAGES) else list(FILES)


@dataclass
class Server:
    """A running server: its printed address, its process and its log."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.url)[1])


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``t1.nii.gz`` and ``ct.nii.gz`` of the phantom, with large voxels."""
    from monai_s3im.phantom import head_phantom

    folder = tmp_path_factory.mktemp("pair")
    volumes = head_phantom((80, 96, 64), (2.4, 2.4, 3.0)).volumes
    for name in ("t1", "ct"):
        voxels = volumes[name].numpy()[0].astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, volumes[name].affine.numpy()), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers with the given options; they stop at the end of the module."""
    servers = []

    def start(*options: str, token: str | None = None) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("server") / "log.txt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment.pop("S3IM_WEB_TOKEN", None)
        environment |= {"S3IM_WEB_TOKEN": token} if token else {}
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "s3im_web", "--port", str(port), *options],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
            )
        printed = process.stdout.readline()
        servers.append(Server(printed.split()[-1], process, log))
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        server.process.wait(timeout=20)
        server.process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium without access to other machines."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=[*arguments, *SOFTWARE_GL, "--no-first-run", NO_NETWORK],
        )
        yield chromium
        chromium.close()
