"""Load the page's server with many sessions: memory, answers, waiting line, and leftover files.

Command:  nice -n 3 python benchmarks/web_load.py --sessions 20 --tabs 1 --minutes 60   (in the environment of the page)
Duration: the minutes given, and up to five more, until the sessions that were left have expired.
Result:   lines of memory (MB, the server and its processes), files and sessions; then answer times of the page's state
          and of a volume (ms), the largest place in the queue, and memory, files and sessions at the beginning and at
          the end, which must be equal. studies/web_page.md has the numbers of a run.

Each session uploads a pair, then fuses it, cancels a fusion, breaks an upload off, or is left without *New session*, at
random, and starts again. These need no browser. With ``--tabs`` there are real ones as well: tabs of Chromium that open
the page, upload the pair, start a fusion, and are closed without warning, in the queue, while it computes or after it.
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
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import nibabel
import numpy as np
from playwright.async_api import BrowserContext, Error, async_playwright
from playwright.async_api import TimeoutError as TabTimeoutError

from monai_s3im.phantom import head_phantom

SAMPLE_SECONDS = 10
LONGEST_END = 900
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TABS_OF_A_BROWSER = 20


class Load:
    """The events of the sessions."""

    def __init__(self) -> None:
        self.state_ms: list[float] = []
        self.volume_ms: list[float] = []
        self.places: list[int] = [0]
        self.servers_mb: list[float] = []
        self.workers_mb: list[float] = []
        self.files: list[int] = []
        self.open_sessions: list[int] = []
        self.done: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()


def memory_mb(pid: int) -> tuple[float, float]:
    """Proportional memory of a process, and of its children."""
    children = subprocess.run(
        ["/usr/bin/pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return _proportional_mb(str(pid)), sum(_proportional_mb(child) for child in children)


def _proportional_mb(pid: str) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0.0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def files_below(folder: Path) -> int:
    """Files and folders, the logs of the processes left out."""
    return sum(not path.name.startswith("worker-") for path in folder.rglob("*"))


def sessions_below(folder: Path) -> int:
    """Folders of sessions."""
    return len(list(folder.glob("*/session-*")))


def form_of(files: dict[str, bytes]) -> aiohttp.FormData:
    """An upload."""
    form = aiohttp.FormData()
    for name, content in files.items():
        form.add_field("file", bytearray(content), filename=name)
    return form


async def half_of(content: bytes) -> AsyncIterator[bytes]:
    """An upload that stops half-way."""
    yield b'--part\r\nContent-Disposition: form-data; name="file"; filename="half.nii"\r\n\r\n'
    yield content[: len(content) // 2]
    await asyncio.sleep(60)


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
        try:
            await client.post(
                "/api/upload",
                data=half_of(next(iter(pair.values()))),
                headers={"Content-Type": "multipart/form-data; boundary=part"},
                timeout=aiohttp.ClientTimeout(total=1),
            )
        except TimeoutError:
            load.done["upload interrupted"] += 1
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


async def tabs(address: str, pair: Path, end: float, load: Load, seed: int) -> None:
    """Tabs of Chromium, one after the other, each closed without warning."""
    chance = random.Random(seed)  # noqa: S311
    async with async_playwright() as playwright:
        while time.monotonic() < end:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
            for _ in range(TABS_OF_A_BROWSER):
                try:
                    await one_tab(await browser.new_context(), address, pair, chance, load)
                except Error as error:
                    load.faults[f"tab: {error.message.splitlines()[0]}"] += 1
                if time.monotonic() > end:
                    break
            await browser.close()


async def one_tab(context: BrowserContext, address: str, pair: Path, chance: random.Random, load: Load) -> None:
    """Open the page, upload, fuse, and close the tab at any time after that."""
    try:
        page = await context.new_page()
        page.set_default_timeout(120_000)
        await page.goto(address)
        await page.get_by_label("Choose files").set_input_files(sorted(pair.iterdir()))
        fuse = page.get_by_role("button", name="Fuse", exact=True)
        await page.locator("#fuse:enabled").wait_for()
        await fuse.click()
        await page.get_by_role("button", name="Cancel").wait_for()
        load.done["tab started a fusion"] += 1
        try:
            await page.get_by_role("link", name="Save NRRD").wait_for(timeout=1000 * chance.choice([1, 5, 20, 120]))
            load.done["tab closed with a result"] += 1
        except TabTimeoutError:
            load.done["tab closed before its result"] += 1
    finally:
        await context.close()


async def watch(server: subprocess.Popen[str], folder: Path, end: float, load: Load) -> None:
    """Memory, files and sessions, as time goes by."""
    while time.monotonic() < end:
        of_server, of_workers = memory_mb(server.pid)
        load.servers_mb.append(of_server)
        load.workers_mb.append(of_workers)
        load.files.append(files_below(folder))
        load.open_sessions.append(sessions_below(folder))
        sys.stdout.write(
            f"{time.strftime('%H:%M:%S')} {of_server:.0f} and {of_workers:.0f} MB, {load.files[-1]} files, "
            f"{load.open_sessions[-1]} sessions, {dict(load.done)}\n"
        )
        sys.stdout.flush()
        await asyncio.sleep(SAMPLE_SECONDS)


def phantom_pair() -> dict[str, bytes]:
    """T1 and CT of a head, 80 x 96 x 64."""
    volumes = head_phantom((80, 96, 64), (2.4, 2.4, 3.0)).volumes
    return {
        f"{name}.nii": nibabel.Nifti1Image(
            np.rint(volumes[name].numpy()[0]).astype(np.int16), volumes[name].affine.numpy()
        ).to_bytes()
        for name in ("t1", "ct")
    }


async def measure(
    server: subprocess.Popen[str], address: str, folder: Path, options: argparse.Namespace, pair: dict[str, bytes]
) -> None:
    """Run the sessions and print what they met."""
    async with aiohttp.ClientSession(
        address, cookie_jar=aiohttp.CookieJar(unsafe=True)
    ) as client:  # both processes are warm
        await client.get("/")
        await client.get("/opened")
        await client.post("/api/upload", data=form_of(pair))
        await idle(client, Load(), time.monotonic())
        await client.post("/api/fuse", json={"settings": {}})
        await idle(client, Load(), time.monotonic())
        await client.post("/api/end")
    load = Load()
    before, files, sessions = memory_mb(server.pid), files_below(folder), sessions_below(folder)
    end = time.monotonic() + 60 * options.minutes
    users = [one_user(address, pair, end, load, seed) for seed in range(options.sessions)]
    with tempfile.TemporaryDirectory() as files_of_tabs:
        for name, content in pair.items():
            Path(files_of_tabs, name).write_bytes(content)
        browsers = [tabs(address, Path(files_of_tabs), end, load, 1000 + seed) for seed in range(options.tabs)]
        await asyncio.gather(watch(server, folder, end, load), *users, *browsers)
    ended = time.monotonic()
    while sessions_below(folder) > sessions and time.monotonic() < ended + LONGEST_END:
        await asyncio.sleep(1)
    expired = time.monotonic() - ended
    await asyncio.sleep(5)
    after = memory_mb(server.pid)
    result = {
        "sessions": options.sessions,
        "tabs": options.tabs,
        "minutes": options.minutes,
        "server MB before, median, most, after": course(before[0], load.servers_mb, after[0]),
        "processes MB before, median, most, after": course(before[1], load.workers_mb, after[1]),
        "files before, median, most, after": course(files, load.files, files_below(folder)),
        "sessions before, median, most, after": course(sessions, load.open_sessions, sessions_below(folder)),
        "seconds until the last session had expired": round(expired),
        "state ms, median and 95 %, requests": [*quantiles(load.state_ms), len(load.state_ms)],
        "volume ms, median and 95 %, requests": [*quantiles(load.volume_ms), len(load.volume_ms)],
        "place in the queue of those that wait, median and maximum": [
            statistics.median([place for place in load.places if place] or [0]),
            max(load.places),
        ],
        "done": dict(load.done),
        "faults": dict(load.faults),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


def course(before: float, found: list[float] | list[int], after: float) -> list[int]:
    """How a number went."""
    return [round(number) for number in (before, statistics.median(found), max(found), after)]


def quantiles(values: list[float]) -> list[float]:
    """Median and 95th percentile."""
    ordered = sorted(values) or [float("nan")]
    return [round(statistics.median(ordered), 1), round(ordered[int(0.95 * (len(ordered) - 1))], 1)]


def main() -> None:
    """Start a server in a temporary folder, and load it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--tabs", type=int, default=0, help="tabs of Chromium at a time, beside the sessions")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--port", type=int, default=18643)
    options = parser.parse_args()
    pair = phantom_pair()
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
                asyncio.run(measure(server, address, Path(temporary), options, pair))
            finally:
                server.terminate()
        sys.stdout.write(f"files after the server: {len(list(Path(temporary).rglob('*')))}\n")


if __name__ == "__main__":
    main()
