"""Worker processes take jobs in order, report the place in line, and survive cancelled, killed and failed jobs."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from s3im_web.crew import Crew, JobError


def live(tmp_path: Path, test: Callable[[Crew], Awaitable[None]]) -> None:
    async def run() -> None:
        crew = Crew(1, tmp_path)
        try:
            await test(crew)
        finally:
            await crew.end()

    asyncio.run(run())


def test_jobs_run_in_order_and_know_their_place(tmp_path: Path) -> None:
    places: dict[str, list[int]] = {name: [] for name in "abc"}
    ended: list[str] = []

    async def job(crew: Crew, name: str) -> None:
        await crew.run("warm", {}, None, places[name].append)
        ended.append(name)

    async def test(crew: Crew) -> None:
        await asyncio.gather(*(job(crew, name) for name in "abc"))

    live(tmp_path, test)
    assert ended == ["a", "b", "c"]
    assert places["a"] == [0]
    assert places["b"][0] == 1
    assert places["c"][0] == 2
    assert places["c"][-1] == 0


def test_the_crew_survives_a_cancelled_job_and_a_killed_process(tmp_path: Path) -> None:
    async def test(crew: Crew) -> None:
        await crew.run("warm", {})
        (worker,) = crew._all
        first = worker._process.pid
        task = asyncio.create_task(crew.run("sample", {"output": "/nonexistent/x"}))
        waiting = asyncio.create_task(crew.run("warm", {}))
        await asyncio.sleep(0.1)
        waiting.cancel()
        task.cancel()
        results = await asyncio.gather(task, waiting, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in results)
        assert crew.waiting == 0
        await crew.run("warm", {})
        second = worker._process.pid
        assert second != first
        task = asyncio.create_task(crew.run("warm", {}))
        await asyncio.sleep(0)
        os.kill(second, signal.SIGKILL)
        (ended,) = await asyncio.gather(task, return_exceptions=True)  # the job may have finished first
        assert isinstance(ended, dict) or "possibly for lack of memory: try again" in str(ended)
        assert (await crew.run("warm", {}))["event"] == "done"

    live(tmp_path, test)


def test_a_failed_job_reports_why_and_the_process_continues(tmp_path: Path) -> None:
    async def test(crew: Crew) -> None:
        (tmp_path / "a.txt").write_text("none")
        with pytest.raises(JobError, match="There is no volume among these files"):
            await crew.run("find", {"folder": str(tmp_path), "max_bytes": 2**20})
        process = crew._all[0]._process.pid
        with pytest.raises(JobError, match="Unexpected"):
            await crew.run("sample", {"output": "/proc/none"})
        assert crew._all[0]._process.pid == process

    live(tmp_path, test)


def test_a_job_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    async def test(crew: Crew) -> None:
        await crew.run("warm", {})
        with pytest.raises(JobError, match="took too long"):
            await crew.run("sample", {"output": str(tmp_path / "sample")}, seconds=0.05)
        assert (await crew.run("warm", {}))["event"] == "done"

    live(tmp_path, test)
