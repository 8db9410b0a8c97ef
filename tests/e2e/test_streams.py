"""Output streams of real processes: kills and isolated processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobfleet import Chunk, Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs

APP = """
import os, signal
from pathlib import Path
from jobfleet import JobContext, job

def dies(ctx: JobContext) -> bool:
    mark = Path(os.environ["JOBFLEET_TEST_FOLDER"]) / ctx.job_id
    if mark.exists():
        return False
    mark.touch()
    return True

@job(name="talk.loop")
async def loop(ctx: JobContext, count: int, kills: bool) -> None:
    until = count // 2 if kills and dies(ctx) else 0
    for n in range(count):
        if n and n == until:
            os.kill(os.getpid(), signal.SIGKILL)
        await ctx.emit(n)

@job(name="talk.isolated", run_in="process")
def isolated(ctx: JobContext, count: int, kills: bool) -> None:
    until = count // 2 if kills and dies(ctx) else 0
    for n in range(count):
        if n and n == until:
            os.kill(os.getpid(), signal.SIGKILL)
        ctx.emit_sync(n)

@job(name="talk.isolated_async", run_in="process")
async def isolated_async(ctx: JobContext, count: int, kills: bool) -> None:
    for n in range(count):
        await ctx.emit(n)
"""


@pytest.fixture
def talkers(programs: Programs, tmp_path: Path) -> Programs:
    (tmp_path / "talking.py").write_text(APP)
    programs.ready("talking", app_dir=tmp_path, lease=3, retry_delay=0.05)
    return programs


def epochs(chunks: list[Chunk]) -> list[list[int]]:
    """The values of each run, one after the other."""
    runs: list[list[int]] = []
    for chunk in chunks:
        if not runs or chunk.is_restart:
            runs.append([])
        runs[-1].append(chunk.value)
    return runs


def test_jobs_in_processes_of_their_own_emit_in_order_too(talkers: Programs, fleet: Fleet) -> None:
    ids = [fleet.enqueue(Job("talk", function, (3000, False))) for function in ("talk.isolated", "talk.isolated_async")]

    for job_id in ids:
        assert [chunk.value for chunk in fleet.stream(job_id)] == list(range(3000))
        assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED, talkers.logs()


def test_readers_see_that_a_killed_process_was_followed_by_another_run(talkers: Programs, fleet: Fleet) -> None:
    for function in ("talk.loop", "talk.isolated"):
        job_id = fleet.enqueue(Job("talk", function, (4000, True)))

        chunks = list(fleet.stream(job_id))

        first, second = epochs(chunks)
        assert first == list(range(len(first)))
        assert 0 < len(first) <= 2000
        assert second == list(range(4000))
        assert len({chunk.epoch for chunk in chunks}) == 2, talkers.logs()
        assert list(fleet.stream(job_id)) == chunks
