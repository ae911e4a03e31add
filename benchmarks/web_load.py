"""Load the page's server with many sessions: memory, answers, waiting line, and leftover files.

Command:  python benchmarks/web_load.py --sessions 20 --minutes 60   (in the environment of docs/guides/web.md)
Duration: the minutes given, and one more; docs/guides/web.md has the numbers of a run and its length.
Result:   lines of memory (MB, all processes of the server), answer times of the page's state and of a volume (ms), the
          largest place in the line, and the files of the server at the beginning and at the end, which must be equal.

Each session uploads a pair, then fuses it, cancels a fusion, breaks an upload off, or is left without *New session*, at
random, and begins anew. No browser is needed: slices are drawn there, and cost the server nothing.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import nibabel
import numpy as np

from monai_s3im.phantom import head_phantom

SAMPLE_SECONDS = 10


class Load:
    """The events of the sessions."""

    def __init__(self) -> None:
        self.state_ms: list[float] = []
        self.volume_ms: list[float] = []
        self.places: list[int] = [0]
        self.done: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()


def memory_mb(pid: int) -> float:
    """Proportional memory of a process and its children."""
    listed = subprocess.run(
        ["/usr/bin/pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    kilobytes = 0
    for each in (str(pid), *listed):
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        kilobytes += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024


def files_below(folder: Path) -> int:
    """Files, the logs of the processes left out."""
    return sum(path.is_file() and not path.name.startswith("worker-") for path in folder.rglob("*"))


def form_of(files: dict[str, bytes]) -> aiohttp.FormData:
    """An upload."""
    form = aiohttp.FormData()
    for name, content in files.items():
        form.add_field("file", bytearray(content), filename=name)
    return form


async def one_user(address: str, pair: dict[str, bytes], end: float, load: Load, seed: int) -> None:
    """Sessions, one after the other, until the end."""
    chance = random.Random(seed)  # noqa: S311
    while time.monotonic() < end:
        try:
            async with aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
                await client.get("/")  # the cookie
                await client.get("/opened")
                await one_session(client, pair, chance, load, end)
        except (aiohttp.ClientError, TimeoutError) as error:
            load.faults[type(error).__name__] += 1
        await asyncio.sleep(chance.uniform(0.5, 3))


async def one_session(
    client: aiohttp.ClientSession, pair: dict[str, bytes], chance: random.Random, load: Load, end: float
) -> None:
    """Upload, and then a random action."""
    async with client.post("/api/upload", data=form_of(pair)) as answer:
        load.done[f"upload {answer.status}"] += 1
        if answer.status != 200:
            return
    state = await idle(client, load, end)
    for side, source in state.get("sources", {}).items():
        start = time.perf_counter()
        async with client.get(f"/api/volume/{side}/{source['key']}") as answer:
            await answer.read()
        load.volume_ms.append(1000 * (time.perf_counter() - start))
    kind = chance.choices(["fuse", "cancel", "broken upload", "closed"], [5, 2, 2, 1])[0]
    load.done[kind] += 1
    if kind in {"fuse", "cancel"}:
        await client.post("/api/fuse", json={"settings": {}})
        if kind == "cancel":
            await asyncio.sleep(chance.uniform(0.2, 8))
            await client.post("/api/cancel", json={})
        state = await idle(client, load, end)
        load.done["fused" if state.get("result") else "not fused"] += 1
        if state.get("message"):
            load.faults[state["message"]] += 1
    elif kind == "broken upload":
        with_timeout = aiohttp.ClientTimeout(total=0.05)
        try:
            await client.post("/api/upload", data=form_of(pair), timeout=with_timeout)
        except TimeoutError:
            load.done["upload broken off"] += 1
    if kind != "closed":
        await client.post("/api/end")


async def idle(client: aiohttp.ClientSession, load: Load, end: float) -> dict[str, Any]:
    """The state of the page once nothing is done, as the page asks for it."""
    state: dict[str, Any] = {}
    while time.monotonic() < end + 120:
        start = time.perf_counter()
        async with client.get("/api/state") as answer:
            if answer.status != 200:
                return {}
            state = await answer.json()
        load.state_ms.append(1000 * (time.perf_counter() - start))
        job = state["job"]
        if job is None:
            return state
        load.places.append(job["place"])
        await asyncio.sleep(0.3)
    return state


async def watch(server: subprocess.Popen[str], folder: Path, end: float, load: Load) -> list[float]:
    """Memory, as time goes by."""
    found = []
    while time.monotonic() < end:
        found.append(memory_mb(server.pid))
        sys.stdout.write(f"{found[-1]:.0f} MB, {files_below(folder)} files, {dict(load.done)}\n")
        sys.stdout.flush()
        await asyncio.sleep(SAMPLE_SECONDS)
    return found


def phantom_pair() -> dict[str, bytes]:
    """T1 and CT of a head, 80 x 96 x 64."""
    volumes = head_phantom((80, 96, 64), (2.4, 2.4, 3.0)).volumes
    return {
        f"{name}.nii.gz": nibabel.Nifti1Image(
            np.rint(volumes[name].numpy()[0]).astype(np.int16), volumes[name].affine.numpy()
        ).to_bytes()
        for name in ("t1", "ct")
    }


async def measure(server: subprocess.Popen[str], address: str, folder: Path, sessions: int, minutes: float) -> None:
    """Run the sessions and print what they met."""
    load = Load()
    pair = {name.removesuffix(".gz"): content for name, content in phantom_pair().items()}
    async with aiohttp.ClientSession(
        address, cookie_jar=aiohttp.CookieJar(unsafe=True)
    ) as client:  # both processes are warm
        await client.get("/")
        await client.get("/opened")
        await client.post("/api/upload", data=form_of(pair))
        await idle(client, load, time.monotonic())
        await client.post("/api/fuse", json={"settings": {}})
        await idle(client, load, time.monotonic())
        await client.post("/api/end")
    load = Load()
    before, files = memory_mb(server.pid), files_below(folder)
    end = time.monotonic() + 60 * minutes
    users = [one_user(address, pair, end, load, seed) for seed in range(sessions)]
    found, *_ = await asyncio.gather(watch(server, folder, end, load), *users)
    await asyncio.sleep(45)  # the sessions that were left are idle for 30 s
    result = {
        "sessions": sessions,
        "minutes": minutes,
        "MB before, median, most, after": [
            round(mb) for mb in (before, statistics.median(found), max(found), memory_mb(server.pid))
        ],
        "state ms, median and 95 %": quantiles(load.state_ms),
        "volume ms, median and 95 %": quantiles(load.volume_ms),
        "largest place in the line": max(load.places),
        "files before and after": [files, files_below(folder)],
        "done": dict(load.done),
        "faults": dict(load.faults),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


def quantiles(values: list[float]) -> list[float]:
    """Median and 95th percentile."""
    ordered = sorted(values) or [float("nan")]
    return [round(statistics.median(ordered), 1), round(ordered[int(0.95 * (len(ordered) - 1))], 1)]


def main() -> None:
    """Start a server in a temporary folder, and load it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--port", type=int, default=18643)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        command = [
            sys.executable,
            "-c",
            f"import tempfile; tempfile.tempdir = {temporary!r}; from s3im_web.serving import serve; serve()",
        ]
        command += ["--port", str(options.port), "--device", "cpu", "--max-sessions", "60", "--idle-minutes", "0.5"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                address = server.stdout.readline().split()[-1]
                asyncio.run(measure(server, address, Path(temporary), options.sessions, options.minutes))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
